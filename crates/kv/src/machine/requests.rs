//! Requests of other nodes go to the parts that answer them.

use potluck_base::{Instant, NodeId};
use potluck_wire::{Apply, Refusal, Request, Response, WatchRequest};

use super::Kv;
use crate::command::{CommandError, Reply};
use crate::event::{PeerRequest, ServeId};
use crate::put::Work;
use crate::stamps::{self, Stamped};
use crate::watch_holder::LeaseAsk;

impl Kv {
    pub(super) fn on_peer_request(&mut self, now: Instant, serve: ServeId, mut asked: PeerRequest) {
        if self.leave_by.is_some() {
            let writes = matches!(
                asked.request,
                Request::Store { .. }
                    | Request::Offer { .. }
                    | Request::Apply(_)
                    | Request::Watch(_)
            );
            if writes {
                let reason = Refusal::NotServing;
                self.core.respond(serve, Response::refused(reason));
                return;
            }
        }
        if let Request::Watch(watch) = asked.request {
            return self.on_watch_request(now, serve, &asked, watch);
        }
        if let Request::Offer { entries } = &asked.request
            && !self.takes_offer(now, &asked.from.id, entries.len())
        {
            let reason = Refusal::Busy;
            self.core.respond(serve, Response::refused(reason));
            return;
        }
        if let Request::Apply(apply) = &asked.request
            && self.core.serves
            && asked.proven
        {
            return self.on_apply(now, serve, asked.from.id, apply);
        }
        match stamps::judge(&mut self.core, now, &mut asked) {
            Stamped::Good => {}
            Stamped::Missing | Stamped::Wrong => {
                self.core.respond(serve, Response::refused(Refusal::StampNeeded));
                return;
            }
        }
        if let Some(asked) = self.checks.take(&mut self.core, now, serve, asked) {
            self.serves.start(&mut self.core, now, serve, asked);
        }
    }

    fn takes_offer(&self, now: Instant, from: &NodeId, keys: usize) -> bool {
        let in_budget = self.pulls.may_offer(now, from) || !self.core.config.defences.pull_budget;
        in_budget && self.pulls.has_room(from, keys)
    }

    fn on_watch_request(
        &mut self,
        now: Instant,
        serve: ServeId,
        asked: &PeerRequest,
        watch: WatchRequest,
    ) {
        let core = &mut self.core;
        match watch {
            WatchRequest::Lease { .. } if !core.serves => {
                core.respond(serve, Response::refused(Refusal::NotServing));
            }
            // Notifications go to the address of the asker.
            WatchRequest::Lease { .. } if !asked.proven => {
                core.respond(serve, Response::refused(Refusal::Unproven));
            }
            WatchRequest::Lease { key, millis } => {
                let lease = LeaseAsk { serve, from: asked.from, key, millis };
                self.holder.on_lease(core, now, lease);
            }
            WatchRequest::Changed(changed) => {
                self.watches.on_changed(core, now, serve, asked.from.id, &changed);
            }
        }
    }

    /// Begins to carry an operation out for another node, unless it was asked for before.
    fn on_apply(&mut self, now: Instant, serve: ServeId, from: NodeId, asked: &Apply) {
        let started = self.carried_out.start(&mut self.core, now, serve, from, asked);
        let Some((id, apply)) = started else { return };
        if self.commands() >= self.core.config.commands_max {
            self.core.reply(id, Reply::Failed(CommandError::Busy));
        } else {
            self.start_write(now, id, Work::Apply { apply, may_delegate: false });
        }
    }
}
