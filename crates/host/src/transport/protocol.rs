//! Protocols of applications: streams in both directions between two nodes, on the connections that calls
//! use.
//!
//! On the wire a stream begins with [`PROTOCOL_BYTE`], the length of the protocol's name (one byte) and the
//! name. The other side answers with the byte [`TAKEN`], or resets the stream with the code that says why not.
//! What follows is the application's, in both directions. The end of a direction is an end in good order; a
//! side that goes away resets.
//!
//! **Invariants:** the peer's key is the one that its connection proved. A node has at most
//! [`STREAMS_MAX`] of these streams, and serves at most [`STREAMS_PER_PEER`] of one connection. Each has a
//! window of its own, so one that is not read holds up no call.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use noq::{ReadError, RecvStream, WriteError};
use parking_lot::Mutex;
use potluck_base::{Contact, PublicKey};
use potluck_wire::Purpose;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::counters::Counters;
use super::error::StreamCode;
use super::incoming::Asked;
use super::pool::{Lease, Window};
use super::stream::Outgoing;
use super::{CallError, Inner};

/// The first byte of a stream of a protocol.
pub const PROTOCOL_BYTE: u8 = b'P';
/// Bytes of a protocol's name.
pub const PROTOCOL_NAME_BYTES_MAX: usize = 64;
/// Protocols that a node may serve.
pub const PROTOCOLS_MAX: usize = 64;
/// Streams of protocols that a node has at once, opened and served. Raising it takes windows from fetches: both
/// share 64.
pub(super) const STREAMS_MAX: usize = 32;
/// Streams that are served at once for one connection. Raising it lets one peer take all of
/// [`STREAMS_MAX`].
pub(super) const STREAMS_PER_PEER: usize = 16;
/// Bytes that are taken from a stream at once while its beginning is read.
const HEAD_BYTES: usize = 1 + PROTOCOL_NAME_BYTES_MAX;
/// The answer of a side that serves the protocol.
const TAKEN: u8 = 1;

/// What serves a protocol: it is given each stream that a peer opens.
pub type ProtocolHandler =
    Arc<dyn Fn(PeerStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Why a protocol is not served, or a stream was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A protocol has a name of 1 to 64 visible ASCII characters, such as `chat/1`. Nothing changed.
    #[error("a protocol's name has 1 to 64 visible ASCII characters, such as chat/1")]
    Name,
    /// This node serves that protocol already. Nothing changed.
    #[error("this node serves the protocol {0} already")]
    Taken(String),
    /// This node serves as many protocols as it may. Nothing changed.
    #[error("this node serves {PROTOCOLS_MAX} protocols already")]
    Full,
    /// The peer does not serve that protocol. Start it there, or ask another peer.
    #[error("the peer does not serve the protocol {0}")]
    Unknown(String),
    /// This node or the peer has as many streams of protocols as it may. Try again later.
    #[error("too many streams of protocols at once")]
    Busy,
    /// This node has stopped. Start it again.
    #[error("this node has stopped")]
    Stopped,
    /// No node of this id is known here. Give its contact, or wait until it is a member.
    #[error("no such peer is known here")]
    NoPeer,
    /// The peer could not be reached, or gave no answer.
    #[error("the peer was not reached: {0}")]
    Call(#[from] CallError),
}

/// The protocols that a node serves.
#[derive(Default)]
pub(super) struct Protocols {
    served: Mutex<BTreeMap<String, (u64, ProtocolHandler)>>,
    numbers: std::sync::atomic::AtomicU64,
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.served.lock().keys()).finish()
    }
}

