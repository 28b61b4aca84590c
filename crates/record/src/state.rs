//! The state of a key: the newest envelope of each writer. This is the one merge rule.
//!
//! For each writer the envelope with the highest (dot, digest) is kept. Merging is therefore a join of
//! maxima: commutative, associative, idempotent, and independent of kinds, values and clocks. The values that
//! a reader sees are computed from the state: every value whose dot no context covers.
//!
//! A fully superseded envelope stays until it expires. If it were dropped earlier, the result would depend on
//! the order of arrival when a writer signs a false context.

use std::collections::BTreeMap;
use std::fmt;

use potluck_base::{PublicKey, UnixMillis};

use crate::{Context, Dot, Envelope, EnvelopeId, SignedHead, Space};

/// A type with a signed head: a whole [`Envelope`], or the [`SignedHead`] alone.
pub trait HasHead {
    /// The signed head.
    fn signed_head(&self) -> &SignedHead;
}

impl HasHead for Envelope {
    fn signed_head(&self) -> &SignedHead {
        self.head()
    }
}

impl HasHead for SignedHead {
    fn signed_head(&self) -> &SignedHead {
        self
    }
}

/// The outcome of merging one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The state had no envelope of the writer.
    New,
    /// It replaced an older envelope of the writer.
    Newer,
    /// The state had it already.
    Equal,
    /// The state has a newer envelope of the writer, which stays.
    Older(EnvelopeId),
    /// It is newer, but does not continue the stored envelope of the writer, which stays: two machines write
    /// with one key. Only when a writer's node stores.
    Forked(EnvelopeId),
}

impl Merged {
    /// Whether the state changed.
    #[must_use]
    pub const fn changed(self) -> bool {
        matches!(self, Self::New | Self::Newer)
    }
}

/// A fingerprint of a state: the sum of the first 16 bytes of its envelopes' digests, modulo 2^128.
///
/// It is a sum, so that a store can update it from the one envelope that changes. It decides whether two
/// replicas agree, not whether data is genuine. A writer that forges a collision (2^64 work over envelopes of
/// its own) can hide only its own update from a comparison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StateDigest(u128);

impl StateDigest {
    /// The digest of no envelope at all.
    pub const EMPTY: Self = Self(0);

    /// Wraps 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    #[expect(clippy::indexing_slicing, reason = "an array shorter than the digest")]
    fn of(head: &SignedHead) -> u128 {
        u128::from_be_bytes(std::array::from_fn(|index| head.digest()[index]))
    }

    /// The sum of two digests. The digest of a state is the sum over its envelopes.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// This digest minus `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// This digest after `head` was added.
    #[must_use]
    pub fn with(self, head: &SignedHead) -> Self {
        Self(self.0.wrapping_add(Self::of(head)))
    }

    /// This digest after `head` was removed.
    #[must_use]
    pub fn without(self, head: &SignedHead) -> Self {
        Self(self.0.wrapping_sub(Self::of(head)))
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDigest({:08x})", self.0 >> 96)
    }
}

/// Whether `candidate` is newer than `held`, of the same writer. At equal dots (a writer that signed two
/// envelopes with one dot) the higher digest wins, so that all replicas decide alike.
#[must_use]
pub fn supersedes(candidate: &SignedHead, held: &SignedHead) -> bool {
    (candidate.dot(), candidate.digest()) > (held.dot(), held.digest())
}

/// Whether `candidate` can be an envelope that the writer of `held` signed after it: each value of `held`
/// that lives at `now` is repeated or covered. A writer that runs once never signs another envelope, because
/// it starts with its own last envelope.
#[must_use]
pub fn succeeds(candidate: &SignedHead, held: &SignedHead, now: UnixMillis) -> bool {
    let kept = |dot: Dot| candidate.values().iter().any(|value| value.dot() == dot);
    held.space() == Space::Content
        || held.values().iter().all(|value| {
            value.expires() <= now
                || kept(value.dot())
                || candidate.context().covers(&held.writer(), value.dot())
        })
}

/// The position of one live value in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Its writer.
    pub writer: PublicKey,
    /// Its dot.
    pub dot: Dot,
    /// The index of the value in the writer's envelope.
    pub index: usize,
}

/// The newest envelope (or head) of each writer of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct State<E = Envelope> {
    by_writer: BTreeMap<PublicKey, E>,
}

