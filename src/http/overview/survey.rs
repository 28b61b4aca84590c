//! Finds the records of this node that have too few replicas, more than one value, or little time left: reads
//! the names that this node holds, and asks the replicas of a few of them at a time.
//!
//! **Invariants:** one step reads at most [`PAGES_MAX`] pages of names from the own store and asks the
//! replicas of at most [`STEP_KEYS`] records; the answers of the last [`REMEMBERED`] are kept. No
//! step begins unless a viewer looked a minute ago or less.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use potluck::{Key, Node, ReplicaState, Space, ask};
use potluck_record::{NAMES_PAGE_MAX, NamedState, NamesQuery};

use super::super::app::App;
use crate::api::{RecordFigures, RecordTrouble};

/// Time between two steps. A shorter one costs requests; a round through 1,000 names takes 40 minutes.
pub(super) const PACE: Duration = Duration::from_secs(20);
/// Records whose replicas one step asks.
const STEP_KEYS: usize = 8;
/// Records whose last answers are kept.
const REMEMBERED: usize = 64;
/// Pages of names that one step reads from the own store.
const PAGES_MAX: usize = 4;
/// Records in the answer.
const WORST_MAX: usize = 8;
/// Records that end within this time are shown.
const SOON: Duration = Duration::from_secs(24 * 3600);

/// The answers of the replicas of one record.
#[derive(Debug, Clone)]
pub(in crate::http) struct Asked {
    pub(in crate::http) name: String,
    /// Replicas with the whole state, behind it, without the record, and without an answer.
    pub(in crate::http) equal: usize,
    pub(in crate::http) behind: usize,
    pub(in crate::http) missing: usize,
    pub(in crate::http) silent: usize,
    /// Replicas that hold a value which others lack, and lack one that others hold.
    pub(in crate::http) concurrent: usize,
    /// The ids of those that are not equal.
    pub(in crate::http) others: Vec<(String, &'static str)>,
    /// Values that a reader sees.
    pub(in crate::http) values: u32,
    /// Replicas that the record should have.
    pub(in crate::http) wanted: usize,
}

impl Asked {
    /// Replicas that hold any part of it.
    pub(in crate::http) fn holders(&self) -> usize {
        self.equal + self.behind + self.concurrent
    }

    /// Whether it has fewer replicas than it should.
    pub(in crate::http) fn is_short(&self) -> bool {
        self.holders() < self.wanted
    }
}

/// The results of a survey so far.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Survey {
    after: Option<String>,
    asked: VecDeque<Asked>,
    names: usize,
    conflicted: Vec<String>,
    expiring: Vec<(String, u64)>,
    last: Option<Instant>,
}

impl Survey {
    /// Whether the next step is due.
    pub(super) fn is_due(&self) -> bool {
        self.last.is_none_or(|at| at.elapsed() >= PACE)
    }

    /// The figures for the overview.
    pub(super) fn fill(&self, figures: &mut RecordFigures) {
        figures.surveyed = self.asked.len();
        figures.names = self.names;
        figures.under_replicated = self.asked.iter().filter(|it| it.is_short()).count();
        figures.conflicted = self.conflicted.len();
        figures.expiring_1d = self.expiring.len();
        figures.surveyed_seconds_ago = self.last.map(|at| at.elapsed().as_secs());
        figures.worst = self.worst();
    }

    fn worst(&self) -> Vec<RecordTrouble> {
        let of = |name: &str, state: &str, why: String| RecordTrouble {
            name: name.to_owned(),
            state: state.to_owned(),
            why,
        };
        let mut short: Vec<&Asked> = self.asked.iter().filter(|it| it.is_short()).collect();
        short.sort_by_key(|it| it.holders());
        let short = short.into_iter().map(|it| {
            let why = format!("{} of {} replicas hold it", it.holders(), it.wanted);
            of(&it.name, "underReplicated", why)
        });
        let several = self.conflicted.iter().map(|name| {
            of(name, "conflicted", "more than one value: potluck merge settles it".to_owned())
        });
        let ending = self.expiring.iter().map(|(name, seconds)| {
            let time = crate::commands::table::span(*seconds);
            of(name, "expiring", format!("ends in {time} unless its writer renews it"))
        });
        short.chain(several).chain(ending).take(WORST_MAX).collect()
    }
}

/// Replicas that a record should have: the network's setting, but no more than there are members.
pub(in crate::http) async fn wanted(app: &App) -> usize {
    let replication = match app.node().network_settings().await {
        Ok(settings) => settings.effective.replication,
        Err(_) => app.live().settings.protocol.kv.replication,
    };
    let alive = match app.node().ask(ask::Stats {}).await {
        Ok(stats) => stats.gossip.members.alive + 1,
        Err(_) => 1,
    };
    usize::from(replication).min(alive)
}

