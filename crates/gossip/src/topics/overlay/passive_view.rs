//! The passive view: contacts for new links when one breaks.
//!
//! Where we differ from `HyParView` (Leitão, Pereira, Rodrigues, 2007): contacts told by one node
//! take at most eight places and those of one public subnet at most two, so that no node can fill
//! the view with its own; and contacts are probed before they are needed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey, Rng, is_private};

/// Contacts told by one node. A lower value limits a hostile node more and fills the view more
/// slowly.
const PER_SOURCE_MAX: usize = 8;
/// Contacts in one bucket of public subnets.
const PER_BUCKET_MAX: usize = 2;
/// Buckets: a keyed hash assigns each public subnet to one of them.
const BUCKETS: u64 = 64;
/// How long a contact counts as proven after an answer. Proven contacts are preferred, and evicted
/// last.
const PROVEN_FOR: Duration = Duration::from_secs(1_800);

#[derive(Debug, Clone)]
struct Entry {
    contact: Contact,
    source: Option<PublicKey>,
    since: Instant,
    proven: Option<Instant>,
    /// It declined or disconnected: not to be asked before then.
    retry_at: Instant,
    bucket: Option<u64>,
}

/// The passive view of one overlay.
#[derive(Debug, Clone)]
pub(super) struct PassiveView {
    entries: BTreeMap<PublicKey, Entry>,
    capacity: usize,
    key: [u8; 32],
}

impl PassiveView {
    pub(super) fn new(capacity: usize, key: [u8; 32]) -> Self {
        Self { entries: BTreeMap::new(), capacity: capacity.max(1), key }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    fn contains(&self, peer: &PublicKey) -> bool {
        self.entries.contains_key(peer)
    }

    /// Adds a contact. `source`: the node that told it, `None` for one that this node found itself;
    /// `netgroups`: whether subnets are limited.
    pub(super) fn add(
        &mut self,
        now: Instant,
        contact: Contact,
        source: Option<PublicKey>,
        netgroups: bool,
        rng: &mut Rng,
    ) {
        let peer = contact.public_key;
        if let Some(known) = self.entries.get_mut(&peer) {
            // A statement of another node does not change the address of a proven contact.
            if source.is_none() || known.proven.is_none() {
                known.contact = contact;
            }
            return;
        }
        let bucket = if netgroups { self.bucket(contact.address.ip()) } else { None };
        let same_source = |entry: &Entry| source.is_some() && entry.source == source;
        let same_bucket = |entry: &Entry| bucket.is_some() && entry.bucket == bucket;
        if self.entries.values().filter(|entry| same_source(entry)).count() >= PER_SOURCE_MAX {
            self.evict(now, rng, same_source);
        }
        if self.entries.values().filter(|entry| same_bucket(entry)).count() >= PER_BUCKET_MAX {
            self.evict(now, rng, same_bucket);
        }
        if self.entries.len() >= self.capacity {
            self.evict(now, rng, |_| true);
        }
        let retry_at = Instant::ZERO;
        let entry = Entry { contact, source, since: now, proven: None, retry_at, bucket };
        self.entries.insert(peer, entry);
    }

    /// Drops a random one of these, unproven ones first.
    fn evict(&mut self, now: Instant, rng: &mut Rng, among: impl Fn(&Entry) -> bool) {
        let of = |proven: bool| {
            self.entries
                .iter()
                .filter(|(_, entry)| among(entry) && entry.is_proven(now) == proven)
                .map(|(peer, _)| *peer)
                .collect::<Vec<_>>()
        };
        let mut choice = of(false);
        if choice.is_empty() {
            choice = of(true);
        }
        if let Some(peer) = choice.get(rng.below(choice.len() as u64) as usize) {
            self.entries.remove(peer);
        }
    }

    /// Identifies the subnet of a contact; `None` for private addresses.
    pub(super) fn netgroup(&self, contact: &Contact) -> Option<[u8; 32]> {
        self.group(contact.address.ip())
    }

    fn bucket(&self, ip: IpAddr) -> Option<u64> {
        self.group(ip).map(|hash| u64::from(hash[0]) % BUCKETS)
    }

    /// The keyed hash of a public address's subnet, /24 or /48. Private addresses have none, since
    /// all nodes may share a private subnet.
    fn group(&self, ip: IpAddr) -> Option<[u8; 32]> {
        let group = match ip.to_canonical() {
            ip if is_private(ip) => return None,
            IpAddr::V4(ip) => ip.octets()[..3].to_vec(),
            IpAddr::V6(ip) => ip.octets()[..6].to_vec(),
        };
        Some(*blake3::keyed_hash(&self.key, &group).as_bytes())
    }

    pub(super) fn remove(&mut self, peer: &PublicKey) {
        self.entries.remove(peer);
    }

    /// A contact answered.
    pub(super) fn mark_proven(&mut self, now: Instant, peer: &PublicKey) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.proven = Some(now);
        }
    }

    /// The contact is not to be asked before `until`.
    pub(super) fn retry_after(&mut self, peer: &PublicKey, until: Instant) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.retry_at = entry.retry_at.max(until);
        }
    }

    /// No contact waits beyond `until`.
    pub(super) fn cap_retries(&mut self, until: Instant) {
        for entry in self.entries.values_mut() {
            entry.retry_at = entry.retry_at.min(until);
        }
    }

    /// A contact to request a link from now: a random proven one, or if there is none, a random
    /// one.
    pub(super) fn candidate(
        &self,
        now: Instant,
        rng: &mut Rng,
        free: impl Fn(&PublicKey) -> bool,
    ) -> Option<Contact> {
        let possible: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|(peer, entry)| entry.retry_at <= now && free(peer))
            .map(|(_, entry)| entry)
            .collect();
        let proven: Vec<&Entry> =
            possible.iter().filter(|entry| entry.is_proven(now)).copied().collect();
        let choice = if proven.is_empty() { possible } else { proven };
        choice.get(rng.below(choice.len() as u64) as usize).map(|entry| entry.contact)
    }

    /// When the next contact may be asked that may not be asked now.
    pub(super) fn next_candidate(
        &self,
        now: Instant,
        free: impl Fn(&PublicKey) -> bool,
    ) -> Option<Instant> {
        self.entries
            .iter()
            .filter(|(peer, entry)| entry.retry_at > now && free(peer))
            .map(|(_, entry)| entry.retry_at)
            .min()
    }

    /// The contact that was not probed for the longest time.
    pub(super) fn stalest(&self) -> Option<Contact> {
        let last = |entry: &&Entry| entry.proven.map_or((0, entry.since), |at| (1, at));
        self.entries.values().min_by_key(last).map(|entry| entry.contact)
    }

    /// Up to `count` random contacts.
    pub(super) fn sample(&self, rng: &mut Rng, count: usize) -> Vec<Contact> {
        let mut contacts: Vec<Contact> = self.entries.values().map(|entry| entry.contact).collect();
        rng.shuffle(&mut contacts);
        contacts.truncate(count);
        contacts
    }
}

