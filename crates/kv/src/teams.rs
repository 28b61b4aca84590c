//! The lists of writers of teams, as this node knows them.
//!
//! A node that writes to a team, keeps its records or reads them has to know the list. It reads it as any
//! record, and keeps it for a while. It never goes back to an older list than it has seen.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, LruMap, PublicKey};
use potluck_record::{Dot, Envelope, HasHead, Reading, Space, State, TeamId, TeamList};

use crate::command::{CommandError, CommandId};
use crate::event::ServeId;
use crate::put::Work;

/// Teams whose lists are remembered. Raising it costs up to 9 kB each.
const LISTS_MAX: usize = 256;

/// How long a list lets a writer in without being read again. Raising it saves lookups; a writer that was
/// removed may go on for longer at nodes that do not keep the list. A guess.
const LETS_IN_FOR: Duration = Duration::from_secs(20);

/// How long a list keeps a writer out without being read again. Raising it saves lookups for writers that
/// are not on it; a writer that was added waits longer. A guess.
const KEEPS_OUT_FOR: Duration = Duration::from_secs(1);

/// Lists that are read at once. Raising it lets strangers make this node ask more.
const READS_MAX: usize = 32;

/// Store requests that wait for a list. Each is as large as a call at most, so this bounds their memory.
const STORES_WAITING_MAX: usize = 64;

/// What a list says of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may write.
    Admitted,
    /// It is not on the list.
    NotOnList,
    /// The list is not known, or has to be read again.
    Unknown,
}

/// A list as it was read last.
#[derive(Debug, Clone)]
struct Known {
    dot: Dot,
    /// `None`: there was none.
    list: Option<TeamList>,
    read_at: Instant,
}

/// A store request that waits for a list.
#[derive(Debug, Clone)]
pub(crate) struct Deferred {
    pub(crate) ask: StoreAsk,
    pub(crate) team: TeamId,
}

/// A request to store envelopes.
#[derive(Debug, Clone)]
pub(crate) struct StoreAsk {
    pub(crate) serve: ServeId,
    /// The key of the node that sent it.
    pub(crate) sender: PublicKey,
    pub(crate) parts: Vec<Bytes>,
}

/// The lists that this node knows, and those that it wants to read.
#[derive(Debug, Clone)]
pub(crate) struct TeamLists {
    known: LruMap<TeamId, Known>,
    /// To be read. Taken after each input, so no larger than one input makes it.
    wanted: BTreeSet<TeamId>,
    /// To be queued. Taken after each input as well.
    deferred: Vec<Deferred>,
}

impl Default for TeamLists {
    fn default() -> Self {
        Self { known: LruMap::new(LISTS_MAX), wanted: BTreeSet::new(), deferred: Vec::new() }
    }
}

impl TeamLists {
    fn list(&self, team: &TeamId) -> Option<&TeamList> {
        self.known.peek(team)?.list.as_ref()
    }

    /// What the list says, if it is recent enough.
    pub(crate) fn verdict(&self, now: Instant, team: &TeamId, writer: &PublicKey) -> Verdict {
        let Some(known) = self.known.peek(team) else { return Verdict::Unknown };
        let age = now.since(known.read_at);
        let admits = known.list.as_ref().is_some_and(|list| list.admits(writer));
        match admits {
            true if age < LETS_IN_FOR => Verdict::Admitted,
            false if age < KEEPS_OUT_FOR => Verdict::NotOnList,
            true | false => Verdict::Unknown,
        }
    }

    /// What the newest list says that this node has seen, however old it is.
    pub(crate) fn last_word(&self, team: &TeamId, writer: &PublicKey) -> Verdict {
        match self.list(team) {
            Some(list) if list.admits(writer) => Verdict::Admitted,
            Some(_) => Verdict::NotOnList,
            None => Verdict::Unknown,
        }
    }

    /// Why a writer that is not admitted may not write.
    pub(crate) fn refusal(&self, team: &TeamId) -> CommandError {
        match self.list(team) {
            Some(list) => CommandError::NotWriter { team: *team, owner: list.owner },
            None => CommandError::NoTeam(*team),
        }
    }

    /// Whether a reader may go by the list without reading it again.
    pub(crate) fn is_fresh(&self, now: Instant, team: &TeamId) -> bool {
        self.known.peek(team).is_some_and(|known| now.since(known.read_at) < LETS_IN_FOR)
    }

    /// Whether the list was read, or found absent, since it was last forgotten.
    pub(crate) fn is_known(&self, team: &TeamId) -> bool {
        self.known.peek(team).is_some()
    }

