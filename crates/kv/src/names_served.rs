//! The holder's side of a listing of names: one page from the store, cut to what an answer carries.

use std::collections::BTreeMap;

use potluck_base::{Instant, NodeId};
use potluck_record::{NamedState, NamesQuery, Space, StorageOp, StorageReply};
use potluck_wire::{NAME_ENTRY_BYTES, NameEntry, Names, NamesFound, Refusal, Request, Response};

use crate::core::{Core, OpPurpose};
use crate::event::{PeerRequest, ServeId};

/// Pages for others that are read from the store at once; further requests are refused as busy, and the
/// asker tries again. Raising it answers more listings at once and delays writes behind them.
const PAGES_MAX: usize = 16;
/// Pages for one asker of these: one listing asks for one.
const PAGES_OF_ONE_MAX: usize = 2;
/// Bytes of an answer beside its entries.
const FRAME_BYTES: usize = 1024;

/// A page under way.
#[derive(Debug, Clone, Copy)]
struct Page {
    asker: NodeId,
    budget: usize,
}

/// The pages of names that other nodes asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamesServed {
    pages: BTreeMap<ServeId, Page>,
}

impl NamesServed {
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Begins to answer a request for names.
    pub(crate) fn start(&mut self, core: &mut Core, now: Instant, id: ServeId, asked: PeerRequest) {
        let Request::Names(names) = asked.request else { return };
        let asker = asked.from.id;
        let of_asker = self.pages.values().filter(|page| page.asker == asker).count();
        let refusal = if !core.serves {
            Some(Refusal::NotServing)
        } else if !asked.proven {
            Some(Refusal::Unproven)
        } else if self.pages.len() >= PAGES_MAX || of_asker >= PAGES_OF_ONE_MAX {
            core.stats.names_busy += 1;
            Some(Refusal::Busy)
        } else {
            None
        };
        // A space that this version does not know is one of which it holds nothing.
        let query = query(names);
        match (refusal, query) {
            (Some(reason), _) => core.respond(id, Response::refused(reason)),
            (None, None) => core.respond(id, Response::Names(NamesFound::default())),
            (None, Some(query)) => {
                self.pages.insert(id, Page { asker, budget: asked.budget });
                let op = StorageOp::Names { query, now: core.wall(now) };
                core.storage(op, OpPurpose::Serve(id, 0));
            }
        }
    }

    /// Takes the page from the store, and answers.
    pub(crate) fn on_stored(&mut self, core: &mut Core, id: ServeId, reply: StorageReply) {
        let Some(page) = self.pages.remove(&id) else { return };
        let StorageReply::Names { entries, next } = reply else {
            core.respond(id, Response::refused(Refusal::Stopped));
            return;
        };
        core.stats.names_served += 1;
        let next = next.map(|next| next.to_string()).unwrap_or_default();
        let found = cut(entries.iter().map(entry).collect(), next, page.budget);
        core.respond(id, Response::Names(found));
    }
}

/// As many of the entries as an answer of `budget` bytes carries; it goes on behind the last.
fn cut(mut entries: Vec<NameEntry>, mut next: String, budget: usize) -> NamesFound {
    let mut room = budget.saturating_sub(FRAME_BYTES);
    let fits = |entry: &NameEntry| {
        let size = entry.name.len() + NAME_ENTRY_BYTES;
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    let fitting = entries.iter().map(fits).take_while(|fits| *fits).count();
    if fitting < entries.len() {
        entries.truncate(fitting);
        next = entries.last().map(|entry| entry.name.clone()).unwrap_or_default();
    }
    NamesFound { entries, next }
}

fn query(names: Names) -> Option<NamesQuery> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    Some(NamesQuery {
        space: Space::from_parts(names.space, names.owner)?,
        prefix: names.prefix,
        after: some(names.after),
        until: some(names.until),
        limit: names.limit,
    })
}

fn entry(state: &NamedState) -> NameEntry {
    NameEntry {
        name: state.name.to_string(),
        newest: state.newest.raw(),
        dots: state.dots.to_be_bytes(),
        kind: state.kind.number(),
        values: state.values,
        bytes: state.bytes,
        expires_ms: state.expires.0,
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::UnixMillis;
    use potluck_record::limits::NAME_BYTES_MAX;
    use potluck_record::{Dot, Kind, Name};
    use potluck_wire::limits::CALL_BYTES_MAX;
    use potluck_wire::{NAMES_MAX, encode_response};

    use super::*;

    fn states(count: usize, length: usize) -> Vec<NameEntry> {
        let state = |number| NamedState {
            name: Name::new(format!("{number:0length$}")).expect("a name"),
            newest: Dot::from_raw(u64::MAX),
            dots: u128::MAX,
            kind: Kind::Siblings,
            values: u32::MAX,
            bytes: u64::MAX,
            expires: UnixMillis(u64::MAX),
        };
        (0..count).map(|number| entry(&state(number))).collect()
    }

    #[test]
    fn an_answer_of_the_longest_names_fits_in_a_call_and_says_where_it_goes_on() {
        let found = cut(states(NAMES_MAX, NAME_BYTES_MAX), String::new(), CALL_BYTES_MAX);
        assert!((256..NAMES_MAX).contains(&found.entries.len()), "{}", found.entries.len());
        assert_eq!(found.next, found.entries.last().expect("some").name);
        assert!(encode_response(&Response::Names(found)).len() <= CALL_BYTES_MAX);
    }

    #[test]
    fn an_answer_that_fits_stays_as_it_is() {
        let found = cut(states(3, 8), "x".to_owned(), CALL_BYTES_MAX);
        assert_eq!((found.entries.len(), found.next.as_str()), (3, "x"));
    }
}
