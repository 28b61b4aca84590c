//! The three checks of a routing update, which is anything that may change the table: a contact in an answer,
//! or a node that was heard.
//!
//! - **Proven sender**: contacts are taken from a node after it answered this node at its address. A node that
//!   was only heard is pinged first, and nothing is taken from one that does not answer.
//! - **Plausible distance** (open networks): of n random ids, n / 2^b share their first b bits with this node on
//!   average. A node that shares [`PREFIX_SLACK`] bits more than log2(n), or that comes to a crowd which chance
//!   does not explain, was made to be near. Such a stranger is kept out of the deepest buckets and the close
//!   group until it has been known for [`PROBATION`] (the rule of S/Kademlia section 4.3 for unsolicited
//!   contacts, with a prefix that follows the size of the network).
//! - **Rate per sender**: what one sender names that this node did not know is bounded.
//!
//! **Invariant:** at most [`SENDERS_MAX`] senders and [`STRANGERS_MAX`] strangers are remembered.

use std::time::Duration;

use potluck_base::{Instant, LruMap, NodeId, PublicKey, Rate, TokenBucket};

/// Leading bits beyond log2 of the network's size that an honest node shares with this one at most: more is
/// shared by one honest node in 2^9. Raising it lets ids that were ground closer in.
const PREFIX_SLACK: u32 = 8;
/// Standard deviations, and as many nodes, by which a crowd of nodes near this one may exceed what chance
/// gives. Of a million honest crowds about ten are larger. Raising it lets more ground ids in.
const CROWD_SLACK: f64 = 4.0;
/// Time after which a stranger that is implausibly near gets a place all the same: the one honest node in 500
/// that is so by chance. Raising it keeps that one out for longer, and makes an attacker wait longer.
const PROBATION: Duration = Duration::from_secs(3600);
/// Strangers on probation that are remembered. Raising it costs memory; one that was forgotten begins anew.
const STRANGERS_MAX: usize = 64;
/// New contacts that one sender may name, a second and at once. A guess: a node that is asked 16 times a second
/// names 16 new ones each time, and 64 full answers at once. Raising it lets one sender make this node ask more.
const NAMED: Rate = Rate::new(256, 1024);
/// Senders whose rate is remembered. Raising it costs memory; a sender that was forgotten begins anew.
const SENDERS_MAX: usize = 512;

/// How near a stranger is.
#[derive(Debug, Clone)]
pub(crate) struct Near {
    /// Leading bits that it shares with this node.
    pub(crate) shared: u32,
    /// Contacts in the table that share at least as many bits as the index says, up to `shared`.
    pub(crate) crowds: Vec<usize>,
    /// Estimated nodes in the network.
    pub(crate) nodes: u64,
}

impl Near {
    /// Whether it is nearer than chance lets it be, or makes one of the crowds that it belongs to larger.
    fn is_implausible(&self) -> bool {
        let too_large = |(bits, crowd): (usize, &usize)| {
            let expected = self.nodes as f64 / 2_f64.powi(bits as i32);
            *crowd as f64 >= CROWD_SLACK.mul_add(expected.sqrt(), expected + CROWD_SLACK)
        };
        self.shared > self.nodes.max(2).ilog2() + PREFIX_SLACK
            || self.crowds.iter().enumerate().any(too_large)
    }
}

/// Judges routing updates.
#[derive(Debug, Clone)]
pub(crate) struct Validator {
    on: bool,
    senders: LruMap<NodeId, TokenBucket>,
    strangers: LruMap<NodeId, Instant>,
}

impl Validator {
    /// `on` is false only in tests that show what the checks are for.
    pub(crate) fn new(on: bool) -> Self {
        Self { on, senders: LruMap::new(SENDERS_MAX), strangers: LruMap::new(STRANGERS_MAX) }
    }

    /// Proven sender: whether an answer came from the node that was asked.
    pub(crate) fn is_proven_sender(&self, asked: &PublicKey, from: &PublicKey) -> bool {
        !self.on || asked == from
    }

    /// Plausible distance: whether a stranger is as near as chance lets it be, or has been known for long enough.
    pub(crate) fn is_plausible_distance(
        &mut self,
        now: Instant,
        stranger: &NodeId,
        near: &Near,
    ) -> bool {
        if !self.on || !near.is_implausible() {
            return true;
        }
        if let Some(since) = self.strangers.get_mut(stranger) {
            return now.since(*since) >= PROBATION;
        }
        self.strangers.insert(*stranger, now);
        false
    }

