//! Calls between nodes of a world: large requests over a reliable connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey};
use potluck_node::{CallId, InboundId, Input};

use crate::calls::{Begins, CallKey, Leg, Life};
use crate::network::Endpoint;
use crate::sim_node::NodeIndex;
use crate::world::deliver::Event;
use crate::world::shard::Local;

/// The request of a call that is being transferred.
#[derive(Debug)]
pub(crate) struct Called {
    key: CallKey,
    /// The public key of the caller, and the address of its connection.
    from: (PublicKey, SocketAddr),
    callee: NodeIndex,
    /// The public key of the meant node, and the address that was dialed.
    to: (PublicKey, SocketAddr),
    began: Instant,
    begins: Begins,
    bytes: Bytes,
}

impl Local<'_> {
    pub(super) fn call(&mut self, caller: Life, call: CallId, to: Contact, bytes: Bytes) {
        let (now, config) = (self.shard.now, &self.shared.config.calls);
        let key = CallKey { caller, call };
        let callee = self.shared.owner(to.address);
        if let (None, Some(hostile)) = (callee, self.shared.hostiles.get(&to.address)) {
            self.shard.counts.calls.made += 1;
            let place = &mut self.shard.nodes[caller.0].place;
            place.traffic.call_bytes_out += bytes.len() as u64;
            return self.call_hostile(key, *hostile, to, bytes);
        }
        let address = self.source(caller.0, to.address);
        let callee = callee.filter(|callee| !self.is_cut_off(caller.0, *callee));
        let node = &mut self.shard.nodes[caller.0];
        let from = (node.peer.contact.public_key, address);
        node.place.traffic.call_bytes_out += bytes.len() as u64;
        self.shard.counts.calls.made += 1;
        let Some(callee) = callee else {
            node.place.calls.begin_in_vain(call);
            self.shard.plan(caller.0, now + config.dial_timeout, Event::CallTimeout(key));
            return;
        };
        let leg = self.leg(caller.0, callee, bytes.len());
        let place = &mut self.shard.nodes[caller.0].place;
        let begins = place.calls.begin(now, call, callee, config.idle_timeout);
        let mut arrives = now;
        if begins == Begins::Dial {
            self.shard.counts.calls.handshakes += 1;
            arrives += leg.handshake(config, &mut place.call_draws);
        }
        self.shard.counts.calls.bytes += leg.bytes as u64;
        arrives += leg.one_way(config, &mut place.call_draws);
        self.shard.plan(caller.0, now + config.call_timeout, Event::CallTimeout(key));
        let to = (to.public_key, to.address);
        let called = Called { key, from, callee, to, began: now, begins, bytes };
        self.send_to(caller.0, callee, arrives, Event::Called(Box::new(called)));
    }

    /// A request arrives at its callee, which may be down, be another node, or have excluded the caller.
    pub(super) fn on_called(&mut self, mut called: Called) {
        let (now, config) = (self.shard.now, &self.shared.config.calls);
        let (callee, caller, (from, address)) = (called.callee, called.key.caller, called.from);
        let node = &self.shard.nodes[callee];
        let takes = node.is_up()
            && node.peer.contact.public_key == called.to.0
            && self.has_address(callee, called.to.1)
            && !node.papers.has_expelled(&from)
            && self.lets_in(callee, address, called.to.1);
        if !takes {
            let at = called.began + config.dial_timeout;
            let refused = Event::CallRefused { key: called.key, callee };
            return self.send_to(callee, caller.0, at, refused);
        }
        let life = self.shard.nodes[callee].life;
        if matches!(called.begins, Begins::Connected(Some(other)) if other != life) {
            // The connection belongs to an earlier life. The caller detects that and makes a new one.
            self.shard.counts.calls.handshakes += 1;
            let leg = self.leg(caller.0, callee, called.bytes.len());
            let draws = &mut self.shard.nodes[callee].place.call_draws;
            let at = now + config.silence + leg.handshake(config, draws);
            called.begins = Begins::Dial;
            return self.shard.plan(callee, at, Event::Called(Box::new(called)));
        }
        let place = &mut self.shard.nodes[callee].place;
        place.calls.heard(now, caller);
        place.traffic.call_bytes_in += called.bytes.len() as u64;
        let inbound = place.calls.arrive(called.key);
        self.shard.trace(callee, b"call", &called.bytes);
        self.feed(callee, Input::Called { from, address, inbound, bytes: called.bytes });
    }

    pub(super) fn answer_call(
        &mut self,
        callee: Life,
        inbound: InboundId,
        bytes: Bytes,
        held: Duration,
    ) {
        let calls = &mut self.shard.nodes[callee.0].place.calls;
        if let Some(hostile) = calls.answered_hostile(inbound) {
            return self.answer_hostile(callee.0, hostile, bytes, held);
        }
        let Some(key) = calls.answered(inbound) else { return };
        if self.is_cut_off(callee.0, key.caller.0) {
            return; // The caller's time-out will tell it.
        }
        let leg = self.leg(callee.0, key.caller.0, bytes.len());
        self.shard.counts.calls.bytes += leg.bytes as u64;
        let place = &mut self.shard.nodes[callee.0].place;
        place.traffic.call_bytes_out += bytes.len() as u64;
        let draws = &mut place.call_draws;
        let at = self.shard.now + held + leg.one_way(&self.shared.config.calls, draws);
        self.send_to(callee.0, key.caller.0, at, Event::Answered { key, callee, bytes });
    }

    pub(super) fn on_answered(&mut self, key: CallKey, callee: Life, bytes: Bytes) {
        let (now, node) = (self.shard.now, key.caller.0);
        if !self.is_life(key.caller) {
            return;
        }
        let place = &mut self.shard.nodes[node].place;
        place.calls.heard(now, callee);
        if place.calls.end(key.call) {
            place.traffic.call_bytes_in += bytes.len() as u64;
            self.shard.trace(node, b"answ", &bytes);
            self.feed(node, Input::Answered { call: key.call, bytes });
        }
    }

    pub(super) fn on_refused(&mut self, key: CallKey, callee: NodeIndex) {
        if self.is_life(key.caller) {
            self.shard.nodes[key.caller.0].place.calls.disconnect(callee);
            self.on_call_failed(key);
        }
    }

    pub(super) fn on_call_failed(&mut self, key: CallKey) {
        let node = key.caller.0;
        if self.is_life(key.caller) && self.shard.nodes[node].place.calls.end(key.call) {
            self.shard.counts.calls.failed += 1;
            self.shard.trace(node, b"call", b"failed");
            self.feed(node, Input::CallFailed { call: key.call });
        }
    }

    /// Posts an event from one node to another, not earlier than the lookahead allows.
    fn send_to(&mut self, from: NodeIndex, to: NodeIndex, at: Instant, event: Event) {
        let at = at.max(self.shard.now + self.shared.network.lookahead());
        let when = self.shard.caused(from, at);
        self.shard.post(self.shared.home(to), when, event);
    }

    fn is_cut_off(&self, one: NodeIndex, other: NodeIndex) -> bool {
        let (one, other) = (Endpoint::Node(one), Endpoint::Node(other));
        let network = &self.shared.network;
        network.is_blocked(one, other) || network.is_blocked(other, one)
    }

    fn leg(&self, one: NodeIndex, other: NodeIndex, bytes: usize) -> Leg {
        let ends = (Endpoint::Node(one), Endpoint::Node(other));
        let loss = self.shared.network.loss_between(ends.0, ends.1);
        Leg { rtt: self.shared.network.rtt(ends.0, ends.1), loss, bytes }
    }
}
