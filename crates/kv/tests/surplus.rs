//! Copies that a node holds beyond its duty go after a day, and only when all replicas have them.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{
    Admission, Contact, Identity, Instant, Key, Machine as _, NetworkId, Peer, Rng,
};
use potluck_kv::{AskId, Config, Input, Kv, Output};
use potluck_record::{Fingerprint, StateDigest, StorageOp, StorageReply};
use potluck_wire::{Compared, RangePart, Request, Response};

const DAY: Duration = Duration::from_secs(24 * 3600);
const R: u16 = 3;
const PEERS: u8 = 20;

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

fn peer(number: u8) -> Peer {
    let public_key = Identity::from_seed([number; 32]).public_key();
    Contact::new(public_key, ([127, 0, 0, 1], u16::from(number)).into()).in_network(&network())
}

/// One node, what it holds, and others that hold the same but for one of them.
struct Node {
    kv: Kv,
    held: BTreeMap<Key, StateDigest>,
    /// The node that lacks everything, if one does.
    lacking: Option<Peer>,
    dropped: Vec<(Key, Instant)>,
    offered: Vec<(Peer, Key)>,
    now: Instant,
}

impl Node {
    fn new(lacking: Option<Peer>) -> Self {
        let config = Config { replication: R, ..Config::default() };
        let me = peer(0);
        let mut kv = Kv::new(Identity::from_seed([0; 32]), network(), me, true, config);
        kv.handle(Instant::ZERO, Input::CloseGroup((1..=PEERS).map(peer).collect()));
        let mut rng = Rng::from_number(1);
        let held = (0..300)
            .map(|_| (Key::from_bytes(rng.bytes()), StateDigest::from_bytes(rng.bytes())))
            .collect();
        let now = Instant::ZERO;
        Self { kv, held, lacking, dropped: Vec::new(), offered: Vec::new(), now }
    }

    /// Whether this node is among the closest to a key.
    fn is_replica(&self, key: &Key) -> bool {
        let mine = peer(0).distance(key);
        (1..=PEERS).filter(|number| peer(*number).distance(key) < mine).count() < usize::from(R)
    }

    fn stored(&mut self, op: StorageOp) -> StorageReply {
        match op {
            StorageOp::Entries { prefixes, after, limit } => {
                let all: Vec<_> = prefixes
                    .iter()
                    .flat_map(|range| self.held.range(range.first()..=range.last()))
                    .filter(|(key, _)| after.is_none_or(|after| **key > after))
                    .map(|(key, digest)| (*key, *digest))
                    .collect();
                let entries: Vec<_> = all.iter().take(limit as usize).copied().collect();
                StorageReply::Scanned { more: entries.len() < all.len(), entries }
            }
            StorageOp::Drop { key, digest } => {
                assert_eq!(self.held.remove(&key), Some(digest));
                self.dropped.push((key, self.now));
                StorageReply::Removed
            }
            StorageOp::Index { .. } => StorageReply::Indexed { more: false },
            StorageOp::Fingerprints { prefixes } => {
                StorageReply::Fingerprints(vec![Fingerprint::default(); prefixes.len()])
            }
            StorageOp::ScanOwn { .. } => StorageReply::OwnHeads { heads: Vec::new(), next: None },
            StorageOp::Expire { .. } => StorageReply::Expired { dropped: 0, more: false },
            // What the repair after the first change of the close group offers is of no interest.
            StorageOp::Scan { .. } => StorageReply::Scanned { entries: Vec::new(), more: false },
            other => panic!("not expected: {other:?}"),
        }
    }

    fn answer(&mut self, id: AskId, to: Peer, request: &Request) -> Input {
        match request {
            Request::Fingerprints(compare) if !compare.prefixes.is_empty() => {
                let lacks = self.lacking == Some(to);
                let part = |range: &potluck_record::Prefix| {
                    let here = self.held.range(range.first()..=range.last()).filter(|_| !lacks);
                    let id = |(key, digest)| compare.session.entry(key, digest);
                    RangePart::Ids(here.map(id).collect())
                };
                let parts = compare.prefixes.iter().map(part).collect();
                let response = Response::Fingerprints(Compared { parts, ..Compared::default() });
                Input::Answered { ask: id, response }
            }
            Request::Offer { entries } => {
                self.offered.extend(entries.iter().map(|entry| (to, entry.key)));
                Input::Answered { ask: id, response: Response::Offered { wanted: 0 } }
            }
            _ => Input::Failed { ask: id },
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.kv.poll_timeout()
            && deadline.at <= end
        {
            self.now = self.now.max(deadline.at);
            self.kv.handle(self.now, Input::Timeout);
            while let Some(output) = self.kv.poll_output() {
                let input = match output {
                    Output::Storage { id, op } => Input::Stored { id, reply: self.stored(op) },
                    Output::Ask { id, to, request, .. } => self.answer(id, to, &request),
                    _ => continue,
                };
                self.kv.handle(self.now, input);
            }
        }
        self.now = end;
    }
}

#[test]
fn surplus_copies_go_after_a_day_and_those_of_its_duty_stay() {
    let mut node = Node::new(None);
    let duty: Vec<Key> = node.held.keys().copied().filter(|key| node.is_replica(key)).collect();
    assert!((10..200).contains(&duty.len()), "{} keys of its duty", duty.len());
    node.run(DAY - Duration::from_secs(60));
    assert_eq!(node.dropped, []);
    node.run(Duration::from_secs(3 * 3600));
    let left: Vec<Key> = node.held.keys().copied().collect();
    assert_eq!(left, duty);
    assert_eq!(node.kv.stats().surplus_dropped as usize, node.dropped.len());
}

#[test]
fn a_copy_that_one_of_the_replicas_lacks_stays_and_is_offered_to_it() {
    let lacking = peer(7);
    let mut node = Node::new(Some(lacking));
    node.run(DAY + Duration::from_secs(4 * 3600));
    let its: Vec<Key> = {
        let set = |key: &Key| {
            let its = lacking.distance(key);
            let closer = (0..=PEERS).filter(|number| peer(*number).distance(key) < its).count();
            closer < usize::from(R)
        };
        node.held.keys().copied().filter(|key| set(key) && !node.is_replica(key)).collect()
    };
    assert!(!its.is_empty());
    for key in &its {
        assert!(node.offered.contains(&(lacking, *key)));
    }
    let kept: Vec<Key> = node.held.keys().copied().filter(|key| !node.is_replica(key)).collect();
    assert_eq!(kept, its, "all others went");
}

#[test]
fn while_the_close_group_changes_again_and_again_the_day_begins_anew_for_what_was_in_it() {
    let mut node = Node::new(None);
    node.run(DAY / 2);
    // Most of the others go, so this node is a replica of more; then they come back.
    node.kv.handle(node.now, Input::CloseGroup((1..=4).map(peer).collect()));
    node.run(Duration::from_secs(7200));
    node.kv.handle(node.now, Input::CloseGroup((1..=PEERS).map(peer).collect()));
    let before = node.held.len();
    node.run(DAY / 2);
    let early = before - node.held.len();
    node.run(DAY);
    let late = before - early - node.held.len();
    assert!(late > 0, "{early} went after the first day, {late} later");
    assert!(node.held.keys().all(|key| node.is_replica(key)));
}