    /// Rate per sender: how many of `new` contacts that `sender` named may be taken.
    pub(crate) fn take_rate(&mut self, now: Instant, sender: &NodeId, new: usize) -> usize {
        if !self.on || new == 0 {
            return new;
        }
        if self.senders.peek(sender).is_none() {
            self.senders.insert(*sender, NAMED.bucket());
        }
        let Some(bucket) = self.senders.get_mut(sender) else { return 0 };
        bucket.take_up_to(now, u32::try_from(new).unwrap_or(u32::MAX)) as usize
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Key;

    use super::*;
    use crate::testing::peers;

    #[test]
    fn proven_sender_only_the_node_that_was_asked_has_a_word() {
        let [one, other] = [0, 1].map(|at| peers(1, 2)[at].contact.public_key);
        let validator = Validator::new(true);
        assert!(
            validator.is_proven_sender(&one, &one) && !validator.is_proven_sender(&one, &other)
        );
        assert!(Validator::new(false).is_proven_sender(&one, &other));
    }

    #[test]
    fn plausible_distance_follows_the_size_of_the_network() {
        let all = peers(3, STRANGERS_MAX + 2);
        let mut validator = Validator::new(true);
        let mut plausible =
            |seconds, stranger: usize, (shared, crowd, nodes): (u32, usize, u64)| {
                let now = Instant::ZERO + Duration::from_secs(seconds);
                let mut crowds = vec![0; shared as usize + 1];
                crowds[shared as usize] = crowd;
                let near = Near { shared, crowds, nodes };
                validator.is_plausible_distance(now, &all[stranger].id, &near)
            };
        for (nodes, most) in [(1, 9), (1000, 17), (1_000_000, 27)] {
            assert!(plausible(1, 0, (most, 0, nodes)), "{nodes}");
            assert!(!plausible(1, 1, (most + 1, 0, nodes)), "{nodes}");
        }
        // Of 1,024 nodes one shares ten bits, and nine do seldom.
        assert!(plausible(1, 0, (10, 8, 1024)));
        assert!(!plausible(1, 2, (10, 9, 1024)));
        assert!(!plausible(3600, 2, (10, 9, 1024)));
        assert!(plausible(3601, 2, (10, 9, 1024)), "after an hour");
        for stranger in 0..all.len() {
            plausible(4000, stranger, (99, 0, 1024));
        }
        assert_eq!(validator.strangers.len(), STRANGERS_MAX);
        let near = Near { shared: 200, crowds: Vec::new(), nodes: 1000 };
        assert!(Validator::new(false).is_plausible_distance(Instant::ZERO, &all[0].id, &near));
    }

    #[test]
    fn honest_crowds_of_any_size_are_plausible() {
        for (seed, nodes) in [(1, 100_usize), (2, 1000)] {
            let mut rng = potluck_base::Rng::from_number(seed);
            let stranger = peers(4, 1)[0].id;
            let mut refused = 0;
            for _ in 0..100 {
                let me = Key::from_bytes(rng.bytes());
                let mut shared: Vec<u32> =
                    (0..nodes).map(|_| Key::from_bytes(rng.bytes()).common_prefix(&me)).collect();
                shared.sort_unstable_by_key(|bits| std::cmp::Reverse(*bits));
                let mut validator = Validator::new(true);
                refused += (0..nodes)
                    .filter(|at| {
                        let crowd = |bits| shared[..*at].iter().filter(|it| **it >= bits).count();
                        let crowds = (0..=shared[*at]).map(crowd).collect();
                        let near = Near { shared: shared[*at], crowds, nodes: nodes as u64 };
                        !validator.is_plausible_distance(Instant::ZERO, &stranger, &near)
                    })
                    .count();
            }
            assert!(refused <= 1, "{refused} of 100 times {nodes}");
        }
    }

    #[test]
    fn rate_per_sender_bounds_what_one_names_and_not_what_others_do() {
        let senders = peers(2, SENDERS_MAX + 10);
        let mut validator = Validator::new(true);
        let named = |validator: &mut Validator, at: u64, sender: usize| {
            let now = Instant::ZERO + Duration::from_secs(at);
            (0..200).map(|_| validator.take_rate(now, &senders[sender].id, 16)).sum::<usize>()
        };
        assert_eq!(named(&mut validator, 1, 0), NAMED.burst as usize);
        assert_eq!(named(&mut validator, 1, 1), NAMED.burst as usize);
        assert_eq!(named(&mut validator, 2, 0), NAMED.per_second as usize);
        assert_eq!(named(&mut validator, 1000, 0), NAMED.burst as usize);
        for sender in 0..senders.len() {
            named(&mut validator, 1000, sender);
        }
        assert_eq!(validator.senders.len(), SENDERS_MAX);
        assert_eq!(Validator::new(false).take_rate(Instant::ZERO, &senders[0].id, 9999), 9999);
    }
}
