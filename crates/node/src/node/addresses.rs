//! The own addresses: those of the interfaces, the one that the owner advertises, and those at which
//! peers see this node. What is known goes into provider and member records and to the shell.

use std::net::SocketAddr;

use bytes::Bytes;
use potluck_base::{
    ADDRESSES_MAX, Address, Addresses, Contact, Instant, LocalAddress, Machine as _, PublicKey,
    is_dialable, is_global,
};
use potluck_gossip::TopicsInput;
use potluck_gossip::members;
use potluck_link::{ObservedAddress, RequestOptions};
use potluck_record::Reading;
use potluck_wire::{Provider, Request};

use super::pending::{Asker, Delivery};
use super::{Node, SHORT_ANSWER};
use crate::input::CallId;
use crate::output::Output;
use crate::view::{AddressSource, OwnAddress};

/// Tries of the ping that finds the way to a node before it is called.
const FIND_TRIES: u8 = 2;

/// What is known of the own addresses.
#[derive(Debug)]
pub(super) struct Own {
    advertised: Vec<SocketAddr>,
    local: Vec<LocalAddress>,
    /// What others are told, the preferred one first.
    told: Vec<OwnAddress>,
}

impl Own {
    pub(super) fn new(address: SocketAddr) -> Self {
        let local: Vec<LocalAddress> = vec![address.into()];
        let told = choose(&[], &local, &[]);
        Self { advertised: Vec::new(), local, told }
    }

    pub(super) fn told(&self) -> &[OwnAddress] {
        &self.told
    }

    fn ways(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.told.iter().map(|own| own.socket)
    }
}

/// Which addresses others are told: what the owner advertises, or else what peers see, then those of the
/// interfaces, those first that peers confirm. An address of loopback is of no use to other machines, unless
/// there is no other.
fn choose(
    advertised: &[SocketAddr],
    local: &[LocalAddress],
    observed: &[ObservedAddress],
) -> Vec<OwnAddress> {
    let witnesses = |socket: SocketAddr| {
        observed.iter().find(|seen| seen.socket == socket).map_or(0, |seen| seen.witnesses)
    };
    let is_local = |socket: SocketAddr| local.iter().any(|own| own.socket == socket);
    let own = |socket, source| OwnAddress { socket, source, witnesses: witnesses(socket) };
    let mut all: Vec<OwnAddress> =
        advertised.iter().map(|socket| own(*socket, AddressSource::Advertised)).collect();
    if advertised.is_empty() {
        let mapped = observed.iter().map(|seen| seen.socket).filter(|socket| !is_local(*socket));
        all.extend(mapped.map(|socket| own(socket, AddressSource::Observed)));
    }
    let looped = local.iter().all(|own| own.socket.ip().is_loopback());
    let mut interfaces: Vec<OwnAddress> = local
        .iter()
        .filter(|it| is_dialable(&it.socket) && (looped || !it.socket.ip().is_loopback()))
        .map(|it| own(it.socket, AddressSource::Interface))
        .collect();
    // The order in which they were given stays among equals.
    interfaces.sort_by_key(|own| (own.witnesses == 0, !is_global(own.socket.ip())));
    for own in interfaces {
        if all.iter().all(|other| other.socket != own.socket) {
            all.push(own);
        }
    }
    all.truncate(ADDRESSES_MAX);
    all
}

impl Node {
    /// The shell says where this node is.
    pub(super) fn on_addresses(
        &mut self,
        now: Instant,
        advertised: Vec<SocketAddr>,
        local: Vec<LocalAddress>,
    ) {
        let stays = |old: &LocalAddress| local.iter().any(|new| new.socket == old.socket);
        let moved = !self.own.local.is_empty() && !self.own.local.iter().any(stays);
        self.link.set_local_addresses(local.clone());
        (self.own.advertised, self.own.local) = (advertised, local);
        self.review_addresses(now);
        if moved {
            self.gossip.members.handle(now, members::Input::Resumed);
            self.gossip.topics.handle(now, TopicsInput::Resumed);
            self.dht.handle(now, potluck_dht::Input::Resumed);
        }
    }