impl<E> Default for State<E> {
    fn default() -> Self {
        Self { by_writer: BTreeMap::new() }
    }
}

impl<E: HasHead> State<E> {
    /// A state without envelopes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Merges an envelope.
    pub fn merge(&mut self, envelope: E) -> Merged {
        let head = envelope.signed_head();
        let outcome = match self.by_writer.get(&head.writer()).map(HasHead::signed_head) {
            None => Merged::New,
            Some(held) if held.digest() == head.digest() => Merged::Equal,
            Some(held) if supersedes(head, held) => Merged::Newer,
            Some(held) => Merged::Older(held.id()),
        };
        if outcome.changed() {
            self.by_writer.insert(head.writer(), envelope);
        }
        outcome
    }

    /// The envelopes by writer.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &E> {
        self.by_writer.values()
    }

    /// The envelope of one writer.
    #[must_use]
    pub fn of(&self, writer: &PublicKey) -> Option<&E> {
        self.by_writer.get(writer)
    }

    /// The number of writers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_writer.len()
    }

    /// Whether there is no envelope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_writer.is_empty()
    }

    /// The fingerprint that replicas compare.
    #[must_use]
    pub fn digest(&self) -> StateDigest {
        self.heads().fold(StateDigest::EMPTY, StateDigest::with)
    }

    /// Drops envelopes whose life has ended at `now`. For readers; replicas expire envelopes in their store.
    pub fn expire(&mut self, now: UnixMillis) {
        self.by_writer.retain(|_, envelope| envelope.signed_head().expires() > now);
    }

    /// Everything that a writer which has read this state has seen: all dots in it and all dots that its
    /// contexts cover, reduced to the limit ([`Context::fit`]), so that it can be signed and printed.
    #[must_use]
    pub fn context(&self) -> Context {
        let mut context = Context::new();
        for head in self.heads() {
            context.cover(head.writer(), head.dot());
            context.join(head.context());
        }
        context.fit();
        context
    }

    /// The union of the contexts of these envelopes. Unlike [`context`](Self::context) it is not reduced, and
    /// does not include the envelopes' own dots.
    #[must_use]
    pub fn covered(&self) -> Context {
        let mut covered = Context::new();
        self.heads().for_each(|head| covered.join(head.context()));
        covered
    }

    /// The values that no context covers, by writer and dot.
    #[must_use]
    pub fn live(&self, now: UnixMillis) -> Vec<Live> {
        let covered = self.covered();
        self.heads()
            .flat_map(|head| {
                head.values().iter().enumerate().map(move |(index, value)| (head, index, value))
            })
            .filter(|(head, _, value)| {
                value.expires() > now && !covered.covers(&head.writer(), value.dot())
            })
            .map(|(head, index, value)| Live { writer: head.writer(), dot: value.dot(), index })
            .collect()
    }

    /// Whether the writer of `candidate`, which its node stores, may be one of the `most` writers of the key.
    /// A writer has a place while it has a live value that no context covers. A writer without a place gets
    /// one if, without the writers that the candidate supersedes, fewer than `most` others have one.
    #[must_use]
    pub fn has_place_for(&self, candidate: &E, most: usize, now: UnixMillis) -> bool
    where
        E: Clone,
    {
        let writer = candidate.signed_head().writer();
        if self.live(now).iter().any(|live| live.writer == writer) {
            return true;
        }
        let mut state = self.clone();
        state.merge(candidate.clone());
        let live = state.live(now);
        let mut others: Vec<PublicKey> =
            live.iter().map(|live| live.writer).filter(|other| *other != writer).collect();
        others.dedup();
        others.len() < most
    }

    /// The expiry of the last of these envelopes. An envelope that supersedes them must live as long.
    #[must_use]
    pub fn last_expiry(&self) -> UnixMillis {
        self.heads().map(SignedHead::expires).max().unwrap_or_default()
    }

    fn heads(&self) -> impl Iterator<Item = &SignedHead> {
        self.by_writer.values().map(HasHead::signed_head)
    }
}

impl<E: HasHead> FromIterator<E> for State<E> {
    fn from_iter<I: IntoIterator<Item = E>>(envelopes: I) -> Self {
        let mut state = Self::new();
        for envelope in envelopes {
            state.merge(envelope);
        }
        state
    }
}
