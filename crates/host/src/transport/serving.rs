//! Fetches of peers: handing them over and sending frames.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::PublicKey;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use super::Inner;
use super::config::{FETCH_REQUEST_BYTES_MAX, FRAME_BYTES_MAX};
use super::connection_budget::Sending;
use super::counters::Counters;
use super::error::{FetchError, FetchRefusal, StreamCode};
use super::incoming::{Asked, Hold, ReadFailure, RequestLimits};
use super::pool::Lease;
use super::stream::Outgoing;

/// A peer that wants frames.
#[derive(Debug)]
pub struct IncomingFetch {
    /// The key of the peer, proven by the connection.
    pub from: PublicKey,
    /// Where the connection came from.
    pub address: SocketAddr,
    /// The request, at most [`FETCH_REQUEST_BYTES_MAX`] long.
    pub request: Bytes,
    /// Where the frames go.
    pub sender: FrameSender,
}

/// The way of frames to a peer. Dropped before [`FrameSender::finish`], it tells the peer
/// [`FetchError::Cancelled`].
#[derive(Debug)]
pub struct FrameSender {
    stream: Outgoing,
    stall: Duration,
    counters: Arc<Counters>,
    rest: Rest,
}

/// The share of the limits that a fetch of a peer holds, released at its end.
#[derive(Debug)]
struct Rest {
    _hold: Option<Hold>,
    _turns: [OwnedSemaphorePermit; 2],
    _sending: Sending,
    _lease: Lease,
}

impl FrameSender {
    /// Sends a frame. Waits while the peer does not read, the node's cap is reached, or more than a
    /// window of frames is under way: what was sent may still be in memory here. An abandoned send
    /// ends the fetch.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`] if the frame is longer than [`FRAME_BYTES_MAX`]: nothing was sent.
    /// After [`FetchError::Cancelled`] and other words of the peer, [`FetchError::Lost`] and
    /// [`FetchError::Silent`] (it took nothing for too long) every further send fails as well.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), FetchError> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        if frame.len() > FRAME_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        let bytes = frame.len();
        let mut parts = [Bytes::copy_from_slice(&length.to_be_bytes()), frame];
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            match timeout(self.stall, self.stream.send_some(&mut parts)).await {
                Ok(sent) => sent?,
                Err(_) => {
                    self.stream.reset(StreamCode::Cancelled);
                    return Err(FetchError::Silent);
                }
            }
        }
        self.counters.frame_bytes_sent.add(bytes);
        Ok(())
    }

    /// Sends bytes, which need not be a whole frame; `None` if the stream is over.
    #[cfg(any(test, feature = "hostile"))]
    pub(crate) async fn send_raw(&mut self, bytes: Bytes) -> Option<()> {
        let mut parts = [bytes];
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            self.stream.send_some(&mut parts).await.ok()?;
        }
        Some(())
    }

    /// Ends the stream. Sent frames are still delivered in the background. Must be called in the tokio
    /// runtime.
    pub fn finish(self) {
        let Self { mut stream, stall, rest, .. } = self;
        if stream.finish().is_err() {
            return;
        }
        tokio::spawn(async move {
            // Until all of it is acknowledged the connection must not pass for idle.
            let _ = timeout(stall, stream.stopped()).await;
            drop((stream, rest));
        });
    }

    /// Tells the peer why there are no (more) frames.
    pub fn refuse(mut self, refusal: FetchRefusal) {
        self.stream.reset(refusal.into());
    }

    /// Completes when the peer wants no more frames or is gone, for callers that wait for something else
    /// than [`FrameSender::send`].
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.stream.stopped();
        async move {
            stopped.await;
        }
    }
}

impl Inner {
    /// Takes a fetch of a peer if there is room for one more.
    pub(super) async fn take_fetch(&self, mut asked: Asked) {
        let connection_budget = Arc::clone(asked.lease.connection_budget());
        let turns = [&connection_budget.served, &self.served]
            .map(|all| Arc::clone(all).try_acquire_owned());
        let [Ok(own), Ok(all)] = turns else {
            self.desk.counters.fetches_refused.count();
            return asked.refuse(StreamCode::Busy);
        };
        let limits = RequestLimits {
            longest: FETCH_REQUEST_BYTES_MAX,
            budgets: [
                Arc::clone(&connection_budget.fetch_requests),
                Arc::clone(&self.fetch_requests),
            ],
        };
        let refusal = match timeout(self.config.call_timeout, asked.read(&limits)).await {
            Ok(Ok((request, hold))) => {
                let Asked { answer: stream, lease, caller, .. } = asked;
                stream.step_back();
                let rest = Rest {
                    _hold: hold,
                    _turns: [own, all],
                    _sending: connection_budget.sending(),
                    _lease: lease,
                };
                let (stall, counters) = (self.config.fetch_stall, Arc::clone(&self.desk.counters));
                let sender = FrameSender { stream, stall, counters, rest };
                let (from, address) = (caller.key, caller.address);
                return self.hand_over_fetch(IncomingFetch { from, address, request, sender });
            }
            Ok(Err(failure)) => ReadFailure::code(&failure),
            Err(_) => StreamCode::Abandoned,
        };
        self.desk.counters.fetches_refused.count();
        asked.refuse(refusal);
    }

    fn hand_over_fetch(&self, fetch: IncomingFetch) {
        match self.incoming_fetches.try_send(fetch) {
            Ok(()) => self.desk.counters.fetches_served.count(),
            Err(TrySendError::Full(fetch) | TrySendError::Closed(fetch)) => {
                self.desk.counters.fetches_refused.count();
                fetch.sender.refuse(FetchRefusal::Busy);
            }
        }
    }
}