    /// Announces the own addresses if they changed.
    pub(super) fn review_addresses(&mut self, now: Instant) {
        let observed = self.link.observed_addresses(now);
        let told = choose(&self.own.advertised, &self.own.local, &observed);
        let before = std::mem::replace(&mut self.own.told, told);
        let ways: Vec<SocketAddr> = self.own.ways().collect();
        let Some(first) = ways.first().copied() else {
            // Every interface is down. What was told last may be true again soon.
            self.own.told = before;
            return;
        };
        if self.own.told == before {
            return;
        }
        let addresses = self.own.told.clone();
        self.outbox.push_back(Output::Addresses { addresses });
        let same = before.iter().map(|own| own.socket).eq(ways.iter().copied());
        if same {
            return;
        }
        self.dht.set_address(first);
        self.gossip.topics.set_address(first);
        let local = self.own.local.clone();
        self.gossip.members.handle(now, members::Input::Addresses { ways, local });
        self.swarm.handle(now, potluck_swarm::Input::Relocated);
    }

    /// This node with all its addresses, for a record.
    pub(super) fn own_node(&self) -> Addresses {
        let Contact { public_key, salt, address } = self.dht.me().contact;
        let mut ways: Vec<Address> = self.own.ways().map(Address::from).collect();
        if ways.is_empty() {
            ways.push(address.into());
        }
        Addresses { public_key, salt, ways }
    }

    // --- the addresses of others ---

    /// The nodes that a reading of provider records names, each at the address that seems nearest. Each
    /// may speak for itself only.
    pub(super) fn providers(&mut self, now: Instant, reading: &Reading) -> Vec<Contact> {
        let mut contacts = Vec::new();
        for value in &reading.values {
            let Ok(provider) = Provider::from_bytes(&value.bytes) else { continue };
            if provider.node.public_key != value.writer {
                continue;
            }
            let ways: Vec<SocketAddr> = provider.node.contacts().map(|it| it.address).collect();
            let Some(contact) = provider.contact() else { continue };
            self.link.learn_ways(value.writer, ways);
            let nearest = self.link.ways_to(now, &contact).first().copied();
            contacts.push(Contact { address: nearest.unwrap_or(contact.address), ..contact });
        }
        contacts
    }

    /// Tells the link where a member was heard, and where it says that it is.
    pub(super) fn learn_member(&mut self, key: &PublicKey) {
        let ways = self.gossip.members.ways(key);
        if !ways.is_empty() {
            self.link.learn_more_ways(*key, ways);
        }
    }

    /// What is remembered for the next run: each contact where it was proven, and behind it the further
    /// addresses that it gave.
    pub(super) fn remember(&self, contacts: Vec<Contact>) -> Vec<Contact> {
        let further = |contact: &Contact| {
            let ways = self.gossip.members.ways(&contact.public_key);
            let own = contact.address;
            let others = ways.into_iter().filter(move |way| *way != own).take(ADDRESSES_MAX - 1);
            let contact = *contact;
            others.map(move |address| Contact { address, ..contact })
        };
        contacts.iter().flat_map(|contact| [*contact].into_iter().chain(further(contact))).collect()
    }

    /// Contacts of the last run; those with the same key are one node at several addresses.
    pub(super) fn on_remembered(&mut self, now: Instant, contacts: Vec<Contact>) {
        let mut nodes: Vec<Contact> = Vec::new();
        for contact in contacts {
            if nodes.iter().any(|node| node.public_key == contact.public_key) {
                self.link.learn_more_ways(contact.public_key, [contact.address]);
            } else {
                nodes.push(contact);
            }
        }
        self.dht.handle(now, potluck_dht::Input::Remembered(nodes));
    }

    /// Where to reach a node now: where its packets come from, or the nearest that it gave.
    pub(super) fn where_now(&mut self, now: Instant, to: Contact) -> Contact {
        let way = self.link.ways_to(now, &to).first().copied();
        Contact { address: way.unwrap_or(to.address), ..to }
    }

