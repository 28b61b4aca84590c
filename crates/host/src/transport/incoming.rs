//! Calls of peers: reading requests, handing them over, sending answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use noq::{RecvStream, SendStream};
use potluck_base::PublicKey;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::config::{MESSAGE_BYTES_MAX, SMALL_REQUEST_BYTES};
use super::counters::Counters;
use super::error::StreamCode;
use super::pool::Lease;
use super::stream::Outgoing;
use super::{CallError, Inner};

/// Bytes in a semaphore permit.
const PERMIT_BYTES: usize = 1024;
/// How much is taken from a stream at once.
const READ_BYTES: usize = 64 * 1024;

/// Permits for `bytes`.
pub(super) const fn permits(bytes: usize) -> u32 {
    bytes.div_ceil(PERMIT_BYTES) as u32
}

/// A request of a peer.
#[derive(Debug)]
pub struct IncomingCall {
    /// Who asks, proven by the connection.
    pub from: PublicKey,
    /// Where the connection came from.
    pub address: SocketAddr,
    /// The request, at most [`MESSAGE_BYTES_MAX`] long.
    pub request: Bytes,
    /// The way back.
    pub responder: Responder,
}

/// The way back to the caller. Dropped without an answer, it resets the stream: the caller gets
/// [`CallError::Reset`].
#[derive(Debug)]
pub struct Responder {
    stream: Outgoing,
    lease: Lease,
    /// What the request takes of the budgets, given back with the answer.
    hold: Option<Hold>,
    desk: Arc<Desk>,
}

/// What all responders of a transport share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) counters: Arc<Counters>,
    pub(super) answers: Arc<Semaphore>,
    pub(super) timeout: Duration,
}

impl Responder {
    /// Sends the answer in the background, within the call timeout. Must be called in the tokio
    /// runtime.
    ///
    /// # Errors
    /// [`CallError::TooLarge`] if it is longer than [`MESSAGE_BYTES_MAX`]; the caller gets the same.
    /// [`CallError::Busy`] if too many answers wait for slow peers; the caller gets
    /// [`CallError::Reset`].
    pub fn answer(self, answer: Bytes) -> Result<(), CallError> {
        let Self { mut stream, lease, hold, desk } = self;
        if answer.len() > MESSAGE_BYTES_MAX {
            desk.counters.answers_lost.count();
            stream.abort(StreamCode::TooLarge);
            return Err(CallError::TooLarge);
        }
        let place = Arc::clone(&desk.answers).try_acquire_many_owned(permits(answer.len()));
        let Ok(place) = place else {
            desk.counters.answers_lost.count();
            stream.abort(StreamCode::Dropped);
            return Err(CallError::Busy);
        };
        drop(hold);
        tokio::spawn(async move {
            let bytes = answer.len();
            let sent = timeout(desk.timeout, async {
                // Until all of it is acknowledged the connection must not pass for idle.
                stream.send(answer).await.is_ok() && stream.delivered().await
            });
            if sent.await == Ok(true) {
                desk.counters.bytes_sent.add(bytes);
            } else {
                desk.counters.answers_lost.count();
            }
            drop((stream, place, lease));
        });
        Ok(())
    }

    /// Tells the caller that there is no room for the request: it gets [`CallError::Refused`].
    /// Only for a request that was not acted on.
    pub fn refuse(self) {
        self.stream.abort(StreamCode::Busy);
    }
}

/// A share of the budgets for large requests.
#[derive(Debug)]
struct Hold {
    parts: [OwnedSemaphorePermit; 2],
}

impl Hold {
    /// Takes as much as the longest request may need: with less, many half-read requests could
    /// wait for each other.
    async fn take(budgets: &[Arc<Semaphore>; 2]) -> Option<Self> {
        let most = permits(MESSAGE_BYTES_MAX);
        let take = |budget: &Arc<Semaphore>| Arc::clone(budget).acquire_many_owned(most);
        // The connection's own share first, so that a peer waits for itself before others do.
        let own = take(&budgets[0]).await.ok()?;
        let all = take(&budgets[1]).await.ok()?;
        Some(Self { parts: [own, all] })
    }

    fn shrink(&mut self, bytes: usize) {
        for part in &mut self.parts {
            let surplus = part.num_permits().saturating_sub(permits(bytes) as usize);
            drop(part.split(surplus));
        }
    }
}

enum ReadFailure {
    TooLarge,
    Gone,
}

async fn read_request(
    stream: &mut RecvStream,
    budgets: &[Arc<Semaphore>; 2],
) -> Result<(Bytes, Option<Hold>), ReadFailure> {
    let mut request = BytesMut::new();
    let mut hold = None;
    while let Some(chunk) = stream.read_chunk(READ_BYTES).await.map_err(|_| ReadFailure::Gone)? {
        let length = request.len() + chunk.len();
        if length > MESSAGE_BYTES_MAX {
            return Err(ReadFailure::TooLarge);
        }
        if length > SMALL_REQUEST_BYTES && hold.is_none() {
            hold = Some(Hold::take(budgets).await.ok_or(ReadFailure::Gone)?);
        }
        request.extend_from_slice(&chunk);
    }
    if let Some(hold) = &mut hold {
        hold.shrink(request.len());
    }
    Ok((request.freeze(), hold))
}

/// The peer at the other end of a connection, once it is established.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) key: PublicKey,
    pub(super) address: SocketAddr,
}

impl Inner {
    /// Takes the calls that come in on a connection until it closes.
    pub(super) async fn serve(
        self: Arc<Self>,
        connection: noq::Connection,
        id: u64,
        caller: Caller,
    ) {
        while let Ok((send, recv)) = connection.accept_bi().await {
            let (Some(lease), Some(budget)) = (self.pool.lease(id), self.pool.requests_budget(id))
            else {
                break;
            };
            let budgets = [budget, Arc::clone(&self.requests)];
            // As many tasks as the peer may have streams.
            tokio::spawn(Arc::clone(&self).take_call(send, recv, lease, budgets, caller));
        }
        self.pool.remove(id);
    }

    async fn take_call(
        self: Arc<Self>,
        send: SendStream,
        mut recv: RecvStream,
        lease: Lease,
        budgets: [Arc<Semaphore>; 2],
        caller: Caller,
    ) {
        let stream = Outgoing::new(send);
        let read = timeout(self.config.call_timeout, read_request(&mut recv, &budgets)).await;
        let refusal = match read {
            Ok(Ok((request, hold))) => {
                let responder = Responder { stream, lease, hold, desk: Arc::clone(&self.desk) };
                self.hand_over(IncomingCall {
                    from: caller.key,
                    address: caller.address,
                    request,
                    responder,
                });
                return;
            }
            Ok(Err(ReadFailure::TooLarge)) => StreamCode::TooLarge,
            Ok(Err(ReadFailure::Gone)) => StreamCode::Dropped,
            Err(_) => StreamCode::Abandoned,
        };
        self.desk.counters.incoming_refused.count();
        let _ = recv.stop(refusal.into());
        stream.abort(refusal);
    }

    fn hand_over(&self, call: IncomingCall) {
        let bytes = call.request.len();
        match self.incoming.try_send(call) {
            Ok(()) => {
                self.desk.counters.incoming.count();
                self.desk.counters.bytes_received.add(bytes);
            }
            Err(TrySendError::Full(call) | TrySendError::Closed(call)) => {
                self.desk.counters.incoming_refused.count();
                call.responder.refuse();
            }
        }
    }
}
