//! Our own fetches: opening a stream, and reading frames from it at the pace of the node's cap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use noq::RecvStream;
use potluck_base::Contact;
use tokio::time::timeout;

use super::call::{Failure, silence};
use super::config::{FETCH_BYTE, FETCH_REQUEST_BYTES_MAX, FRAME_BYTES_MAX};
use super::counters::Counters;
use super::error::{FetchError, StreamCode};
use super::pool::{Lease, Window};
use super::stream::Outgoing;
use super::{CallError, Inner};
use crate::socket::Sockets;

/// Pieces taken from a stream at once; each is what one datagram brought.
const CHUNKS: usize = 32;
/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// Counts the bytes that arrived in a stream.
#[derive(Debug, Clone, Default)]
pub struct Received(Arc<AtomicU64>);

impl Received {
    /// The number of bytes.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The frames that a peer sends. Dropped before its end, it tells the peer to stop.
#[derive(Debug)]
pub struct FetchStream {
    stream: RecvStream,
    /// Pieces that were taken from the stream and are not used yet.
    chunks: [Bytes; CHUNKS],
    /// The index of the next piece.
    unused: std::ops::Range<usize>,
    ended: Option<Result<(), FetchError>>,
    silence: Duration,
    received: Received,
    socket: Arc<Sockets>,
    counters: Arc<Counters>,
    lease: Lease,
    _window: Window,
}

impl FetchStream {
    /// The next frame, `None` after the last one. After an error there is only that error. Not to be
    /// abandoned half way: the part of a frame that was read would be lost.
    ///
    /// # Errors
    /// [`FetchError`]: what the peer said, or what came instead of a frame.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        self.next_of(None).await
    }

    /// As [`FetchStream::next`], where the length that the frame must have is known. Of a frame of another
    /// length nothing is waited for and nothing is kept.
    ///
    /// # Errors
    /// As [`FetchStream::next`]; [`FetchError::WrongLength`].
    pub async fn next_of(&mut self, length: Option<usize>) -> Result<Option<Bytes>, FetchError> {
        match self.ended {
            Some(Ok(())) => return Ok(None),
            Some(Err(error)) => return Err(error),
            None => {}
        }
        let frame = self.read_frame(length).await;
        match &frame {
            Ok(Some(frame)) => self.counters.frame_bytes_received.add(frame.len()),
            Ok(None) => self.ended = Some(Ok(())),
            Err(error) => self.end(*error),
        }
        frame
    }

    /// The connection's smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.lease.connection().rtt(noq::PathId::ZERO).unwrap_or_default()
    }

    /// Counts the bytes that have come, also of a frame that is not whole yet: a look aside while
    /// [`FetchStream::next`] waits.
    #[must_use]
    pub fn received(&self) -> Received {
        self.received.clone()
    }

    async fn read_frame(&mut self, wanted: Option<usize>) -> Result<Option<Bytes>, FetchError> {
        let mut length = [0; LENGTH_BYTES];
        for (index, byte) in length.iter_mut().enumerate() {
            if self.unused.is_empty() && self.fill().await? == 0 {
                return if index == 0 { Ok(None) } else { Err(FetchError::Broken) };
            }
            *byte = self.take(1)[0];
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        if wanted.is_some_and(|wanted| wanted != length) {
            return Err(FetchError::WrongLength);
        }
        let mut frame = BytesMut::with_capacity(length);
        while frame.len() < length {
            if self.unused.is_empty() && self.fill().await? == 0 {
                return Err(FetchError::Broken);
            }
            frame.extend_from_slice(&self.take(length - frame.len()));
        }
        Ok(Some(frame.freeze()))
    }

    /// The next bytes of what is there, at most `most`. There must be some.
    fn take(&mut self, most: usize) -> Bytes {
        let chunk = &mut self.chunks[self.unused.start];
        let taken = chunk.split_to(most.min(chunk.len()));
        if chunk.is_empty() {
            self.unused.start += 1;
        }
        taken
    }

    /// Takes more from the stream, and then as long for it as the cap demands: what is not read is
    /// not asked for, and the peer slows down. The number of pieces; zero at the end.
    async fn fill(&mut self) -> Result<usize, FetchError> {
        let read = self.stream.read_many_chunks(&mut self.chunks);
        let count = timeout(self.silence, read).await.map_err(|_| FetchError::Silent)??;
        let count = count.unwrap_or(0);
        self.unused = 0..count;
        let bytes: usize = self.chunks[..count].iter().map(Bytes::len).sum();
        self.received.0.fetch_add(bytes as u64, Ordering::Relaxed);
        self.socket.download().wait(bytes).await;
        Ok(count)
    }

    fn end(&mut self, error: FetchError) {
        let code = match error {
            FetchError::TooLarge => StreamCode::TooLarge,
            FetchError::Broken | FetchError::WrongLength => StreamCode::Broken,
            _ => StreamCode::Cancelled,
        };
        // Fails only if the stream is over already.
        let _ = self.stream.stop(code.into());
        self.ended = Some(Err(error));
    }
}

