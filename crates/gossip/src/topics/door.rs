//! Checks whether the publisher of a message is a member, in an `invite` network.
//!
//! Keys cost nothing, so a limit per publisher is no limit for a node that may publish with any key. A
//! publisher therefore shows its certificate: with its first message in a topic, and with one message a
//! second while it publishes. Nodes pass the message on with the certificate, and remember the publishers
//! whose certificate they have seen. A message of an unknown publisher waits for a message that shows the
//! certificate (see [`Unproven`]), or for the publisher's record in the member list, which contains the same
//! certificate.
//!
//! **Invariants:** at most [`KNOWN_MAX`] members and [`REVOKED_MAX`] revocations are remembered; a message of
//! a known member needs no check of a certificate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, LruMap, NetworkId, PublicKey, UnixMillis};
use potluck_wire::{Certificate, Revoked, SignedMessage, TopicId};

/// Publishers that are remembered as members. Raising it takes memory. A forgotten publisher shows its
/// certificate again within a second of publishing.
const KNOWN_MAX: usize = 4096;
/// Revocations that are remembered: as many as the gatekeeper keeps.
const REVOKED_MAX: usize = 4096;
/// Interval at which a publisher shows its certificate in a topic. Raising it saves 200 bytes per message at
/// low rates; a node that does not know the publisher waits longer.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
/// Messages of unknown publishers that wait, and their bytes. A message that is dropped for others is
/// repaired like a lost one.
const UNPROVEN_MAX: usize = 256;
const UNPROVEN_BYTES_MAX: usize = 256 << 10;
/// How long a message waits. It is longer than the interval at which publishers show their certificates.
const UNPROVEN_FOR: Duration = Duration::from_secs(3);

/// The remembered contents of a certificate.
#[derive(Debug, Clone, Copy)]
struct Pass {
    hash: [u8; 32],
    expires: UnixMillis,
    ticket: Option<PublicKey>,
}

/// The membership of a publisher, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may publish.
    Member,
    /// It is not known, and the message shows no certificate.
    Unknown,
    /// It is no longer a member.
    Out,
    /// The message shows a certificate that is not its publisher's, or that the authority did not sign. An
    /// honest neighbour checks messages and would not have passed it on.
    Forged,
}

/// The members of an `invite` network that publish.
#[derive(Debug)]
pub(super) struct Door {
    network: NetworkId,
    on: bool,
    authority: Option<PublicKey>,
    /// This node's own certificate.
    own: Option<Bytes>,
    known: LruMap<PublicKey, Pass>,
    /// Certificates in the records of members that have not published yet. A certificate is checked when its
    /// member publishes.
    listed: LruMap<PublicKey, Bytes>,
    revoked: BTreeSet<Revoked>,
    /// The time at which this node last showed its certificate in each topic, if that was within
    /// [`SHOWN_EVERY`].
    shown: BTreeMap<TopicId, Instant>,
}

impl Door {
    /// Until an authority is set, every node may publish. `on` is false in tests that show the effect of this
    /// check, and in simulations without signatures.
    pub(super) fn new(network: NetworkId, on: bool) -> Self {
        let (known, listed) = (LruMap::new(KNOWN_MAX), LruMap::new(KNOWN_MAX));
        let (revoked, shown) = (BTreeSet::new(), BTreeMap::new());
        Self { network, on, authority: None, own: None, known, listed, revoked, shown }
    }

    /// Publishers must have a certificate of this authority.
    pub(super) const fn require(&mut self, authority: PublicKey) {
        self.authority = Some(authority);
    }

    /// Sets the certificate that this node shows.
    pub(super) fn set_own(&mut self, certificate: Bytes) {
        self.own = Some(certificate);
    }

    /// Records the certificate in the record of a member.
    pub(super) fn list(&mut self, member: PublicKey, certificate: Bytes) {
        if self.authority.is_some() && !self.knows(&member) {
            self.listed.insert(member, certificate);
        }
    }

    /// Removes a member, or all members that a ticket admitted.
    pub(super) fn revoke(&mut self, subject: Revoked) {
        if self.revoked.len() >= REVOKED_MAX {
            // A member whose revocation is forgotten is excluded when its certificate ends.
            self.revoked.pop_first();
        }
        self.revoked.insert(subject);
    }

    /// Whether messages of `publisher` are accepted, and the number of signatures that were checked.
    pub(super) fn standing(
        &mut self,
        wall: Option<UnixMillis>,
        publisher: &PublicKey,
        shown: impl FnOnce() -> Option<Bytes>,
    ) -> (Standing, u32) {
        let Some(authority) = self.authority.filter(|_| self.on) else {
            return (Standing::Member, 0);
        };
        let known = self.known.get_mut(publisher).copied();
        let (pass, checks) = match (known, shown()) {
            (Some(pass), None) => (pass, 0),
            (None, None) => {
                let listed = self.listed.remove(publisher);
                match listed.and_then(|bytes| self.learn(&authority, publisher, &bytes)) {
                    Some(pass) => (pass, 1),
                    None => return (Standing::Unknown, 0),
                }
            }
            (known, Some(bytes)) => {
                let hash = *blake3::hash(&bytes).as_bytes();
                if let Some(pass) = known.filter(|pass| pass.hash == hash) {
                    (pass, 0)
                } else {
                    match self.learn(&authority, publisher, &bytes) {
                        Some(pass) => (pass, 1),
                        None => return (Standing::Forged, 1),
                    }
                }
            }
        };
        let expired = wall.is_some_and(|now| pass.expires <= now);
        let revoked = self.revoked.contains(&Revoked::Member(*publisher))
            || pass.ticket.is_some_and(|it| self.revoked.contains(&Revoked::Ticket(it)));
        (if expired || revoked { Standing::Out } else { Standing::Member }, checks)
    }

