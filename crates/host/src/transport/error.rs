//! Why a call failed, and the codes that peers tell each other on the wire.

use std::net::SocketAddr;

use noq::{ConnectionError, ReadError, TransportErrorCode, VarInt, WriteError};
use potluck_base::PublicKey;

/// The TLS alert of a server that shares no application protocol with the client (RFC 7301).
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

/// Why a call has no answer.
///
/// After [`CallError::Reset`], [`CallError::Timeout`], [`CallError::Closed`] and a
/// [`CallError::TooLarge`] answer the peer may have acted on the request; after the others it has
/// not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The address cannot be dialed from this socket: the other address family, port 0, or no
    /// address at all. Nothing was sent; use another address of the peer.
    #[error("{0} cannot be dialed from this socket")]
    Address(SocketAddr),
    /// The request, or the answer, is longer than
    /// [`MESSAGE_BYTES_MAX`](super::MESSAGE_BYTES_MAX). It was not carried; send less, ask for
    /// less, or share a file.
    #[error("the message is longer than 256 KiB")]
    TooLarge,
    /// No handshake was completed in time: the peer is gone, its port is elsewhere, or packets do
    /// not get through. No request was sent; try another peer, this one later.
    #[error("nobody completed a handshake in time")]
    DialTimeout,
    /// Another node answers at that address. No request was sent; forget the contact.
    #[error("another node ({found}) answers at that address")]
    WrongKey {
        /// Who answers there.
        found: PublicKey,
    },
    /// A node of another network, or another protocol version, answers at that address. No request
    /// was sent; forget the contact.
    #[error("a node of another network answers at that address")]
    WrongNetwork,
    /// The peer turned the connection or the call away for want of room. It did not act on the
    /// request; ask another peer, this one later.
    #[error("the peer has no room for this call")]
    Refused,
    /// The peer took the request and gave it up without an answer, it stopped, or the connection
    /// broke. It may have acted on the request; repeat it only if that does no harm.
    #[error("the peer gave the call up")]
    Reset,
    /// No answer came in time. The peer may have acted on the request and may still do so.
    #[error("no answer in time")]
    Timeout,
    /// Every connection is in use, and none became free in time. Nothing was sent; do fewer calls
    /// at once.
    #[error("too many calls at once")]
    Busy,
    /// This transport was closed. Whether the request arrived is unknown.
    #[error("the transport is closed")]
    Closed,
}

/// Why a connection was closed, in its close frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum CloseCode {
    /// The node stops.
    Shutdown = 1,
    /// The connection was idle and its place was needed.
    Evicted = 2,
    /// There was no place for it.
    Full = 3,
    /// The handshake proved no usable key.
    NoKey = 4,
    /// The key is not that of an admitted peer (any more).
    NotAdmitted = 5,
}

/// Why a stream was reset or stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum StreamCode {
    /// The holder of the request dropped it.
    Dropped = 1,
    /// The message is over the limit.
    TooLarge = 2,
    /// A queue or budget is full.
    Busy = 3,
    /// The sender gave up before it was done.
    Abandoned = 4,
    /// The requested blob is not stored here.
    NotHeld = 5,
    /// The request of the fetch is invalid.
    Broken = 6,
    /// One side of a fetch lost interest.
    Cancelled = 7,
    /// The requested blob has changed since it was shared.
    Changed = 8,
    /// The requested blob is not shared any more.
    Unshared = 9,
    /// The requested blob cannot be read from the disk.
    Unreadable = 10,
    /// The protocol of the stream is not served here.
    UnknownProtocol = 11,
}

/// Why a fetch ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The peer serves as many as it can. Ask another one, this one later.
    #[error("the peer has no room for this fetch")]
    Busy,
    /// The peer does not have what was asked for (any more).
    #[error("the peer does not hold this")]
    NotHeld,
    /// The blob changed on the disk of the peer.
    #[error("the file changed at the peer")]
    Changed,
    /// The peer does not share it any more.
    #[error("the peer does not share this any more")]
    Unshared,
    /// The peer cannot read what it shares.
    #[error("the peer cannot read the file")]
    Unreadable,
    /// The request made no sense to the peer, or its frames made no sense to us.
    #[error("the fetch broke off")]
    Broken,
    /// The other side lost interest.
    #[error("the other side cancelled the fetch")]
    Cancelled,
    /// The connection broke, or this transport was closed. Frames that arrived are whole.
    #[error("the connection was lost")]
    Lost,
    /// Nothing moved for too long (see
    /// [`TransportConfig::fetch_silence`](super::TransportConfig::fetch_silence)).
    #[error("nothing moved for too long")]
    Silent,
    /// A frame is longer than [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX).
    #[error("a frame is too long")]
    TooLarge,
    /// A frame has another length than what was asked for.
    #[error("a frame has another length than what was asked for")]
    WrongLength,
}

