//! The sending half of a call's stream, which never ends by accident.

use bytes::Bytes;
use noq::{SendStream, WriteError};

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
        self.stream.finish()?;
        self.finished = true;
        Ok(())
    }

    /// Waits until the peer has everything, or does not want it.
    pub(super) async fn delivered(&self) -> bool {
        matches!(self.stream.stopped().await, Ok(None))
    }

    /// Tells the peer why there is no message.
    pub(super) fn abort(mut self, code: StreamCode) {
        self.reset(code);
    }

    fn reset(&mut self, code: StreamCode) {
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
