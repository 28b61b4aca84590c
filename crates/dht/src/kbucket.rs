//! One k-bucket: the oldest live contacts of a distance range, and those that wait for a place.
//!
//! Kademlia section 2.2: "nodes that have been up for long are likely to stay up", so a live
//! contact is never displaced; newcomers wait in a replacement cache (section 4.1).

use potluck_base::{NodeId, Peer};

/// Members and replacements of one bucket. Members are ids, their data is in the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KBucket {
    members: Vec<NodeId>,
    replacements: Vec<Peer>,
}

/// The result of placing a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Placed {
    /// It is a member.
    Member,
    /// It waits in the replacement cache.
    Waiting,
}

impl KBucket {
    /// Makes `peer` a member if fewer than `k` are, else puts it into the replacement cache. The cache
    /// holds at most `k`; the oldest one is dropped.
    pub fn place(&mut self, peer: Peer, k: usize) -> Placed {
        if self.members.contains(&peer.id) {
            return Placed::Member;
        }
        self.replacements.retain(|waiting| waiting.id != peer.id);
        if self.members.len() < k {
            self.members.push(peer.id);
            return Placed::Member;
        }
        if self.replacements.len() >= k {
            self.replacements.remove(0);
        }
        self.replacements.push(peer);
        Placed::Waiting
    }

    /// Whether `id` could become a member at once.
    #[must_use]
    pub fn has_room(&self, k: usize) -> bool {
        self.members.len() < k
    }

    /// Removes `id` from the members or the replacement cache.
    pub fn remove(&mut self, id: &NodeId) {
        self.members.retain(|member| member != id);
        self.replacements.retain(|waiting| waiting.id != *id);
    }

    /// Takes the most recently seen replacement, to be proved again and then placed.
    pub fn take_replacement(&mut self) -> Option<Peer> {
        self.replacements.pop()
    }

    /// Whether `id` is a member.
    #[must_use]
    pub fn contains(&self, id: &NodeId) -> bool {
        self.members.contains(id)
    }

    /// The members, longest known first.
    #[must_use]
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// The number of replacements.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.replacements.len()
    }

    /// Whether there are neither members nor replacements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.replacements.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Contact, Identity, NetworkId};

    use super::*;

    fn peer(number: u8) -> Peer {
        Contact::new(
            Identity::from_seed([number; 32]).public_key(),
            ([127, 0, 0, 1], 1000 + u16::from(number)).into(),
        )
        .in_network(&NetworkId::new("test", Admission::Lab, None))
    }

    #[test]
    fn live_members_are_never_displaced() {
        let mut bucket = KBucket::default();
        assert_eq!(bucket.place(peer(1), 2), Placed::Member);
        assert_eq!(bucket.place(peer(2), 2), Placed::Member);
        assert_eq!(bucket.place(peer(3), 2), Placed::Waiting);
        assert_eq!(bucket.place(peer(1), 2), Placed::Member);
        assert_eq!(bucket.members(), [peer(1).id, peer(2).id]);
    }

    #[test]
    fn the_latest_replacement_is_tried_first_and_the_cache_is_bounded() {
        let mut bucket = KBucket::default();
        for number in 1..=10 {
            let _ = bucket.place(peer(number), 2);
        }
        assert_eq!(bucket.waiting(), 2);
        assert_eq!(bucket.take_replacement(), Some(peer(10)));
        bucket.remove(&peer(9).id);
        assert_eq!(bucket.take_replacement(), None);
    }
}
