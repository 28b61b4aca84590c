//! The last events of a node and of the members it knows, with their times.
//!
//! **Invariant:** at most [`KEPT`] are kept; the oldest is dropped first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use potluck::{Change, Event, Node, NodeId};

/// Events that are kept. Raising it costs about 80 bytes each.
const KEPT: usize = 512;

/// Whether an event is good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Tone {
    Good,
    Bad,
    Plain,
}

impl Tone {
    pub(in crate::http) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::http) struct Entry {
    pub(in crate::http) at: Instant,
    pub(in crate::http) unix_ms: u64,
    pub(in crate::http) tone: Tone,
    /// The event, without the name of the node that it is about.
    pub(in crate::http) what: String,
    pub(in crate::http) node: Option<NodeId>,
    pub(in crate::http) change: Option<Change>,
}

/// The last events.
#[derive(Debug, Default)]
pub(in crate::http) struct Chronicle(Mutex<VecDeque<Entry>>);

impl Chronicle {
    /// Listens to a node until it stops.
    pub(in crate::http) async fn listen(&self, node: &Node) {
        let mut events = node.events();
        while let Some(event) = events.next().await {
            self.note(&event);
        }
    }

    fn note(&self, event: &Event) {
        if let Some((tone, what, node, change)) = told(event) {
            self.push(tone, what.to_owned(), node, change);
        }
    }

    /// Adds an entry that is no event of the node.
    pub(in crate::http) fn push(
        &self,
        tone: Tone,
        what: String,
        node: Option<NodeId>,
        change: Option<Change>,
    ) {
        let (at, unix_ms) = (Instant::now(), super::super::views::now().0);
        let mut entries = self.0.lock();
        if entries.len() >= KEPT {
            entries.pop_front();
        }
        entries.push_back(Entry { at, unix_ms, tone, what, node, change });
    }

    /// The last entries, newest first.
    pub(in crate::http) fn last(&self, most: usize) -> Vec<Entry> {
        self.0.lock().iter().rev().take(most).cloned().collect()
    }

    /// The entries of the last `time`, oldest first.
    pub(in crate::http) fn within(&self, time: Duration) -> Vec<Entry> {
        let entries = self.0.lock();
        entries.iter().filter(|entry| entry.at.elapsed() <= time).cloned().collect()
    }
}

type Told = (Tone, &'static str, Option<NodeId>, Option<Change>);

/// The entry for an event; `None` for links of the overlay, which change all the time.
fn told(event: &Event) -> Option<Told> {
    Some(match event {
        Event::Joined => (Tone::Good, "this node entered the network", None, None),
        Event::Isolated => {
            (Tone::Bad, "this node hears too few others and judges none", None, None)
        }
        Event::Reunited => (Tone::Good, "others are heard again", None, None),
        Event::IdentityElsewhere => {
            (Tone::Bad, "another machine runs with this node's identity", None, None)
        }
        Event::LastResort => (
            Tone::Bad,
            "all entry points are silent; the names of dns_fallback are asked",
            None,
            None,
        ),
        Event::Member(event) => {
            let (tone, what) = match event.change {
                Change::Joined => (Tone::Good, "joined"),
                Change::Suspected => (Tone::Bad, "does not answer"),
                Change::Refuted => (Tone::Good, "answers again"),
                Change::Died => (Tone::Bad, "died"),
                Change::Left => (Tone::Plain, "left"),
                Change::Returned => (Tone::Good, "is back"),
                Change::Revoked => (Tone::Plain, "was put out of the network"),
            };
            (tone, what, Some(event.peer.id), Some(event.change))
        }
        Event::SiblingJoined(_) | Event::SiblingLeft(_) => return None,
        Event::NeighbourUp(_) | Event::NeighbourDown(..) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_are_told_first() {
        let chronicle = Chronicle::default();
        for number in 0..KEPT + 3 {
            chronicle.push(Tone::Plain, number.to_string(), None, None);
        }
        let last = chronicle.last(2);
        assert_eq!(last.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(), ["514", "513"]);
        assert_eq!(chronicle.within(Duration::from_secs(60)).len(), KEPT);
        chronicle.note(&Event::Joined);
        assert_eq!(chronicle.last(1)[0].tone, Tone::Good);
    }
}