/// Names that a node holds in the space `commons`.
pub(in crate::http) async fn names_here(node: &Node, pages: usize) -> Vec<NamedState> {
    let (mut names, mut after) = (Vec::new(), None);
    for _ in 0..pages {
        let query = NamesQuery {
            space: Space::Commons,
            prefix: String::new(),
            after: after.take(),
            until: None,
            limit: NAMES_PAGE_MAX,
        };
        let Ok(page) = node.ask(ask::NamesHere { query }).await else { break };
        names.extend(page.names);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    names
}

/// Asks the replicas of one record.
pub(in crate::http) async fn ask_replicas(
    node: &Node,
    state: &NamedState,
    wanted: usize,
) -> Option<Asked> {
    let key = Space::Commons.key(&state.name)?;
    let subject = Subject { name: state.name.as_str(), key, values: state.values };
    ask_key(node, subject, wanted).await
}

/// The record whose replicas are asked.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Subject<'a> {
    pub(in crate::http) name: &'a str,
    pub(in crate::http) key: Key,
    /// Values that a reader sees.
    pub(in crate::http) values: u32,
}

/// Asks the replicas of one record.
pub(in crate::http) async fn ask_key(
    node: &Node,
    Subject { name, key, values }: Subject<'_>,
    wanted: usize,
) -> Option<Asked> {
    let replicas = node.ask(ask::Replicas { key }).await.ok()?;
    let mut asked = Asked {
        name: name.to_owned(),
        equal: 0,
        behind: 0,
        missing: 0,
        silent: 0,
        concurrent: 0,
        others: Vec::new(),
        values,
        wanted,
    };
    for (peer, state) in replicas {
        *match state {
            ReplicaState::Equal | ReplicaState::Ahead => &mut asked.equal,
            ReplicaState::Behind => &mut asked.behind,
            ReplicaState::Concurrent => &mut asked.concurrent,
            ReplicaState::Missing => &mut asked.missing,
            ReplicaState::Unreachable => &mut asked.silent,
        } += 1;
        if state != ReplicaState::Equal {
            asked.others.push((peer.id.to_string(), state.as_str()));
        }
    }
    Some(asked)
}

/// One step: reads the names of this node, and asks the replicas of the next few. `now_ms` is the wall clock.
pub(super) async fn step(node: &Node, before: Survey, wanted: usize, now_ms: u64) -> Survey {
    let names = names_here(node, PAGES_MAX).await;
    let Survey { after, mut asked, .. } = before;
    let from = match &after {
        Some(after) => names.iter().position(|it| it.name.as_str() > after.as_str()).unwrap_or(0),
        None => 0,
    };
    let next: Vec<&NamedState> =
        names.iter().cycle().skip(from).take(STEP_KEYS.min(names.len())).collect();
    let after = next.last().map(|it| it.name.to_string());
    for state in next {
        let Some(one) = ask_replicas(node, state, wanted).await else { continue };
        asked.retain(|it| it.name != one.name);
        if asked.len() >= REMEMBERED {
            asked.pop_front();
        }
        asked.push_back(one);
    }
    let known = |name: &String| names.iter().any(|it| it.name.as_str() == name);
    asked.retain(|it| known(&it.name));
    let conflicted = names.iter().filter(|it| it.values > 1).map(|it| it.name.to_string());
    let soon = SOON.as_millis() as u64;
    let ending = names.iter().filter(|it| it.values > 0 && it.expires.0 < now_ms + soon);
    let ending = ending.map(|it| (it.name.to_string(), it.expires.0.saturating_sub(now_ms) / 1000));
    Survey {
        after,
        names: names.len(),
        conflicted: conflicted.collect(),
        expiring: ending.collect(),
        asked,
        last: Some(Instant::now()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, equal: usize, missing: usize) -> Asked {
        Asked {
            name: name.into(),
            equal,
            behind: 0,
            missing,
            silent: 0,
            concurrent: 0,
            others: Vec::new(),
            values: 1,
            wanted: 3,
        }
    }

    #[test]
    fn the_record_with_fewest_replicas_is_told_first() {
        let survey = Survey {
            asked: [asked("a", 3, 0), asked("b", 2, 1), asked("c", 1, 2)].into(),
            names: 5,
            conflicted: vec!["d".into()],
            expiring: vec![("e".into(), 3700)],
            last: Some(Instant::now()),
            after: None,
        };
        let mut figures = RecordFigures::default();
        survey.fill(&mut figures);
        assert_eq!((figures.surveyed, figures.under_replicated, figures.conflicted), (3, 2, 1));
        let worst: Vec<_> = figures.worst.iter().map(|it| (&*it.name, &*it.state)).collect();
        let expected = [
            ("c", "underReplicated"),
            ("b", "underReplicated"),
            ("d", "conflicted"),
            ("e", "expiring"),
        ];
        assert_eq!(worst, expected);
        assert_eq!(figures.worst[0].why, "1 of 3 replicas hold it");
    }
}