fn check(name: &str) -> Result<(), ProtocolError> {
    let good = (1..=PROTOCOL_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if good { Ok(()) } else { Err(ProtocolError::Name) }
}

impl Protocols {
    /// Serves a protocol, until [`Protocols::remove`] with the number that this gives.
    pub(super) fn add(&self, name: &str, handler: ProtocolHandler) -> Result<u64, ProtocolError> {
        check(name)?;
        let mut served = self.served.lock();
        if served.contains_key(name) {
            return Err(ProtocolError::Taken(name.to_owned()));
        }
        if served.len() >= PROTOCOLS_MAX {
            return Err(ProtocolError::Full);
        }
        let number = self.numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        served.insert(name.to_owned(), (number, handler));
        Ok(number)
    }

    pub(super) fn remove(&self, name: &str, number: u64) {
        let mut served = self.served.lock();
        if served.get(name).is_some_and(|(of, _)| *of == number) {
            served.remove(name);
        }
    }

    /// Serves none any more.
    pub(super) fn clear(&self) {
        let served = std::mem::take(&mut *self.served.lock());
        drop(served);
    }

    fn find(&self, name: &[u8]) -> Option<ProtocolHandler> {
        let name = std::str::from_utf8(name).ok()?;
        self.served.lock().get(name).map(|(_, handler)| Arc::clone(handler))
    }
}

/// What a stream keeps until both of its halves are gone.
#[derive(Debug)]
struct Rest {
    counters: Arc<Counters>,
    _lease: Lease,
    _window: Window,
    _turns: Vec<OwnedSemaphorePermit>,
}

/// A stream of a protocol. Its two halves are independent; dropped before its end, a half resets its
/// direction.
#[derive(Debug)]
pub struct PeerStream {
    peer: PublicKey,
    address: SocketAddr,
    reader: PeerReader,
    writer: PeerWriter,
}

/// What a peer sends.
#[derive(Debug)]
pub struct PeerReader {
    stream: RecvStream,
    rest: Arc<Rest>,
}

/// What is sent to a peer.
#[derive(Debug)]
pub struct PeerWriter {
    stream: Outgoing,
    rest: Arc<Rest>,
}

impl PeerStream {
    /// The peer, as its connection proved.
    #[must_use]
    pub const fn peer(&self) -> PublicKey {
        self.peer
    }

    /// Where it was when the stream was opened.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Both halves.
    #[must_use]
    pub fn into_split(self) -> (PeerReader, PeerWriter) {
        (self.reader, self.writer)
    }
}

impl AsyncRead for PeerReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(AsyncRead::poll_read(Pin::new(&mut self.stream), cx, into))?;
        let bytes = into.filled().len() - before;
        self.rest.counters.note_received(Purpose::Application, bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PeerWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.stream.poll_write(cx, bytes))?;
        self.rest.counters.note_sent(Purpose::Application, sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.finish().map_err(io::Error::from))
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, into)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// What a stream that was not taken was refused with.
fn refusal(code: noq::VarInt, name: &str) -> ProtocolError {
    const UNKNOWN: u64 = StreamCode::UnknownProtocol as u64;
    const BUSY: u64 = StreamCode::Busy as u64;
    match code.into_inner() {
        UNKNOWN => ProtocolError::Unknown(name.to_owned()),
        BUSY => ProtocolError::Busy,
        _ => ProtocolError::Call(CallError::Reset),
    }
}

/// The name at the beginning of a stream, once enough of it is there. `Some(Err)`: there is no name.
fn name_in(head: &[u8]) -> Option<Result<&[u8], ()>> {
    let length = usize::from(*head.first()?);
    if !(1..=PROTOCOL_NAME_BYTES_MAX).contains(&length) {
        return Some(Err(()));
    }
    match head.len() - 1 {
        // The opener waits for an answer before it sends more.
        there if there > length => Some(Err(())),
        there if there == length => Some(Ok(&head[1..])),
        _ => None,
    }
}

impl Inner {
    /// Opens a stream of a protocol, within the call timeout.
    pub(super) async fn open_protocol(
        self: &Arc<Self>,
        peer: &Contact,
        name: &str,
    ) -> Result<PeerStream, ProtocolError> {
        check(name)?;
        let turn = Arc::clone(&self.protocol_streams).try_acquire_owned();
        let turn = turn.map_err(|_| ProtocolError::Busy)?;
        let open = async {
            let lease = self.connection_to(peer, None).await?;
            let window = self.pool.window(&lease).await;
            let lost = |error: &noq::ConnectionError| CallError::of_lost(error);
            let (send, mut recv) =
                lease.connection().open_bi().await.map_err(|error| lost(&error))?;
            let mut head = BytesMut::with_capacity(2 + name.len());
            head.put_slice(&[PROTOCOL_BYTE, name.len() as u8]);
            head.put_slice(name.as_bytes());
            let mut send = Outgoing::new(send);
            let sent = send.send_part(head.freeze()).await;
            // A peer that stops the stream says why on the way back.
            if let Err(WriteError::ConnectionLost(error)) = &sent {
                return Err(lost(error).into());
            }
            let mut taken = [0; 1];
            match recv.read_exact(&mut taken).await {
                Ok(()) if taken[0] == TAKEN => {}
                Err(noq::ReadExactError::ReadError(ReadError::Reset(code))) => {
                    return Err(refusal(code, name));
                }
                Err(noq::ReadExactError::ReadError(ReadError::ConnectionLost(error))) => {
                    return Err(lost(&error).into());
                }
                Ok(()) | Err(_) => return Err(CallError::Reset.into()),
            }
            let rest = self.rest(lease, window, vec![turn]);
            Ok(stream(peer.public_key, peer.address, send, recv, rest))
        };
        let opened = timeout(self.config.call_timeout, open).await;
        opened.unwrap_or(Err(ProtocolError::Call(CallError::Timeout)))
    }

