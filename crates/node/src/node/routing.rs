//! The DHT part of the wiring: its queries go out over the link, the results of lookups go to the part
//! that requested them.

use std::time::Duration;

use potluck_base::{Contact, Instant, Machine as _, Peer};
use potluck_dht::{LookupId, LookupOwner, LookupTrace, Purpose, QueryId};
use potluck_gossip::members;
use potluck_link::RequestOptions;
use potluck_wire::limits::{MESSAGE_BYTES_MAX, SECOND_PART};
use potluck_wire::{Refusal, Request, Response};

use super::pending::{Asker, Delivery, Unsent};
use super::{Node, SHORT_ANSWER};
use crate::command::{CommandError, Reply};
use crate::output::{Event, Output};

/// The answer to a query of the DHT.
pub(super) struct Found {
    pub(super) query: QueryId,
    pub(super) lookup: Option<LookupId>,
    pub(super) from: Contact,
    pub(super) response: Response,
    pub(super) rtt: Duration,
}

/// The nodes that a lookup found.
struct Nearest {
    closest: Vec<Peer>,
    /// Close nodes whose answers were not waited for.
    late: Vec<Peer>,
}

impl Node {
    pub(super) fn on_dht(&mut self, now: Instant, output: potluck_dht::Output) {
        use potluck_dht::Output as Dht;
        match output {
            Dht::Query { query, to, purpose, tries } => self.query(now, query, to, purpose, tries),
            Dht::Hello(address) => self.link.hello(now, address),
            Dht::Ask(address) => self.link.hello_once(now, address),
            Dht::Resolve(name) => self.outbox.push_back(Output::Resolve { name }),
            Dht::LastResort => self.outbox.push_back(Output::Event(Event::LastResort)),
            Dht::Finished { lookup, closest, late, trace } => {
                self.on_lookup_finished(now, lookup, Nearest { closest, late }, trace);
            }
            Dht::Refused(lookup) => self.on_lookup_refused(now, lookup),
            Dht::CloseGroup(change) => {
                let close_group: Vec<Peer> = self.dht.close_group().copied().collect();
                let contacts = close_group.iter().map(|peer| peer.contact).collect();
                self.gossip.members.handle(now, members::Input::CloseGroup(contacts));
                self.kv.handle(now, potluck_kv::Input::CloseGroup(close_group));
                let joined = change.joined.into_iter().map(Event::SiblingJoined);
                let left = change.left.into_iter().map(Event::SiblingLeft);
                self.outbox.extend(joined.chain(left).map(Output::Event));
            }
            Dht::Save(contacts) => {
                let contacts = self.remember(contacts);
                self.outbox.push_back(Output::SaveContacts { contacts });
            }
            Dht::Joined => self.outbox.push_back(Output::Event(Event::Joined)),
        }
    }

    fn on_lookup_finished(
        &mut self,
        now: Instant,
        lookup: LookupId,
        nearest: Nearest,
        trace: LookupTrace,
    ) {
        let Nearest { closest, late } = nearest;
        match lookup.owner {
            LookupOwner::Records => {
                let lookup = potluck_kv::LookupId(lookup.number);
                self.kv.handle(now, potluck_kv::Input::LookupDone { lookup, closest, late });
            }
            LookupOwner::Trace => {
                if let Some(id) = self.pending.finish_for_host(lookup.number) {
                    self.reply(id, Reply::Traced { trace, closest });
                }
            }
            LookupOwner::Table => {}
        }
    }

    fn on_lookup_refused(&mut self, now: Instant, lookup: LookupId) {
        match lookup.owner {
            LookupOwner::Records => {
                let lookup = potluck_kv::LookupId(lookup.number);
                self.kv.handle(now, potluck_kv::Input::LookupRefused(lookup));
            }
            LookupOwner::Trace => {
                if let Some(id) = self.pending.finish_for_host(lookup.number) {
                    self.reply(id, Reply::Failed(CommandError::Busy));
                }
            }
            LookupOwner::Table => {}
        }
    }

    fn query(&mut self, now: Instant, query: QueryId, to: Contact, purpose: Purpose, tries: u8) {
        let (request, lookup, answer_bytes_max) = match purpose {
            Purpose::Ping => (Request::Ping, None, SHORT_ANSWER),
            Purpose::Find { lookup, target, count, want, second } => {
                let parts = second.then_some(SECOND_PART);
                let request = Request::FindNode { target, count, want, parts };
                (request, Some(lookup), MESSAGE_BYTES_MAX)
            }
        };
        // A ping is short anyway. An address that stands in the member's own record is its own word.
        let named = lookup.is_some()
            && self.dht.is_only_named(&to)
            && !self.gossip.members.ways(&to.public_key).contains(&to.address);
        let options =
            RequestOptions { tries, answer_bytes_max, named, ..RequestOptions::default() };
        let asker = Asker::Dht { query, lookup };
        match self.ask(now, asker, to, &request, Delivery::Datagram(options)) {
            Ok(()) => {}
            Err(Unsent::BadKey) => self.dht.handle(now, potluck_dht::Input::Failed(query)),
            Err(Unsent::Busy) => self.dht.handle(now, potluck_dht::Input::Unsent(query)),
        }
    }

    /// A node answered a lookup or ping. Record keeping gets the record in the answer first, because it
    /// may have enough and stop the lookup before the lookup asks further nodes.
    pub(super) fn on_found(&mut self, now: Instant, found: Found) {
        let Found { query, lookup, from, response, rtt } = found;
        // A node that serves no requests must not enter routing tables and replica sets.
        if response.refusal() == Some(Refusal::NotServing) {
            return self.dht.handle(now, potluck_dht::Input::Failed(query));
        }
        let (contacts, record) = if let Response::Found(found) = response {
            (found.contacts, found.record)
        } else {
            // Another answer, such as that to a ping, proves only that the node lives.
            (Vec::new(), None)
        };
        if let Some(lookup) = lookup.filter(|lookup| lookup.owner == LookupOwner::Records) {
            let lookup = potluck_kv::LookupId(lookup.number);
            let from = from.in_network(&self.network);
            self.kv.handle(now, potluck_kv::Input::Found { lookup, from, record });
            while let Some(output) = self.kv.poll_output() {
                self.on_kv(now, output);
            }
        }
        self.gossip.members.handle(now, members::Input::Proved(from));
        self.dht.handle(now, potluck_dht::Input::Answered { query, from, contacts, rtt });
    }
}