impl Entry {
    fn is_proven(&self, now: Instant) -> bool {
        self.proven.is_some_and(|at| now.since(at) < PROVEN_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    fn contact(number: u8, ip: [u8; 4]) -> Contact {
        let public_key = Identity::from_seed([number; 32]).public_key();
        Contact::new(public_key, (ip, 4_000).into())
    }

    fn view(capacity: usize) -> (PassiveView, Rng) {
        (PassiveView::new(capacity, [3; 32]), Rng::from_number(1))
    }

    #[test]
    fn one_source_fills_eight_places() {
        let (mut view, mut rng) = view(128);
        let source = contact(200, [1, 1, 1, 1]).public_key;
        for number in 0..100 {
            let told = contact(number, [10, 0, 0, number]);
            view.add(Instant::ZERO, told, Some(source), true, &mut rng);
        }
        assert_eq!(view.len(), PER_SOURCE_MAX);
    }

    #[test]
    fn a_public_subnet_fills_two_places_and_a_private_one_any_number() {
        let (mut public, mut rng) = view(128);
        for number in 0..50 {
            public.add(Instant::ZERO, contact(number, [9, 9, 9, number]), None, true, &mut rng);
        }
        assert_eq!(public.len(), PER_BUCKET_MAX);
        for (first, netgroups) in [([10, 0, 0], true), ([127, 0, 0], true), ([9, 9, 9], false)] {
            let (mut view, mut rng) = view(128);
            for number in 0..50 {
                let ip = [first[0], first[1], first[2], number];
                view.add(Instant::ZERO, contact(number, ip), None, netgroups, &mut rng);
            }
            assert_eq!(view.len(), 50);
        }
    }

    #[test]
    fn a_full_view_keeps_proven_contacts() {
        let (mut view, mut rng) = view(8);
        let good = contact(0, [10, 0, 0, 1]);
        view.add(Instant::ZERO, good, None, true, &mut rng);
        view.mark_proven(Instant::ZERO, &good.public_key);
        for number in 1..100 {
            view.add(Instant::ZERO, contact(number, [10, 0, 0, 2]), None, true, &mut rng);
        }
        assert!(view.len() == 8 && view.contains(&good.public_key));
        assert_eq!(view.candidate(Instant::ZERO, &mut rng, |_| true), Some(good));
    }

    #[test]
    fn hearsay_does_not_change_the_address_of_a_proven_contact() {
        let (mut view, mut rng) = view(8);
        let good = contact(0, [10, 0, 0, 1]);
        view.add(Instant::ZERO, good, None, true, &mut rng);
        view.mark_proven(Instant::ZERO, &good.public_key);
        let elsewhere = contact(0, [10, 0, 0, 9]);
        let liar = contact(1, [10, 0, 0, 2]).public_key;
        view.add(Instant::ZERO, elsewhere, Some(liar), true, &mut rng);
        assert_eq!(view.sample(&mut rng, 9), [good]);
    }

    #[test]
    fn a_contact_that_declined_is_asked_later() {
        let (mut view, mut rng) = view(8);
        let one = contact(0, [10, 0, 0, 1]);
        let later = Instant::from_micros(5);
        view.add(Instant::ZERO, one, None, true, &mut rng);
        view.retry_after(&one.public_key, later);
        assert_eq!(view.candidate(Instant::ZERO, &mut rng, |_| true), None);
        assert_eq!(view.next_candidate(Instant::ZERO, |_| true), Some(later));
        assert_eq!(view.candidate(later, &mut rng, |_| true), Some(one));
    }
}
