//! Listing names: each member is asked for one page of the names that it holds, and the pages are merged.
//!
//! Names come in their order as bytes. A page ends at the smallest name up to which every member that
//! answered has told all; what was told beyond that is dropped and comes with the next page. Each answer
//! can only lower that name, and members that are asked later are asked only up to it, so that all of
//! them together send little more than is on the page. At most two pages of names are in memory.
//!
//! Members are believed: one that lies can hide a name, by a newer deletion that it invents, or show one
//! that does not exist. A read of the record shows what is true.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use potluck_base::{Deadline, Instant, NodeId, Peer, UnixMillis};
use potluck_record::{
    Dot, Kind, NAMES_PAGE_MAX, Name, NamedState, NamesQuery, StorageOp, StorageReply,
};
use potluck_wire::{NameEntry, Names, NamesFound, Refusal, Request, Response};

use crate::command::{CommandError, CommandId, ListNames, NamesListed, Reply};
use crate::core::{AskPurpose, Core, OpPurpose, Progress};
use crate::event::Delivery;

/// Members that are asked at once. Raising it lists a large network faster and has more answers of up to
/// 256 KiB on their way to this node at once.
const ASKED_AT_ONCE: usize = 8;
/// Most members that did not answer which a reply names.
pub const SILENT_MAX: usize = 64;
/// How often a member that is busy is asked.
const TRIES_MAX: u8 = 5;

/// A member, and how often it was asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    peer: Peer,
    tries: u8,
}

/// One listing under way.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    id: CommandId,
    query: NamesQuery,
    all_members: bool,
    names: BTreeMap<Name, NamedState>,
    /// Up to this name all that answered have told all.
    until: Option<Name>,
    waiting: VecDeque<Asked>,
    asking: BTreeMap<NodeId, Asked>,
    silent: Vec<Peer>,
    asked: usize,
    answered: usize,
    by: Instant,
}

