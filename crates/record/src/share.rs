//! Shares: the value that one writer keeps of a counter, a set or a map.
//!
//! Each writer's envelope has one value, its share: what the writer itself counted, added or set, and which
//! additions of other writers it has removed. Replicas do not decode shares. A reader folds the shares of all
//! writers. A writer computes its next share from its last one, an operation, and the shares that it has
//! read.
//!
//! **Invariants:** the folded value depends only on the set of shares, not on their order; the context of a
//! share covers no value of another writer; a removal names additions that its writer had read, so an
//! addition that it had not read stays.

mod counter;
mod entries;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use potluck_base::{PublicKey, UnixMillis};

use crate::limits::{SHARE_BYTES_MAX, SHARE_ENTRIES_MAX};
use crate::reading::Folded;
use crate::{Dot, Envelope, Kind, Operation, State};

pub use counter::Counted;
pub use entries::{Entries, Removals};

/// The share of one writer of a counter, a set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// The sums that it counted.
    Counter(Counted),
    /// The elements that it added, and its removals.
    Set(Entries<()>),
    /// The fields that it set, and its removals.
    Map(Entries<Bytes>),
}

/// Why there is no next share, or why bytes are not a share. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The bytes are not a share of a record of this kind, or they exceed a limit.
    #[error("this is not one writer's share of a counter, set or map")]
    Malformed,
    /// The writer's count would exceed its share.
    #[error("one node counts at most 2^64 - 1 up and as much down; it is at {0}")]
    CounterFull(i128),
    /// The writer would have too many elements or fields.
    #[error(
        "one node keeps at most {SHARE_ENTRIES_MAX} elements or fields and removals under a name; it \
         would keep {0}"
    )]
    ManyEntries(usize),
    /// The writer's share would be too large.
    #[error("one node keeps at most {SHARE_BYTES_MAX} bytes under a name; it would keep {0}")]
    Large(usize),
}

impl Share {
    /// The share in the value of an envelope of this kind.
    ///
    /// # Errors
    /// [`ShareError::Malformed`] if the bytes are not a share. A reader leaves them out.
    pub fn decode(kind: Kind, bytes: &Bytes) -> Result<Self, ShareError> {
        if bytes.len() > SHARE_BYTES_MAX {
            return Err(ShareError::Malformed);
        }
        let share = match kind {
            Kind::Counter => counter::decode(bytes).map(Self::Counter),
            Kind::Set => entries::decode(bytes).map(Self::Set),
            Kind::Map => entries::decode(bytes).map(Self::Map),
            Kind::Siblings | Kind::Lww | Kind::PerWriter | Kind::Unknown(_) => None,
        };
        share.ok_or(ShareError::Malformed)
    }

    /// The bytes that [`decode`](Self::decode) reads.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Counter(counted) => counter::encode(counted),
            Self::Set(entries) => entries::encode(entries),
            Self::Map(entries) => entries::encode(entries),
        }
    }
}

/// The newest envelope of one writer, as far as shares need it.
#[derive(Debug, Clone)]
struct Seen {
    /// The envelope's dot.
    dot: Dot,
    /// Whether the share counts: it has not expired, and no context covers it.
    live: bool,
    /// `None` for a tombstone, a value of another kind, or bytes that are not a share.
    share: Option<Share>,
}

/// The shares of one kind in a state.
#[derive(Debug, Clone)]
pub struct Shares {
    kind: Kind,
    by_writer: BTreeMap<PublicKey, Seen>,
    removed: Removals,
}

impl Shares {
    /// The shares of `kind` in `state`, as a reader at `now` sees them.
    #[must_use]
    pub fn of(state: &State<Envelope>, kind: Kind, now: UnixMillis) -> Self {
        let live: BTreeSet<PublicKey> =
            state.live(now).into_iter().map(|live| live.writer).collect();
        let mut by_writer = BTreeMap::new();
        let mut removed = Removals::default();
        for envelope in state.iter() {
            let head = envelope.head();
            let last = envelope.values().last().filter(|_| head.kind() == kind);
            let share = last.and_then(|(_, bytes)| Share::decode(kind, &bytes).ok());
            // A removal counts even if a deletion covers its share, because the removal was made before.
            match &share {
                Some(Share::Set(entries)) => removed.join(&entries.removals),
                Some(Share::Map(entries)) => removed.join(&entries.removals),
                Some(Share::Counter(_)) | None => {}
            }
            let live = live.contains(&head.writer());
            by_writer.insert(head.writer(), Seen { dot: head.dot(), live, share });
        }
        Self { kind, by_writer, removed }
    }