impl Drop for FetchStream {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.end(FetchError::Cancelled);
        }
    }
}

impl Inner {
    /// Opens one fetch, within the call timeout.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        peer: &Contact,
        request: Bytes,
    ) -> Result<FetchStream, CallError> {
        let address = peer.address;
        if request.len() > FETCH_REQUEST_BYTES_MAX {
            return Err(CallError::TooLarge);
        }
        if self.paths.ways(peer, self.socket.families()).is_empty() {
            return Err(CallError::Address(address));
        }
        let open = self.open(peer, request);
        timeout(self.config.call_timeout, open).await.unwrap_or(Err(CallError::Timeout))
    }

    async fn open(
        self: &Arc<Self>,
        peer: &Contact,
        request: Bytes,
    ) -> Result<FetchStream, CallError> {
        let start = Instant::now();
        let lease = self.connection_to(peer, None).await?;
        if lease.established() >= start {
            return self
                .open_on(lease, request)
                .await
                .map(|(stream, _)| stream)
                .map_err(Failure::error);
        }
        // The connection is from earlier: the peer may have left it without our knowing.
        let id = lease.id();
        let connection = lease.connection().clone();
        let open = async {
            let (stream, sent) = self.open_on(lease, request.clone()).await?;
            // Until the peer has it, or does not want it, which the stream will tell.
            let _ = sent.await;
            match connection.close_reason() {
                Some(error) => Err(error.into()),
                None => Ok(stream),
            }
        };
        let failure = tokio::select! {
            stream = open => match stream {
                Ok(stream) => return Ok(stream),
                Err(failure) => failure,
            },
            () = silence(&connection, self.config.silence) => Failure::Lost(CallError::Timeout),
        };
        let Failure::Lost(_) = failure else { return Err(failure.error()) };
        self.desk.counters.failovers.count();
        self.pool.retire(id);
        let lease = self.connection_to(peer, Some(start)).await?;
        self.open_on(lease, request).await.map(|(stream, _)| stream).map_err(Failure::error)
    }

    /// Opens a fetch on one connection; also gives what ends when the peer has the request.
    async fn open_on(
        &self,
        lease: Lease,
        request: Bytes,
    ) -> Result<(FetchStream, impl Future<Output = Option<noq::VarInt>> + use<>), Failure> {
        let window = timeout(self.config.dial_timeout, self.pool.window(&lease))
            .await
            .map_err(|_| Failure::Over(CallError::Busy))?;
        let (send, stream) = lease.connection().open_bi().await?;
        let mut outgoing = Outgoing::new(send);
        let mut stream = FetchStream {
            stream,
            chunks: std::array::from_fn(|_| Bytes::new()),
            unused: 0..0,
            ended: None,
            silence: self.config.fetch_silence,
            received: Received::default(),
            socket: Arc::clone(&self.socket),
            counters: Arc::clone(&self.desk.counters),
            lease,
            _window: window,
        };
        let sent = outgoing.stopped();
        let mut parts = [Bytes::from_static(&[FETCH_BYTE]), request];
        match outgoing.send_all(&mut parts).await {
            // A peer that stops us says why on the way back.
            Ok(()) | Err(noq::WriteError::Stopped(_)) => Ok((stream, sent)),
            Err(error) => {
                stream.ended = Some(Err(FetchError::Lost));
                Err(error.into())
            }
        }
    }
}
