//! Writers that signed two envelopes with one dot.
//!
//! An honest node gives a dot to one envelope only. Two of them, each with a valid signature, prove that
//! the writer's key signs in two places or that its node cheats. The merge rule makes all replicas keep
//! the same one; the two heads are kept as proof.

use std::collections::VecDeque;

use potluck_base::{Key, LruMap, PublicKey};
use potluck_record::{Dot, SignedHead};

/// Heads that are remembered to compare later ones with. Raising it notices pairs that come further
/// apart, and costs up to 8 KiB each, about 300 bytes usually.
const HEADS_MAX: usize = 1024;

/// Proofs that are kept; the oldest give way. Raising it costs up to 16 KiB each.
const PROOFS_MAX: usize = 64;

/// Two heads of one writer under one key with one dot, whose signatures hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Equivocation {
    /// The head with the lower digest.
    pub lower: SignedHead,
    /// The other one, which replicas keep.
    pub higher: SignedHead,
}

/// The heads met lately, and the proofs.
#[derive(Debug, Clone)]
pub(crate) struct Equivocations {
    met: LruMap<(Key, PublicKey, Dot), SignedHead>,
    proofs: VecDeque<Equivocation>,
}

impl Default for Equivocations {
    fn default() -> Self {
        Self { met: LruMap::new(HEADS_MAX), proofs: VecDeque::new() }
    }
}

impl Equivocations {
    /// Takes a head whose signature holds; returns whether it is a new proof.
    pub(crate) fn meet(&mut self, head: &SignedHead) -> bool {
        let place = (head.key(), head.writer(), head.dot());
        let Some(other) = self.met.get_mut(&place) else {
            self.met.insert(place, head.clone());
            return false;
        };
        if other.digest() == head.digest() {
            return false;
        }
        let (lower, higher) = if other.digest() < head.digest() {
            (other.clone(), head.clone())
        } else {
            (head.clone(), other.clone())
        };
        let proof = Equivocation { lower, higher };
        if self.proofs.contains(&proof) {
            return false;
        }
        if self.proofs.len() >= PROOFS_MAX {
            self.proofs.pop_front();
        }
        self.proofs.push_back(proof);
        true
    }

    /// The proofs about this key, oldest first.
    pub(crate) fn of(&self, key: &Key) -> Vec<Equivocation> {
        self.proofs.iter().filter(|proof| proof.lower.key() == *key).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use potluck_base::{Admission, Identity, NetworkId, UnixMillis};
    use potluck_record::{Context, Draft, Envelope, Kind, Name, Space};

    use super::*;

    fn head(seed: u8, name: &str, dot: u64, value: &'static [u8]) -> SignedHead {
        let (dot, end) = (Dot::from_raw(dot), UnixMillis(1_000));
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new(name).expect("a name")),
            kind: Kind::Siblings,
            values: vec![(dot, end, Bytes::from_static(value))],
            dot,
            context: Context::new(),
            expires: end,
            certificate: None,
        };
        let network = NetworkId::new("test", Admission::Lab, None);
        let identity = Identity::from_seed([seed; 32]);
        Envelope::sign(&identity, &network, draft).expect("a good draft").head().clone()
    }

    #[test]
    fn two_envelopes_with_one_dot_are_one_proof_in_either_order() {
        let (a, b) = (head(1, "n", 5, b"a"), head(1, "n", 5, b"b"));
        let mut proofs = Vec::new();
        for order in [[&a, &b, &a, &b], [&b, &a, &b, &a]] {
            let mut met = Equivocations::default();
            assert_eq!(order.map(|head| met.meet(head)), [false, true, false, false]);
            proofs.push(met.of(&a.key()));
        }
        assert_eq!(proofs[0], proofs[1]);
        assert_eq!(proofs[0].len(), 1);
        assert!(proofs[0][0].lower.digest() < proofs[0][0].higher.digest());
    }

    #[test]
    fn other_dots_writers_and_keys_are_no_proof() {
        let mut met = Equivocations::default();
        for head in [
            head(1, "n", 5, b"a"),
            head(1, "n", 6, b"b"),
            head(2, "n", 5, b"b"),
            head(1, "m", 5, b"b"),
            head(1, "n", 5, b"a"),
        ] {
            assert!(!met.meet(&head));
        }
    }

    #[test]
    fn proofs_have_a_limit() {
        let mut met = Equivocations::default();
        let key = head(1, "n", 1, b"a").key();
        for dot in 1..=PROOFS_MAX as u64 + 1 {
            assert!(!met.meet(&head(1, "n", dot, b"a")));
            assert!(met.meet(&head(1, "n", dot, b"b")));
        }
        let proofs = met.of(&key);
        assert_eq!(proofs.len(), PROOFS_MAX);
        assert_eq!(proofs[0].lower.dot(), Dot::from_raw(2), "the oldest gave way");
    }
}