    /// The folded value of the live shares.
    #[must_use]
    pub fn fold(&self) -> Folded {
        match self.kind {
            Kind::Set => Folded::Set(
                self.additions(as_set).map(|(_, element, ..)| element.to_owned()).collect(),
            ),
            Kind::Map => {
                let mut highest: BTreeMap<&str, (Dot, PublicKey, &Bytes)> = BTreeMap::new();
                for (writer, field, dot, value) in self.additions(as_map) {
                    let place = highest.entry(field).or_insert((dot, writer, value));
                    if (dot, writer) > (place.0, place.1) {
                        *place = (dot, writer, value);
                    }
                }
                let fields = highest.into_iter();
                Folded::Map(
                    fields.map(|(field, (_, _, value))| (field.into(), value.clone())).collect(),
                )
            }
            Kind::Counter | Kind::Siblings | Kind::Lww | Kind::PerWriter | Kind::Unknown(_) => {
                let counted = self.live().filter_map(|(_, share)| match share {
                    Share::Counter(counted) => Some(counted.total()),
                    Share::Set(_) | Share::Map(_) => None,
                });
                Folded::Counter(counted.sum())
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = (&PublicKey, &Share)> {
        let live = self.by_writer.iter().filter(|(_, seen)| seen.live);
        live.filter_map(|(writer, seen)| Some((writer, seen.share.as_ref()?)))
    }

    /// The additions of live shares that no removal names.
    fn additions<'a, V: 'a>(
        &'a self,
        entries_of: fn(&Share) -> Option<&Entries<V>>,
    ) -> impl Iterator<Item = (PublicKey, &'a str, Dot, &'a V)> {
        self.live()
            .filter_map(move |(writer, share)| Some((writer, entries_of(share)?)))
            .flat_map(|(writer, entries)| entries.added().map(move |added| (*writer, added)))
            .filter(|(writer, (_, dot, _))| !self.removed.has(writer, *dot))
            .map(|(writer, (name, dot, value))| (writer, name, dot, value))
    }

    /// Whether the addition that a removal names may still be in a share that this state lacks: the stored
    /// envelope of that writer is older than the addition, or there is none.
    fn may_return(&self, writer: &PublicKey, dot: Dot) -> bool {
        let holds = |share: &Share| match share {
            Share::Set(entries) => entries.has(dot),
            Share::Map(entries) => entries.has(dot),
            Share::Counter(_) => false,
        };
        match self.by_writer.get(writer) {
            Some(seen) => seen.dot < dot || seen.share.as_ref().is_some_and(holds),
            None => true,
        }
    }
}

fn as_set(share: &Share) -> Option<&Entries<()>> {
    if let Share::Set(entries) = share { Some(entries) } else { None }
}

fn as_map(share: &Share) -> Option<&Entries<Bytes>> {
    if let Share::Map(entries) = share { Some(entries) } else { None }
}

/// A writer that computes its next share.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The writer.
    pub me: PublicKey,
    /// Its last share, of the same kind.
    pub own: Option<&'a Share>,
    /// Whether that share counts: it has not expired, and no context that was read covers it. If it does not
    /// count, the writer starts with an empty share.
    pub own_is_live: bool,
    /// The shares that were read.
    pub shares: &'a Shares,
    /// The first dot that the writer may issue.
    pub first: Dot,
    /// Removals of additions older than this are dropped, because such an addition cannot be alive.
    pub forgotten: Dot,
}

impl Author<'_> {
    /// The share after `operation`, and the highest dot that is issued in it, which is at least
    /// [`first`](Self::first).
    ///
    /// # Errors
    /// [`ShareError`] if the next share would break a limit.
    pub fn next(&self, operation: &Operation) -> Result<(Share, Dot), ShareError> {
        let mut dot = self.first;
        let share = match operation {
            Operation::Count(by) => {
                let own = match self.own {
                    Some(Share::Counter(counted)) if self.own_is_live => *counted,
                    Some(_) | None => Counted::default(),
                };
                Share::Counter(own.plus(*by).ok_or(ShareError::CounterFull(own.total()))?)
            }
            Operation::AddElements(elements) => {
                let mut entries = self.begin(as_set);
                for (index, element) in elements.iter().enumerate() {
                    // Each addition has its own dot, so that it can be removed separately.
                    if index > 0 {
                        dot = Dot::from_raw(dot.raw().saturating_add(1));
                    }
                    entries.add(element, dot, ());
                }
                Share::Set(entries)
            }
            Operation::RemoveElements(elements) => {
                let mut entries = self.begin(as_set);
                for element in elements {
                    self.take_away(&mut entries, element, as_set);
                }
                Share::Set(entries)
            }
            Operation::SetField { field, value } => {
                let mut entries = self.begin(as_map);
                self.take_away(&mut entries, field, as_map);
                entries.add(field, dot, value.clone());
                Share::Map(entries)
            }
            Operation::UnsetField { field } => {
                let mut entries = self.begin(as_map);
                self.take_away(&mut entries, field, as_map);
                Share::Map(entries)
            }
        };
        check(&share)?;
        Ok((share, dot))
    }
}

impl Author<'_> {
    /// The last entries of this writer that still count.
    fn begin<V: Clone>(&self, entries_of: fn(&Share) -> Option<&Entries<V>>) -> Entries<V> {
        let own = self.own.and_then(entries_of).cloned();
        let Some(mut own) = own else { return Entries::default() };
        if self.own_is_live {
            own.drop_added(|dot| self.shares.removed.has(&self.me, dot));
        } else {
            own.drop_added(|_| true);
        }
        let kept =
            |writer: &PublicKey, dot| dot >= self.forgotten && self.shares.may_return(writer, dot);
        own.removals.retain(kept);
        own
    }

    /// Removes an element or field from the writer's own entries, and records the removal of the additions of
    /// other writers that it has read.
    fn take_away<V>(
        &self,
        entries: &mut Entries<V>,
        name: &str,
        entries_of: fn(&Share) -> Option<&Entries<V>>,
    ) {
        entries.remove(name);
        for (writer, found, dot, _) in self.shares.additions(entries_of) {
            if found == name && writer != self.me {
                entries.removals.insert(writer, dot);
            }
        }
    }
}

/// Checks a share against the limits of one writer.
fn check(share: &Share) -> Result<(), ShareError> {
    let entries = match share {
        Share::Counter(_) => 0,
        Share::Set(entries) => entries.len(),
        Share::Map(entries) => entries.len(),
    };
    if entries > SHARE_ENTRIES_MAX {
        return Err(ShareError::ManyEntries(entries));
    }
    let bytes = share.encode().len();
    if bytes > SHARE_BYTES_MAX { Err(ShareError::Large(bytes)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
