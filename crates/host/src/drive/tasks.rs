//! The tasks beside the drive loop that end in an input: calls and DNS lookups.
//!
//! **Invariants:** each task ends in exactly one input, also when there is no room for it or it panics;
//! the number of tasks has a limit.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use potluck_base::Contact;
use potluck_node::{CallId, Input};
use tokio::task::{Id, JoinSet};

use crate::resolve::Names;
use crate::socket::Families;
use crate::transport::Transport;

/// Outgoing calls at once. The core has the same limit, so only a bug of it can exceed this one.
const CALLS_MAX: usize = 512;
/// DNS lookups at once. Each may block a thread until the system's resolver gives up.
const LOOKUPS_MAX: usize = 8;

/// The tasks of one node. Dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: JoinSet<Input>,
    /// The input for each task, should it panic.
    if_lost: HashMap<Id, Input>,
    /// The inputs of tasks that there was no room for.
    refused: VecDeque<Input>,
    calls: usize,
    lookups: usize,
    calls_refused: u64,
}

impl Tasks {
    /// Begins a call.
    pub(super) fn call(&mut self, transport: &Transport, id: CallId, to: Contact, bytes: Bytes) {
        let failed = Input::CallFailed { call: id };
        if self.calls >= CALLS_MAX {
            self.calls_refused += 1;
            self.refused.push_back(failed);
            return;
        }
        self.calls += 1;
        let transport = transport.clone();
        self.spawn(failed, async move {
            match transport.call(&to, bytes).await {
                Ok(bytes) => Input::Answered { call: id, bytes },
                Err(error) => {
                    tracing::debug!(peer = %to, %error, "call failed");
                    Input::CallFailed { call: id }
                }
            }
        });
    }

    /// Begins to resolve a DNS name into addresses that this node can send to.
    pub(super) fn resolve(&mut self, name: String, families: Families) {
        let failed = Input::Resolved { name: name.clone(), addresses: Vec::new() };
        if self.lookups >= LOOKUPS_MAX {
            self.refused.push_back(failed);
            return;
        }
        self.lookups += 1;
        self.spawn(failed, async move {
            let addresses = Names::default().groups(&name, families).await;
            let addresses = addresses.unwrap_or_else(|error| {
                tracing::debug!(name, %error, "cannot resolve");
                Vec::new()
            });
            Input::Resolved { name, addresses }
        });
    }

    fn spawn(&mut self, if_lost: Input, task: impl Future<Output = Input> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.if_lost.insert(handle.id(), if_lost);
    }

    /// Whether no task is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.refused.is_empty()
    }

    /// Calls under way.
    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// Calls that there was no room for, since the start.
    pub(super) const fn calls_refused(&self) -> u64 {
        self.calls_refused
    }

    /// The input of the next task that ends; `None` if none is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Input> {
        if let Some(refused) = self.refused.pop_front() {
            return Some(refused);
        }
        let (id, input) = match self.running.join_next_with_id().await? {
            Ok((id, input)) => (id, Some(input)),
            Err(error) => (error.id(), None),
        };
        let if_lost = self.if_lost.remove(&id)?;
        match if_lost {
            Input::CallFailed { .. } => self.calls -= 1,
            _ => self.lookups -= 1,
        }
        Some(input.unwrap_or(if_lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(input: Option<Input>) -> String {
        match input {
            Some(Input::Resolved { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_still_ends_in_an_input() {
        let mut tasks = Tasks { calls: 1, ..Tasks::default() };
        tasks.spawn(Input::CallFailed { call: CallId(7) }, async { panic!("on purpose") });
        assert_eq!(tasks.next().await, Some(Input::CallFailed { call: CallId(7) }));
        assert_eq!(tasks.next().await, None);
        assert_eq!((tasks.calls, tasks.is_empty(), tasks.if_lost.len()), (0, true, 0));
    }

    #[tokio::test]
    async fn lookups_over_the_limit_fail_at_once_and_the_others_end_each_once() {
        let mut tasks = Tasks::default();
        let name = |n: usize| format!("localhost:no-port-{n}");
        for n in 0..=LOOKUPS_MAX {
            tasks.resolve(name(n), Families { v4: true, v6: true });
        }
        assert_eq!(name_of(tasks.next().await), name(LOOKUPS_MAX), "refused, so first");
        let mut rest = Vec::new();
        while !tasks.is_empty() {
            rest.push(name_of(tasks.next().await));
        }
        rest.sort();
        assert_eq!(rest, (0..LOOKUPS_MAX).map(name).collect::<Vec<_>>());
        assert_eq!(tasks.lookups, 0);
    }
}
