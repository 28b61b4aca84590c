//! The rules of messages.
//!
//! Each accepted message comes once to each subscription that was open, in the order in which its
//! publisher sent it, or a counted word of missed messages covers it. A message is owed only if
//! its publisher and the subscriber lived undisturbed for long enough afterwards. One that came late
//! was lost on its way and asked for again; for those no order is promised. Undisturbed publishers and
//! subscribers do not wait for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Verdict;
use super::faults::{Effect, Faults};

/// No message comes twice to one subscription.
pub const ONCE: &str = "a message comes once";
/// What comes was published.
pub const PUBLISHED: &str = "only what was published comes";
/// An accepted message comes, or is counted as missed.
pub const COMPLETE: &str = "an accepted message comes or is counted as missed";
/// A subscription is not told as new what was published long before it.
pub const NEW: &str = "a subscription is told only what is new";
/// A message comes soon when neither its publisher nor the subscriber is disturbed.
pub const SOON: &str = "a message comes soon";
/// Messages of one publisher come in the order in which it sent them.
pub const ORDERED: &str = "messages of one publisher come in their order";

/// A message that a client asked a node to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its node.
    pub node: usize,
    /// Which process of that node: it grows with every start.
    pub life: u32,
    /// Grows with every message of this node.
    pub number: u64,
    /// What it says; unique.
    pub text: String,
    /// When the node was asked.
    pub asked: Duration,
    /// When the node accepted it; `None` if it is not known whether it did.
    pub accepted: Option<Duration>,
}

/// What a subscription was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(String),
    /// Messages are missing; how many, if that is known.
    Missed(Option<u64>),
}

/// A subscription from its begin to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// At which node.
    pub node: usize,
    /// Since when it was in force.
    pub opened: Duration,
    /// When it ended, or the run.
    pub closed: Duration,
    /// What came, in the order of coming, with the times.
    pub heard: Vec<(Duration, Heard)>,
}

/// From when on a message is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRules {
    /// Undisturbed time that a publisher needs after it accepted a message to hand it to others.
    pub hand_over: Duration,
    /// Undisturbed time of publisher and subscriber after which a message must have come.
    pub patience: Duration,
    /// For how long after a fault messages that were held up may overtake each other.
    pub settle: Duration,
    /// A message that comes later than this after it was accepted was repaired, and may come after
    /// its successors.
    pub in_time: Duration,
    /// By how much the clocks of nodes may differ: a message that is dated this much before a
    /// subscription may come to it.
    pub clocks: Duration,
}

/// Judges the messages of one topic.
#[must_use]
pub fn judge(
    published: &[Publication],
    streams: &[Stream],
    faults: &Faults,
    rules: &MessageRules,
) -> Verdict {
    let by_text: BTreeMap<&str, &Publication> =
        published.iter().map(|publication| (publication.text.as_str(), publication)).collect();
    let mut verdict = Verdict::default();
    for stream in streams {
        let came = came(stream, &by_text, &mut verdict);
        complete(stream, &came, published, faults, rules, &mut verdict);
        new(stream, &by_text, rules, &mut verdict);
        soon(stream, &by_text, faults, rules, &mut verdict);
        in_order(stream, &by_text, faults, rules, &mut verdict);
    }
    verdict.violations.sort_by_key(|violation| violation.at);
    verdict
}

/// The messages that came: each once, and each was published.
fn came<'a>(
    stream: &'a Stream,
    by_text: &BTreeMap<&str, &Publication>,
    verdict: &mut Verdict,
) -> BTreeSet<&'a str> {
    let mut came = BTreeSet::new();
    for (at, heard) in &stream.heard {
        let Heard::Message(text) = heard else { continue };
        verdict.checked += 1;
        let node = stream.node;
        if !came.insert(text.as_str()) {
            verdict.note(false, ONCE, *at, format!("`{text}` came again at node {node}"));
        }
        if !by_text.contains_key(text.as_str()) {
            verdict.note(false, PUBLISHED, *at, format!("`{text}` came at node {node}"));
        }
    }
    came
}