    /// The part of a state that readers see: without writers that are not on the team's list.
    pub(crate) fn readable<'a, E: HasHead + Clone>(
        &self,
        state: &'a State<E>,
    ) -> Cow<'a, State<E>> {
        match state.team() {
            Some(team) => Cow::Owned(state.admitted(self.list(&team))),
            None => Cow::Borrowed(state),
        }
    }

    /// Asks for a list to be read.
    pub(crate) fn want(&mut self, team: TeamId) {
        self.wanted.insert(team);
    }

    pub(crate) fn take_wanted(&mut self) -> BTreeSet<TeamId> {
        std::mem::take(&mut self.wanted)
    }

    /// Puts a store request off until the list of `team` was read.
    pub(crate) fn defer(&mut self, deferred: Deferred) {
        self.deferred.push(deferred);
    }

    pub(crate) fn take_deferred(&mut self) -> Vec<Deferred> {
        std::mem::take(&mut self.deferred)
    }

    /// Takes an envelope that this node stores: it may be a newer list of a team that is known here.
    pub(crate) fn learn(&mut self, envelope: &Envelope) {
        if !matches!(envelope.head().space(), Space::Writers(_)) {
            return;
        }
        let Some(list) = TeamList::of(envelope) else { return };
        let dot = envelope.head().dot();
        if let Some(known) = self.known.get_mut(&list.id())
            && dot > known.dot
        {
            (known.dot, known.list) = (dot, Some(list));
        }
    }

    /// Takes what a read of a list found.
    pub(crate) fn on_read(&mut self, now: Instant, team: TeamId, reading: &Reading) {
        let read = reading.values.first().and_then(|value| {
            let list = TeamList::decode(value.writer, &value.bytes)?;
            (list.id() == team).then_some((value.dot, list))
        });
        let known = self.known.get_mut(&team);
        match (known, read) {
            (Some(known), Some((dot, list))) if dot >= known.dot => {
                *known = Known { dot, list: Some(list), read_at: now };
            }
            (Some(known), Some(_) | None) => known.read_at = now,
            (None, read) => {
                let (dot, list) = read.map(|(dot, list)| (dot, Some(list))).unwrap_or_default();
                self.known.insert(team, Known { dot, list, read_at: now });
            }
        }
    }
}

/// What waits for a list.
#[derive(Debug, Clone)]
pub(crate) enum Waiting {
    /// A write of this node.
    Write(CommandId, Box<Work>),
    /// A store request of another node.
    Store(StoreAsk),
}

/// The reads of lists under way, and what waits for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TeamReads {
    reads: BTreeMap<CommandId, TeamId>,
    waiting: BTreeMap<TeamId, Vec<Waiting>>,
}

impl TeamReads {
    /// Writes of this node that wait. The limit of commands bounds them.
    pub(crate) fn writes(&self) -> usize {
        self.all().filter(|waiting| matches!(waiting, Waiting::Write(..))).count()
    }

    fn all(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values().flatten()
    }

    /// Whether a further store request may wait.
    pub(crate) fn has_room(&self) -> bool {
        let stores = self.all().filter(|waiting| matches!(waiting, Waiting::Store(..)));
        stores.count() < STORES_WAITING_MAX
    }

    pub(crate) fn wait(&mut self, team: TeamId, waiting: Waiting) {
        self.waiting.entry(team).or_default().push(waiting);
    }

    /// Notes a read of the list of `team`, unless one is under way. `None`: too many are.
    pub(crate) fn begin(&mut self, team: TeamId, id: impl FnOnce() -> CommandId) -> Begin {
        if self.reads.values().any(|other| *other == team) {
            return Begin::Running;
        }
        if self.reads.len() >= READS_MAX {
            return Begin::TooMany;
        }
        let id = id();
        self.reads.insert(id, team);
        Begin::New(id)
    }

    /// The team whose list the command read, which has ended.
    pub(crate) fn ended(&mut self, id: CommandId) -> Option<TeamId> {
        self.reads.remove(&id)
    }

    /// All that waits for the list of `team`.
    pub(crate) fn take(&mut self, team: &TeamId) -> Vec<Waiting> {
        self.waiting.remove(team).unwrap_or_default()
    }
}

/// What came of the wish to read a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// This command is to read it.
    New(CommandId),
    /// A read is under way.
    Running,
    /// Too many reads are under way.
    TooMany,
}

#[cfg(test)]
mod tests;
