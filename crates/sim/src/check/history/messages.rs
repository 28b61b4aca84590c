//! The rules for messages.
//!
//! Each accepted message is delivered once to each subscription that was open, in the order of its publisher,
//! or a counted notice of missed messages covers it. The delivery is required only if the publisher and the
//! subscriber were undisturbed for long enough afterwards. A late message was lost on its way and repaired;
//! for it no order is promised. Between undisturbed publishers and subscribers, messages are delivered within
//! a time limit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Verdict;
use super::faults::{Effect, Faults};

/// No message is delivered twice to one subscription.
pub const ONCE: &str = "a message comes once";
/// Only published messages are delivered.
pub const PUBLISHED: &str = "only what was published comes";
/// An accepted message is delivered, or counted as missed.
pub const COMPLETE: &str = "an accepted message comes or is counted as missed";
/// A message that was published long before a subscription is not delivered to it as new.
pub const NEW: &str = "a subscription is told only what is new";
/// A message is delivered soon if neither its publisher nor the subscriber is disturbed.
pub const SOON: &str = "a message comes soon";
/// Messages of one publisher are delivered in the order of their publication.
pub const ORDERED: &str = "messages of one publisher come in their order";

/// A message that a client asked a node to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The node of the client.
    pub node: usize,
    /// The number of the node's process, which grows with every start.
    pub life: u32,
    /// The number of the message, which grows with every message of this node.
    pub number: u64,
    /// The text of the message; unique.
    pub text: String,
    /// When the client sent it to the node.
    pub asked: Duration,
    /// When the node accepted it; `None` if that is unknown.
    pub accepted: Option<Duration>,
}

/// An item that a subscription received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(String),
    /// A notice that messages are missing, and their number if it is known.
    Missed(Option<u64>),
}

/// A subscription from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The node of the subscriber.
    pub node: usize,
    /// The time from which it was open.
    pub opened: Duration,
    /// The time at which it, or the run, ended.
    pub closed: Duration,
    /// The received items in order, with their times.
    pub heard: Vec<(Duration, Heard)>,
}

/// The time limits for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRules {
    /// Undisturbed time that a publisher needs after it accepted a message to pass it to other nodes.
    pub hand_over: Duration,
    /// Undisturbed time of publisher and subscriber after which a message must have been delivered.
    pub patience: Duration,
    /// Time after a fault for which delayed messages may overtake each other.
    pub settle: Duration,
    /// A message that is delivered later than this after it was accepted was repaired, and may come after
    /// later messages.
    pub in_time: Duration,
    /// Most difference between the clocks of nodes. A message dated up to this much before a subscription may
    /// be delivered to it.
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

/// The delivered messages: each was delivered once, and was published.
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

/// Messages that had been published long before the subscription was open. Reported once.
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

/// Messages that were delivered after more undisturbed time than allowed. Reported once for each publisher.
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

/// The order for each publisher. Violations during a fault or shortly after it are excused.
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