/// Why a fetch of a peer is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchRefusal {
    /// There is no room now.
    Busy,
    /// The requested blob is not stored here.
    NotHeld,
    /// The requested blob changed on disk.
    Changed,
    /// The requested blob is not shared any more.
    Unshared,
    /// The requested blob cannot be read.
    Unreadable,
    /// The request makes no sense.
    Broken,
}

impl From<FetchRefusal> for StreamCode {
    fn from(refusal: FetchRefusal) -> Self {
        match refusal {
            FetchRefusal::Busy => Self::Busy,
            FetchRefusal::NotHeld => Self::NotHeld,
            FetchRefusal::Changed => Self::Changed,
            FetchRefusal::Unshared => Self::Unshared,
            FetchRefusal::Unreadable => Self::Unreadable,
            FetchRefusal::Broken => Self::Broken,
        }
    }
}

impl FetchError {
    /// The meaning of a stream code of the peer.
    pub(super) fn of_stream_code(code: VarInt) -> Self {
        const TOO_LARGE: u64 = StreamCode::TooLarge as u64;
        const BUSY: u64 = StreamCode::Busy as u64;
        const NOT_HELD: u64 = StreamCode::NotHeld as u64;
        const BROKEN: u64 = StreamCode::Broken as u64;
        const CHANGED: u64 = StreamCode::Changed as u64;
        const UNSHARED: u64 = StreamCode::Unshared as u64;
        const UNREADABLE: u64 = StreamCode::Unreadable as u64;
        match code.into_inner() {
            TOO_LARGE => Self::TooLarge,
            BUSY => Self::Busy,
            NOT_HELD => Self::NotHeld,
            BROKEN => Self::Broken,
            CHANGED => Self::Changed,
            UNSHARED => Self::Unshared,
            UNREADABLE => Self::Unreadable,
            _ => Self::Cancelled,
        }
    }
}

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::of_stream_code(code),
            ReadError::ConnectionLost(_) => Self::Lost,
            ReadError::ClosedStream | ReadError::ZeroRttRejected => Self::Cancelled,
        }
    }
}

impl From<WriteError> for FetchError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::of_stream_code(code),
            WriteError::ConnectionLost(_) => Self::Lost,
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Cancelled,
        }
    }
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        Self::from_u32(code as u32)
    }
}

impl From<StreamCode> for VarInt {
    fn from(code: StreamCode) -> Self {
        Self::from_u32(code as u32)
    }
}

impl CallError {
    /// The meaning of a stream code of the peer for the caller.
    pub(super) fn of_stream_code(code: VarInt) -> Self {
        const TOO_LARGE: u64 = StreamCode::TooLarge as u64;
        const BUSY: u64 = StreamCode::Busy as u64;
        match code.into_inner() {
            TOO_LARGE => Self::TooLarge,
            BUSY => Self::Refused,
            _ => Self::Reset,
        }
    }

    /// The meaning of the end of a connection for a call on it.
    pub(super) fn of_lost(error: &ConnectionError) -> Self {
        let no_protocol = TransportErrorCode::crypto(ALERT_NO_APPLICATION_PROTOCOL);
        let turned_away = [VarInt::from(CloseCode::Full), VarInt::from(CloseCode::NoKey)];
        match error {
            ConnectionError::LocallyClosed => Self::Closed,
            ConnectionError::TimedOut => Self::Timeout,
            ConnectionError::CidsExhausted => Self::Busy,
            ConnectionError::VersionMismatch => Self::WrongNetwork,
            ConnectionError::ApplicationClosed(close)
                if turned_away.contains(&close.error_code) =>
            {
                Self::Refused
            }
            ConnectionError::ConnectionClosed(close) if close.error_code == no_protocol => {
                Self::WrongNetwork
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Refused
            }
            ConnectionError::TransportError(error) if error.code == no_protocol => {
                Self::WrongNetwork
            }
            ConnectionError::ApplicationClosed(_)
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::Reset => Self::Reset,
        }
    }
}