    /// Remembers the certificate of a publisher. `None` if the certificate is for another key or was not
    /// signed by the authority.
    fn learn(
        &mut self,
        authority: &PublicKey,
        publisher: &PublicKey,
        bytes: &Bytes,
    ) -> Option<Pass> {
        let certificate = Certificate::read(bytes, authority, &self.network).ok();
        let read = certificate.filter(|read| read.subject == *publisher)?;
        let Certificate { expires, ticket, .. } = read;
        let pass = Pass { hash: *blake3::hash(bytes).as_bytes(), expires, ticket };
        self.known.insert(*publisher, pass);
        Some(pass)
    }

    fn knows(&self, publisher: &PublicKey) -> bool {
        self.known.peek(publisher).is_some()
    }

    /// The bytes of a message of this node. They include its certificate if it is due.
    pub(super) fn encode(
        &mut self,
        now: Instant,
        topic: TopicId,
        message: &SignedMessage,
    ) -> Bytes {
        let Some(own) = &self.own else { return message.encode() };
        self.shown.retain(|_, at| now.since(*at) < SHOWN_EVERY);
        // A node is in few topics at a time, which bounds the map.
        if self.shown.contains_key(&topic) {
            return message.encode();
        }
        self.shown.insert(topic, now);
        message.encode_shown(own)
    }
}

/// The origin of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) topic: TopicId,
    /// The neighbour that pushed it.
    pub(super) from: PublicKey,
    pub(super) publisher: PublicKey,
}

/// A message whose publisher is not yet known to be a member.
#[derive(Debug, Clone)]
struct Waiting {
    until: Instant,
    source: Source,
    bytes: Bytes,
}

/// The messages that wait for their publishers' certificates.
#[derive(Debug, Clone, Default)]
pub(super) struct Unproven {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Unproven {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a message. Drops the ones that waited longest if there are too many.
    pub(super) fn wait(&mut self, now: Instant, source: Source, bytes: Bytes) {
        self.bytes += bytes.len();
        self.waiting.push_back(Waiting { until: now + UNPROVEN_FOR, source, bytes });
        while self.waiting.len() > UNPROVEN_MAX
            || self.bytes > UNPROVEN_BYTES_MAX
            || self.waiting.front().is_some_and(|first| first.until <= now)
        {
            let Some(first) = self.waiting.pop_front() else { break };
            self.bytes -= first.bytes.len();
        }
    }

    /// Whether a message of this publisher waits.
    pub(super) fn has(&self, publisher: &PublicKey) -> bool {
        self.waiting.iter().any(|waiting| waiting.source.publisher == *publisher)
    }

    /// Takes the messages of a topic whose publishers are now known, each with the neighbour that pushed it.
    pub(super) fn take_known(&mut self, door: &Door, topic: TopicId) -> Vec<(PublicKey, Bytes)> {
        let is_known = |waiting: &Waiting| {
            waiting.source.topic == topic && door.knows(&waiting.source.publisher)
        };
        if !self.waiting.iter().any(is_known) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.waiting);
        let (known, waiting): (VecDeque<Waiting>, VecDeque<Waiting>) =
            all.into_iter().partition(is_known);
        self.waiting = waiting;
        self.bytes = self.waiting.iter().map(|waiting| waiting.bytes.len()).sum();
        known.into_iter().map(|waiting| (waiting.source.from, waiting.bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn what_waits_is_bounded_in_number_bytes_and_time() {
        let mut unproven = Unproven::default();
        let source = Source { topic: TopicId([0; 16]), from: key(1), publisher: key(2) };
        for _ in 0..1000 {
            unproven.wait(Instant::ZERO, source, Bytes::from_static(b"x"));
        }
        assert_eq!((unproven.len(), unproven.bytes), (UNPROVEN_MAX, UNPROVEN_MAX));
        for _ in 0..100 {
            unproven.wait(Instant::ZERO, source, Bytes::from(vec![0; 64 << 10]));
        }
        assert!(unproven.len() <= 4 && unproven.bytes <= UNPROVEN_BYTES_MAX);
        unproven.wait(Instant::ZERO + UNPROVEN_FOR, source, Bytes::from_static(b"x"));
        assert_eq!((unproven.len(), unproven.bytes), (1, 1));
    }

    #[test]
    fn revocations_are_bounded() {
        let network = NetworkId::new("test", potluck_base::Admission::Lab, None);
        let mut door = Door::new(network, true);
        for number in 0..5000_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            door.revoke(Revoked::Member(PublicKey::from_bytes(bytes)));
        }
        assert_eq!(door.revoked.len(), REVOKED_MAX);
    }
}
