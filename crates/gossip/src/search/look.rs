//! Names that the caller of the machine has, since they are too many to be held here.
//!
//! A search goes on while they are looked up, as if this node had none of them; the files found are
//! treated like hits from a neighbour.

use potluck_base::Instant;
use potluck_wire::Hit;
use potluck_wire::search::QueryId;

use super::event::Output;
use super::filter::Filter;
use super::machine::Search;
use super::names::{Names, is_name};
use super::reach::HITS;
use super::words::QueryWords;
use crate::view::FoundFile;

/// Look-ups under way; further searches find no names of this node.
pub const LOOKS_MAX: usize = 64;
impl Search {
    pub(super) fn on_names_elsewhere(&mut self, now: Instant, count: usize) {
        self.elsewhere = count;
        self.names = Names::new(Vec::new());
        // They have more words than a filter can tell apart.
        self.set_filter(now, Filter::all());
    }

    /// Starts a look-up for a search. Returns whether one was started.
    pub(super) fn look(&mut self, query: QueryId, query_words: &QueryWords) -> bool {
        if self.elsewhere == 0 {
            return false;
        }
        if self.looking >= LOOKS_MAX {
            self.stats.looks_dropped += 1;
            return false;
        }
        self.looking += 1;
        let words = query_words.to_vec();
        self.outbox.push_back(Output::Look { query, words, max: HITS });
        true
    }

    pub(super) fn on_looked(&mut self, now: Instant, query: QueryId, files: Vec<FoundFile>) {
        self.looking = self.looking.saturating_sub(1);
        let files = files.into_iter().filter(|file| is_name(&file.name)).take(HITS);
        if let Some(own_search) = self.own_searches.get_mut(&query) {
            own_search.own.extend(files.map(|file| FoundFile { holder: None, ..file }));
            if std::mem::take(&mut own_search.looking) && own_search.waits {
                own_search.deadline = now;
            }
            return;
        }
        // No node waits for hits of a search whose route has expired.
        let Some(route) = self.routes.get_mut(query) else { return };
        let me = self.me;
        let hits = files.map(|file| Hit {
            name: file.name,
            root: file.root,
            bytes: file.bytes,
            folder: file.folder,
            holder: me,
        });
        let hits: Vec<Hit> = hits.filter(|hit| route.accepts(None, hit)).collect();
        route.own_hits += hits.len();
        self.stats.hits_dropped += self.routes.wait(query, hits) as u64;
    }
}