fn complete(
    stream: &Stream,
    came: &BTreeSet<&str>,
    published: &[Publication],
    faults: &Faults,
    rules: &MessageRules,
    verdict: &mut Verdict,
) {
    let mut missing: Vec<(&Publication, Duration)> = published
        .iter()
        .filter(|publication| (stream.opened..stream.closed).contains(&publication.asked))
        .filter(|publication| !came.contains(publication.text.as_str()))
        .filter_map(|publication| Some((publication, publication.accepted?)))
        .collect();
    let is_owed = |publication: &Publication, accepted: Duration| {
        let both = [publication.node, stream.node];
        let spread = faults
            .list()
            .iter()
            .filter(|fault| fault.effect == Effect::Down && fault.from >= accepted)
            .filter(|fault| fault.nodes.contains(&publication.node))
            .map(|fault| fault.from)
            .min()
            .unwrap_or(stream.closed);
        faults.calm_within(&[publication.node], accepted, spread) >= rules.hand_over
            && faults.calm_within(&both, accepted, stream.closed) >= rules.patience
    };
    let all_missing = missing.len();
    missing.retain(|(publication, accepted)| is_owed(publication, *accepted));
    let mut told: u64 = 0;
    for (_, heard) in &stream.heard {
        match heard {
            Heard::Missed(Some(count)) => told = told.saturating_add(*count),
            Heard::Missed(None) => told = u64::MAX,
            Heard::Message(_) => {}
        }
    }
    let node = stream.node;
    if missing.len() as u64 > told
        && let Some((first, accepted)) = missing.first()
    {
        let detail = format!(
            "{} messages did not come at node {node}, {told} were told of; the first is `{}`",
            missing.len(),
            first.text
        );
        verdict.note(false, COMPLETE, *accepted, detail);
    } else if all_missing > 0 {
        let detail = format!("{all_missing} messages did not come at node {node}");
        verdict.note(true, COMPLETE, stream.closed, detail);
    }
}

/// Messages that had been published long before the subscription was in force; told once.
fn new(
    stream: &Stream,
    by_text: &BTreeMap<&str, &Publication>,
    rules: &MessageRules,
    verdict: &mut Verdict,
) {
    let is_old = |publication: &Publication| {
        publication.asked + rules.patience + rules.clocks < stream.opened
    };
    let old: Vec<(Duration, &Publication)> = stream
        .heard
        .iter()
        .filter_map(|(at, heard)| match heard {
            Heard::Message(text) => Some((*at, *by_text.get(text.as_str())?)),
            Heard::Missed(_) => None,
        })
        .filter(|(_, publication)| is_old(publication))
        .collect();
    let oldest = old.iter().map(|(_, publication)| publication.asked).min();
    if let (Some((at, first)), Some(oldest)) = (old.first(), oldest) {
        let age = stream.opened.saturating_sub(oldest).as_secs_f64();
        let detail = format!(
            "{} messages came at node {} that had been published up to {age:.1} s before it \
             subscribed; the first is `{}`",
            old.len(),
            stream.node,
            first.text
        );
        verdict.note(false, NEW, *at, detail);
    }
}

/// Messages that came after more undisturbed time than they may take; told once a publisher.
fn soon(
    stream: &Stream,
    by_text: &BTreeMap<&str, &Publication>,
    faults: &Faults,
    rules: &MessageRules,
    verdict: &mut Verdict,
) {
    let mut late: BTreeMap<usize, (usize, Duration, Duration)> = BTreeMap::new();
    for (at, heard) in &stream.heard {
        let Heard::Message(text) = heard else { continue };
        let Some(publication) = by_text.get(text.as_str()) else { continue };
        let Some(accepted) = publication.accepted else { continue };
        let both = [publication.node, stream.node];
        if publication.asked < stream.opened {
            continue;
        }
        if at.saturating_sub(accepted) <= rules.patience
            || faults.calm_within(&both, accepted, *at) <= rules.patience
        {
            continue;
        }
        let (count, first, most) =
            late.entry(publication.node).or_insert((0, accepted, Duration::ZERO));
        *count += 1;
        *first = accepted.min(*first);
        *most = (*most).max(at.saturating_sub(accepted));
    }
    for (publisher, (count, first, most)) in late {
        let detail = format!(
            "{count} messages of node {publisher} came at node {} up to {:.1} s late",
            stream.node,
            most.as_secs_f64()
        );
        verdict.note(false, SOON, first, detail);
    }
}

/// The order of each publisher; excused where a fault went on, or had a moment before.
fn in_order(
    stream: &Stream,
    by_text: &BTreeMap<&str, &Publication>,
    faults: &Faults,
    rules: &MessageRules,
    verdict: &mut Verdict,
) {
    let mut highest: BTreeMap<(usize, u32), &Publication> = BTreeMap::new();
    for (at, heard) in &stream.heard {
        let Heard::Message(text) = heard else { continue };
        let Some(publication) = by_text.get(text.as_str()) else { continue };
        let before = highest.entry((publication.node, publication.life)).or_insert(publication);
        if before.number > publication.number {
            let from = publication.asked.saturating_sub(rules.settle);
            let sent = publication.accepted.unwrap_or(publication.asked);
            let excused =
                at.saturating_sub(sent) > rules.in_time || !faults.touched(from, *at).is_empty();
            let detail = format!("`{text}` came after `{}` at node {}", before.text, stream.node);
            verdict.note(excused, ORDERED, *at, detail);
        } else {
            *before = publication;
        }
    }
}

#[cfg(test)]
mod tests;