    fn rest(&self, lease: Lease, window: Window, turns: Vec<OwnedSemaphorePermit>) -> Arc<Rest> {
        let counters = Arc::clone(&self.desk.counters);
        Arc::new(Rest { counters, _lease: lease, _window: window, _turns: turns })
    }

    /// Takes a stream of a protocol that a peer opened, and serves it to its end.
    pub(super) async fn take_protocol(self: Arc<Self>, asked: Asked) {
        let Some((handler, taken)) = self.taken_protocol(asked).await else { return };
        tokio::select! {
            () = self.closing() => {}
            () = handler(taken) => {}
        }
    }

    async fn taken_protocol(&self, asked: Asked) -> Option<(ProtocolHandler, PeerStream)> {
        let own = Arc::clone(&asked.lease.connection_budget().protocols).try_acquire_owned();
        let all = Arc::clone(&self.protocol_streams).try_acquire_owned();
        let (Ok(own), Ok(all)) = (own, all) else {
            asked.refuse(StreamCode::Busy);
            return None;
        };
        let (mut recv, first, answer, lease, caller) = asked.into_parts();
        let head = read_head(&mut recv, first);
        let name = timeout(self.config.call_timeout, head).await.ok().flatten();
        let refuse = |mut recv: RecvStream, answer: Outgoing, code: StreamCode| {
            let _ = recv.stop(code.into());
            answer.abort(code);
        };
        let Some(name) = name else {
            refuse(recv, answer, StreamCode::Broken);
            return None;
        };
        let Some(handler) = self.protocols.find(&name) else {
            refuse(recv, answer, StreamCode::UnknownProtocol);
            return None;
        };
        let window = timeout(self.config.call_timeout, self.pool.window(&lease)).await;
        let Ok(window) = window else {
            refuse(recv, answer, StreamCode::Busy);
            return None;
        };
        let mut answer = answer;
        answer.send_part(Bytes::from_static(&[TAKEN])).await.ok()?;
        let rest = self.rest(lease, window, vec![own, all]);
        Some((handler, stream(caller.key, caller.address, answer, recv, rest)))
    }
}

/// The name that a stream begins with.
async fn read_head(recv: &mut RecvStream, first: Bytes) -> Option<Vec<u8>> {
    let mut head = Vec::from(&first[..first.len().min(HEAD_BYTES + 1)]);
    loop {
        match name_in(&head) {
            Some(name) => return name.ok().map(<[u8]>::to_vec),
            None => head.extend_from_slice(&recv.read_chunk(HEAD_BYTES).await.ok()??),
        }
    }
}

fn stream(
    peer: PublicKey,
    address: SocketAddr,
    send: Outgoing,
    recv: RecvStream,
    rest: Arc<Rest>,
) -> PeerStream {
    let reader = PeerReader { stream: recv, rest: Arc::clone(&rest) };
    let writer = PeerWriter { stream: send, rest };
    PeerStream { peer, address, reader, writer }
}

/// The streams of protocols that a connection may have served at once.
pub(super) fn budget() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS_PER_PEER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler() -> ProtocolHandler {
        Arc::new(|_| Box::pin(async {}))
    }

    #[test]
    fn a_protocol_is_served_once_and_by_a_good_name() {
        let protocols = Protocols::default();
        for bad in ["", "with space", "\u{fc}", &"x".repeat(65)] {
            assert_eq!(protocols.add(bad, handler()), Err(ProtocolError::Name), "{bad}");
        }
        let first = protocols.add("chat/1", handler()).expect("added");
        let again = protocols.add("chat/1", handler());
        assert_eq!(again, Err(ProtocolError::Taken("chat/1".into())));
        protocols.remove("chat/1", first + 1);
        assert!(protocols.find(b"chat/1").is_some(), "another registration's end");
        protocols.remove("chat/1", first);
        assert!(protocols.find(b"chat/1").is_none());
        for number in 0..PROTOCOLS_MAX {
            protocols.add(&format!("p/{number}"), handler()).expect("room");
        }
        assert_eq!(protocols.add("one/more", handler()), Err(ProtocolError::Full));
    }

    #[test]
    fn a_name_is_whole_or_not_there_or_refused() {
        assert_eq!(name_in(b""), None);
        assert_eq!(name_in(b"\x03ab"), None);
        assert_eq!(name_in(b"\x03abc"), Some(Ok(&b"abc"[..])));
        assert_eq!(name_in(b"\x03abcd"), Some(Err(())), "more than the name");
        assert_eq!(name_in(b"\x00"), Some(Err(())));
        assert_eq!(name_in(b"\x41"), Some(Err(())), "65 bytes");
    }
}