impl Listing {
    /// Begins a listing; `None` if it ended at once, because there is no member to ask.
    pub(crate) fn start(
        core: &mut Core,
        now: Instant,
        id: CommandId,
        list: ListNames,
    ) -> Option<Self> {
        let ListNames { mut query, members, all_members } = list;
        query.limit = query.limit.clamp(1, NAMES_PAGE_MAX);
        let others = members.into_iter().filter(|peer| peer.id != core.me.id);
        let waiting: VecDeque<Asked> = others.map(|peer| Asked { peer, tries: 0 }).collect();
        let mut listing = Self {
            id,
            asked: waiting.len() + usize::from(core.serves),
            query,
            all_members,
            names: BTreeMap::new(),
            until: None,
            waiting,
            asking: BTreeMap::new(),
            silent: Vec::new(),
            answered: 0,
            by: now + core.config.put_deadline,
        };
        if core.serves {
            // This node first: from what it holds it knows how far one page reaches.
            let op = StorageOp::Names { query: listing.query.clone(), now: core.wall(now) };
            core.storage(op, OpPurpose::Names(id));
            return Some(listing);
        }
        (listing.go_on(core) == Progress::Waiting).then_some(listing)
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.by, "names")
    }

    /// Takes this node's own page.
    pub(crate) fn on_local(&mut self, core: &mut Core, reply: StorageReply) -> Progress {
        if let StorageReply::Names { entries, next } = reply {
            self.answered += 1;
            self.take(entries, next);
        } else {
            self.silent.push(core.me);
        }
        self.go_on(core)
    }

    /// Takes the answer of a member, or that there is none.
    pub(crate) fn on_answer(
        &mut self,
        core: &mut Core,
        from: NodeId,
        response: Option<Response>,
    ) -> Progress {
        let Some(asked) = self.asking.remove(&from) else { return Progress::Waiting };
        match answer(response) {
            Answer::Page(found) => match read(&self.query, found) {
                Some((entries, next)) => {
                    self.answered += 1;
                    self.take(entries, next);
                }
                None => {
                    core.stats.answers_bad += 1;
                    self.silent.push(asked.peer);
                }
            },
            // It keeps no records, so it has no names.
            Answer::Nothing => self.answered += 1,
            Answer::Busy if asked.tries < TRIES_MAX => self.waiting.push_back(asked),
            Answer::Busy | Answer::None => self.silent.push(asked.peer),
        }
        self.go_on(core)
    }

    /// Ends the listing with what was told by now.
    pub(crate) fn on_deadline(&mut self, core: &mut Core) -> Progress {
        let late = std::mem::take(&mut self.asking).into_values().chain(self.waiting.drain(..));
        self.silent.extend(late.map(|asked| asked.peer));
        self.end(core)
    }

    /// Asks the next members, and replies when all have been asked.
    fn go_on(&mut self, core: &mut Core) -> Progress {
        while self.asking.len() < ASKED_AT_ONCE
            && let Some(mut asked) = self.waiting.pop_front()
        {
            asked.tries += 1;
            let id = asked.peer.id;
            if self.asking.insert(id, asked).is_none() {
                let request = Request::Names(self.request());
                core.ask(asked.peer, request, Delivery::Call, AskPurpose::Names(self.id, id));
            }
        }
        if self.asking.is_empty() { self.end(core) } else { Progress::Waiting }
    }

    fn request(&self) -> Names {
        let (space, owner) = self.query.space.to_parts();
        let until = self.until.as_ref().map(Name::to_string);
        Names {
            space,
            owner,
            prefix: self.query.prefix.clone(),
            after: self.query.after.clone().unwrap_or_default(),
            until: until.or_else(|| self.query.until.clone()).unwrap_or_default(),
            limit: self.query.limit,
        }
    }

    fn take(&mut self, entries: Vec<NamedState>, next: Option<Name>) {
        if let Some(next) = next {
            self.end_at(next);
        }
        for entry in entries {
            if self.until.as_ref().is_some_and(|until| entry.name > *until) {
                break;
            }
            match self.names.get_mut(&entry.name) {
                Some(held) => held.merge(entry),
                None => drop(self.names.insert(entry.name.clone(), entry)),
            }
        }
        let beyond = self.names.keys().nth(self.query.limit as usize).is_some();
        let last = self.names.keys().nth(self.query.limit as usize - 1).filter(|_| beyond);
        if let Some(last) = last.cloned() {
            self.end_at(last);
        }
    }

    /// The page ends at `last`, if it does not end before.
    fn end_at(&mut self, last: Name) {
        if self.until.as_ref().is_none_or(|until| last < *until) {
            let beyond = (Bound::Excluded(last.clone()), Bound::Unbounded);
            let beyond: Vec<Name> =
                self.names.range(beyond).map(|(name, _)| name.clone()).collect();
            beyond.iter().for_each(|name| drop(self.names.remove(name)));
            self.until = Some(last);
        }
    }

    fn end(&mut self, core: &mut Core) -> Progress {
        let reply = if self.answered == 0 {
            Reply::Failed(CommandError::TooFewAnswers { answers: 0, needed: 1 })
        } else {
            let names = std::mem::take(&mut self.names);
            let mut silent = std::mem::take(&mut self.silent);
            silent.truncate(SILENT_MAX);
            Reply::Names(NamesListed {
                names: names.into_values().filter(NamedState::is_live).collect(),
                next: self.until.as_ref().map(Name::to_string),
                all_members: self.all_members,
                asked: self.asked,
                answered: self.answered,
                silent,
            })
        };
        core.reply(self.id, reply);
        Progress::Done
    }
}

/// What an answer of a member means.
enum Answer {
    Page(NamesFound),
    Nothing,
    Busy,
    None,
}

fn answer(response: Option<Response>) -> Answer {
    match response.as_ref().and_then(Response::refusal) {
        Some(Refusal::NotServing) => return Answer::Nothing,
        Some(Refusal::Busy) => return Answer::Busy,
        Some(_) | None => {}
    }
    match response {
        Some(Response::Names(found)) => Answer::Page(found),
        Some(_) | None => Answer::None,
    }
}

/// The entries of an answer, if all are names that were asked for, in order, and the page ends behind
/// where it began: else a listing would not come to its end.
fn read(query: &NamesQuery, found: NamesFound) -> Option<(Vec<NamedState>, Option<Name>)> {
    let mut last = query.after.clone();
    let mut entries = Vec::with_capacity(found.entries.len());
    for entry in found.entries {
        let entry = state(entry)?;
        let name = entry.name.as_str();
        if last.as_deref().is_some_and(|last| name <= last) || !name.starts_with(&query.prefix) {
            return None;
        }
        last = Some(name.to_owned());
        entries.push(entry);
    }
    if found.next.is_empty() {
        return Some((entries, None));
    }
    let next = Name::new(found.next).ok()?;
    let first = query.after.as_deref().is_none_or(|after| next.as_str() > after);
    let behind = entries.last().is_none_or(|entry| entry.name <= next);
    (first && behind).then_some((entries, Some(next)))
}

fn state(entry: NameEntry) -> Option<NamedState> {
    Some(NamedState {
        name: Name::new(entry.name).ok()?,
        newest: Dot::from_raw(entry.newest),
        dots: u128::from_be_bytes(entry.dots),
        kind: Kind::from_number(entry.kind),
        values: entry.values,
        bytes: entry.bytes,
        expires: UnixMillis(entry.expires_ms),
    })
}
