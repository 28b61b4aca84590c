//! Admission of outgoing fetches: each takes a stream of its connection and one of the node's flow-control
//! windows.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::super::connection_budget::ConnectionBudget;
use super::super::error::CloseCode;
use super::{Lease, Pool};

impl Pool {
    /// Waits until the connection of `lease` may carry one more outgoing fetch, and for a window.
    pub(in super::super) async fn window(self: &Arc<Self>, lease: &Lease) -> Window {
        let connection_budget = Arc::clone(&lease.connection_budget);
        let turns = Arc::clone(&connection_budget.fetches);
        let turn = turns.acquire_owned().await.expect("nobody closes the semaphore");
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Register before the check, so that a window that becomes free in between is noticed.
            freed.as_mut().enable();
            if connection_budget.reuse() {
                break;
            }
            if let Ok(permit) = Arc::clone(&self.windows).try_acquire_owned() {
                connection_budget.grow(permit);
                break;
            }
            if self.evict_grown() {
                continue;
            }
            tokio::select! {
                () = freed => {}
                permit = Arc::clone(&self.windows).acquire_owned() => {
                    connection_budget.grow(permit.expect("nobody closes the semaphore"));
                    break;
                }
            }
        }
        Window { pool: Arc::clone(self), connection_budget, _turn: turn }
    }

    /// Windows that connections hold, in use or not.
    pub(in super::super) fn windows_granted(&self) -> usize {
        self.windows_max - self.windows.available_permits()
    }

    /// Closes the least recently used of the idle connections that hold windows.
    fn evict_grown(&self) -> bool {
        let evicted = self.state.lock().evict(|slot| slot.connection_budget.has_grown());
        let Some(connection) = evicted else { return false };
        connection.close(CloseCode::Evicted.into(), b"");
        self.freed.notify_waiters();
        true
    }
}

/// The flow-control window of one outgoing fetch.
#[derive(Debug)]
pub(in super::super) struct Window {
    pool: Arc<Pool>,
    connection_budget: Arc<ConnectionBudget>,
    _turn: OwnedSemaphorePermit,
}

impl Drop for Window {
    fn drop(&mut self) {
        self.connection_budget.give_back();
        self.pool.freed.notify_waiters();
    }
}
