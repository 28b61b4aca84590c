//! The state of a key: the newest envelope of each writer. This is the one merge rule.
//!
//! Per writer the envelope with the highest (dot, digest) is kept, which makes merging a join of
//! maxima: commutative, associative, idempotent, blind to kinds, values and clocks. What a reader
//! sees is computed from it: every value whose dot no context covers.
//!
//! A fully superseded envelope stays until it expires. Dropping it early would make the result
//! depend on the order of arrival when a writer lies about its context.

use std::collections::BTreeMap;
use std::fmt;

use potluck_base::{PublicKey, UnixMillis};

use crate::{Context, Dot, Envelope, EnvelopeId, SignedHead, Space};

/// Anything with a signed head: a whole [`Envelope`], or the [`SignedHead`] alone.
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

/// What merging one envelope did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The writer had none here.
    New,
    /// It replaced the writer's older one.
    Newer,
    /// It was here already.
    Equal,
    /// The writer's newer one stays.
    Older(EnvelopeId),
    /// It is newer, but does not follow from the writer's one that is kept, which stays: two
    /// machines write as one. Only at ingress.
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
/// A sum, so that a store can keep it up to date from the one envelope that changes. It decides
/// whether two replicas agree, not whether data is genuine: who forges a collision (2^64 work over
/// envelopes of its own) can hide nothing but its own update from a comparison.
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

    /// The sum of two digests, as a state's digest is the sum of its envelopes'.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// This digest without the part `other` of the sum.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// This digest with `head` in it.
    #[must_use]
    pub fn with(self, head: &SignedHead) -> Self {
        Self(self.0.wrapping_add(Self::of(head)))
    }

    /// This digest with `head` taken out.
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

/// Whether `candidate` is newer than `held`, of one writer. At equal dots (a writer that signed two
/// things as one) the higher digest wins, so that all replicas choose alike.
#[must_use]
pub fn supersedes(candidate: &SignedHead, held: &SignedHead) -> bool {
    (candidate.dot(), candidate.digest()) > (held.dot(), held.digest())
}

/// Whether `candidate` can be what the writer of `held` signed after it: each value of `held` that
/// lives at `now` is there again or covered. A writer that runs once never signs anything else, since
/// it begins with its own last envelope.
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

/// One live value's place in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Who wrote it.
    pub writer: PublicKey,
    /// Its dot.
    pub dot: Dot,
    /// Which value of the writer's envelope it is.
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

    /// Takes an envelope in.
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

    /// How many writers there are.
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

    /// Drops envelopes whose life is over at `now`. For readers; replicas expire in their store.
    pub fn expire(&mut self, now: UnixMillis) {
        self.by_writer.retain(|_, envelope| envelope.signed_head().expires() > now);
    }

    /// Everything that a writer which has read this state has seen: all dots in it and all that its
    /// contexts cover, fitted ([`Context::fit`]), so that it can be signed and printed.
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

    /// All that the contexts of these envelopes cover, together. Unlike [`context`](Self::context) it
    /// is not fitted, and the envelopes' own dots are not in it.
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

    /// Whether `candidate`, which its writer's node stores, finds a place among the `most` writers of the
    /// key. A writer has one while any of its values lives that no context covers. A writer without one
    /// gets one if fewer than `most` others are left that the candidate does not supersede.
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

    /// When the last of these envelopes expires; what supersedes them must live as long.
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