    /// Calls a node. Of several addresses the one is found first that answers: a datagram costs less than
    /// a connection, and opens the way through routers on both sides.
    pub(super) fn place_call(&mut self, now: Instant, id: CallId, to: Contact, bytes: Bytes) {
        if self.link.seen_at(now, &to.public_key).is_none() {
            self.learn_member(&to.public_key);
            if self.link.ways_to(now, &to).len() > 1 {
                let options = RequestOptions {
                    tries: FIND_TRIES,
                    answer_bytes_max: SHORT_ANSWER,
                    ..RequestOptions::default()
                };
                let probe = Asker::PathProbe(id);
                let delivery = Delivery::Datagram(options);
                if self.ask(now, probe, to, &Request::Ping, delivery).is_ok() {
                    return self.pending.hold_call(id, bytes);
                }
            }
        }
        let to = self.where_now(now, to);
        self.outbox.push_back(Output::Call { id, to, bytes });
    }

    /// The way to a node that is to be called was found; or none, and it is dialed where it was last
    /// known to be, which may succeed over a connection that stands.
    pub(super) fn on_path_probe(&mut self, id: CallId, at: Option<Contact>) {
        let Some((to, bytes)) = self.pending.release_call(id) else { return };
        self.outbox.push_back(Output::Call { id, to: at.unwrap_or(to), bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(texts: &[&str]) -> Vec<LocalAddress> {
        texts.iter().map(|text| text.parse::<SocketAddr>().unwrap().into()).collect()
    }

    fn seen(texts: &[&str]) -> Vec<ObservedAddress> {
        let seen = |text: &&str| ObservedAddress { socket: text.parse().unwrap(), witnesses: 3 };
        texts.iter().map(seen).collect()
    }

    fn chosen(advertised: &[&str], own: &[&str], observed: &[&str]) -> Vec<String> {
        let advertised: Vec<SocketAddr> =
            advertised.iter().map(|text| text.parse().unwrap()).collect();
        let chosen = choose(&advertised, &local(own), &seen(observed));
        chosen.iter().map(|own| format!("{:?} {}", own.source, own.socket)).collect()
    }

    #[test]
    fn what_is_advertised_wins_then_what_peers_see_then_the_interfaces() {
        let own = ["127.0.0.1:7", "10.1.0.2:7", "[fe80::1]:7", "[2a00::2]:7"];
        assert_eq!(chosen(&[], &own, &[]), ["Interface [2a00::2]:7", "Interface 10.1.0.2:7"]);
        assert_eq!(
            chosen(&[], &own, &["9.9.9.9:500"]),
            ["Observed 9.9.9.9:500", "Interface [2a00::2]:7", "Interface 10.1.0.2:7"]
        );
        assert_eq!(
            chosen(&["8.8.8.8:1"], &own, &["9.9.9.9:500"]),
            ["Advertised 8.8.8.8:1", "Interface [2a00::2]:7", "Interface 10.1.0.2:7"]
        );
        assert_eq!(
            chosen(&["10.1.0.2:7"], &own, &[]),
            ["Advertised 10.1.0.2:7", "Interface [2a00::2]:7"]
        );
    }

    #[test]
    fn an_interface_at_which_peers_see_the_node_comes_before_others() {
        let own = ["172.17.0.1:7", "10.1.0.2:7"];
        assert_eq!(chosen(&[], &own, &[]), ["Interface 172.17.0.1:7", "Interface 10.1.0.2:7"]);
        assert_eq!(
            chosen(&[], &own, &["10.1.0.2:7"]),
            ["Interface 10.1.0.2:7", "Interface 172.17.0.1:7"]
        );
    }

    #[test]
    fn loopback_is_told_only_if_there_is_nothing_else_and_never_more_than_four() {
        assert_eq!(chosen(&[], &["127.0.0.1:7"], &[]), ["Interface 127.0.0.1:7"]);
        let many: Vec<String> = (1..9).map(|n| format!("10.0.0.{n}:7")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(chosen(&[], &many, &["9.9.9.9:500"]).len(), ADDRESSES_MAX);
    }
}
