//! The sending half of a stream. It ends in good order only on purpose.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use noq::{SendStream, WriteError};
use tokio::io::AsyncWrite;

use super::error::StreamCode;

/// Sends one message and then the end of the stream. Dropped before that it resets the stream, as
/// QUIC would otherwise end it in good order and the peer take a part for the whole.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream,
    finished: bool,
}

impl Outgoing {
    pub(super) const fn new(stream: SendStream) -> Self {
        Self { stream, finished: false }
    }

    pub(super) async fn send(&mut self, message: Bytes) -> Result<(), WriteError> {
        if !message.is_empty() {
            self.stream.write_chunk(message).await?;
        }
        self.finish()
    }

    /// Sends one message in parts and then the end of the stream.
    pub(super) async fn send_all(&mut self, parts: &mut [Bytes]) -> Result<(), WriteError> {
        self.stream.write_all_chunks(parts).await?;
        self.finish()
    }

    /// Sends as much of `parts` as there is room for; `parts` is then the rest.
    pub(super) async fn send_some(&mut self, parts: &mut &mut [Bytes]) -> Result<(), WriteError> {
        self.stream.write_many_chunks(parts).await?;
        Ok(())
    }

    /// Ends the stream in good order.
    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.stream.finish()?;
        self.finished = true;
        Ok(())
    }

    /// Lets everything else on the connection go first.
    pub(super) fn step_back(&self) {
        // Fails only if the stream is over already.
        let _ = self.stream.set_priority(-1);
    }

    /// The peer's code, once it stops the stream; `None` if the connection breaks or the peer has
    /// everything.
    pub(super) fn stopped(&self) -> impl Future<Output = Option<noq::VarInt>> + Send + use<> {
        let stopped = self.stream.stopped();
        async move { stopped.await.ok().flatten() }
    }

    /// Waits until the peer has everything, or does not want it.
    pub(super) async fn delivered(&self) -> bool {
        matches!(self.stream.stopped().await, Ok(None))
    }

    /// Sends a part of what is not one message.
    pub(super) async fn send_part(&mut self, part: Bytes) -> Result<(), WriteError> {
        self.stream.write_chunk(part).await
    }

    /// As [`AsyncWrite`] does.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, bytes)
    }

    /// Tells the peer why there is no message.
    pub(super) fn abort(mut self, code: StreamCode) {
        self.reset(code);
    }

    /// As [`Outgoing::abort`], by reference.
    pub(super) fn reset(&mut self, code: StreamCode) {
        if !self.finished {
            self.finished = true;
            // Fails only if the stream is over already.
            let _ = self.stream.reset(code.into());
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.reset(StreamCode::Abandoned);
    }
}
