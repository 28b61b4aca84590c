//! Judges whether a node can do its work: the only place that does.
//!
//! [`judge`] is a pure function of [`Facts`], the state of a node at one moment. The health word shown to
//! people, the answer of `/readyz`, [`Node::ready`](crate::Node::ready) and the advice beside a failed
//! command all come from its [`Verdict`].
//!
//! **Invariants:** a node is ready exactly when it is not [`Health::Offline`]; a verdict other than
//! [`Health::Ok`] has a reason, and each reason says what to do.

use std::fmt;
use std::time::Duration;

use potluck_dht::REMEMBERED_TIMEOUT;
use potluck_link::OwnTrouble;
use potluck_record::limits::CLOCK_AHEAD_MAX;

/// A clock that is off by more than this is reported: a quarter of the offset that other nodes tolerate, so
/// that there is time to set it.
pub const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(60);

/// Whether a node can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It can.
    Ok,
    /// It can, with restrictions that the reasons name.
    Degraded,
    /// It cannot: it hears no node although others should exist, or its store has stopped.
    Offline,
}

impl Health {
    /// The word that is shown to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
        }
    }
}

/// The state of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreState {
    /// It works.
    #[default]
    Ok,
    /// It has no room for more.
    Full,
    /// It works again once damage on the disk is repaired.
    Healing,
    /// It stopped with this error and needs a restart.
    Stopped(String),
}

/// The state of a node at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Time since the start.
    pub uptime: Duration,
    /// Whether the node has joined the network at any time since the start.
    pub joined: bool,
    /// Other nodes that answer.
    pub peers: usize,
    /// Other nodes that this one knew before, in this run or the last one, and that did not leave.
    pub peers_before: usize,
    /// Time since another node was last heard; `None` while other nodes answer.
    pub alone_for: Option<Duration>,
    /// Configured entry points.
    pub entry_points: usize,
    /// Entry points that were tried.
    pub entry_points_tried: usize,
    /// Entry points that have answered since the start.
    pub entry_points_answered: usize,
    /// Names of `[network] dns_fallback` that are in use, since all entry points are silent.
    pub fallback: usize,
    /// Names of `[network] dns_fallback` at which a node has answered since the start.
    pub fallback_answered: usize,
    /// Whether the network's nodes answer only nodes with a certificate.
    pub invite: bool,
    /// Why other nodes do not answer this node, as far as it knows.
    pub own_trouble: Option<OwnTrouble>,
    /// Whether strangers need a work stamp to store here now.
    pub stamps_needed: bool,
    /// Why the node has not got a new certificate, in a sentence.
    pub renewal_trouble: Option<String>,
    /// The state of the store of records.
    pub store: StoreState,
    /// Milliseconds by which the peers' clocks are ahead of the own one; negative: the own clock is ahead.
    /// `None`: not known.
    pub clock_offset_ms: Option<i64>,
    /// Whether another machine runs with this node's identity.
    pub identity_elsewhere: bool,
    /// Own records whose renewal is late.
    pub renewals_late: u64,
    /// Time by which the renewal of all own records is behind the republish interval.
    pub republish_lag: Duration,
    /// Whether the node is leaving.
    pub leaving: bool,
}

/// A reason why a node cannot do its work, or only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// A word for programs; the same cause always has the same one.
    pub code: &'static str,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// The health that it leads to.
    pub health: Health,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The result of [`judge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The health word.
    pub health: Health,
    /// The reasons, the worst first; empty if and only if all is well.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether the node can be used.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.health != Health::Offline
    }

    /// The verdict in one sentence: the worst reason with what to do, and the number of further ones.
    /// `status`, `top`, the dashboard and `doctor` show the same words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let word = self.health.as_str();
        match self.reasons.split_first() {
            None => format!("{word}: this node does its work"),
            Some((worst, [])) => format!("{word}: {worst}"),
            Some((worst, more)) => format!("{word}: {worst} (and {} more)", more.len()),
        }
    }

    /// The reasons as sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.reasons.iter().map(ToString::to_string).collect()
    }
}

/// Judges the facts.
#[must_use]
pub fn judge(facts: &Facts) -> Verdict {
    let all = [
        store(facts),
        membership(facts),
        company(facts),
        identity(facts),
        clock(facts),
        lives(facts),
    ];
    let mut reasons: Vec<Reason> = all.into_iter().flatten().collect();
    if let Some(trouble) = &facts.renewal_trouble {
        reasons.push(degraded("member.renewal", trouble.clone()));
    }
    if facts.stamps_needed {
        reasons.push(degraded(
            "store.stamps",
            "strangers store so much here, or the store has so little room, that each of their stores needs a \
             work stamp: nothing is to be done, it ends half a minute after the flood; if it stays, make room \
             or raise [store] disk_bytes"
                .to_owned(),
        ));
    }
    if facts.leaving {
        reasons.push(degraded("node.leaving", "this node is leaving the network".to_owned()));
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.health));
    let health = reasons.first().map_or(Health::Ok, |worst| worst.health);
    Verdict { health, reasons }
}

fn degraded(code: &'static str, message: String) -> Reason {
    Reason { code, message, health: Health::Degraded }
}

fn offline(code: &'static str, message: String) -> Reason {
    Reason { code, message, health: Health::Offline }
}

fn store(facts: &Facts) -> Option<Reason> {
    match &facts.store {
        StoreState::Ok => None,
        StoreState::Full => Some(degraded(
            "store.full",
            "the disk of the data folder has no room, so new records are refused: make room, or raise \
             [store] disk_bytes or records if that is the limit"
                .to_owned(),
        )),
        StoreState::Healing => Some(degraded(
            "store.healing",
            "damage on the disk was met; the store writes its records anew without it, which takes about a \
             minute for ten million, and other nodes answer meanwhile: look after the disk if this \
             comes back"
                .to_owned(),
        )),
        StoreState::Stopped(why) => Some(offline(
            "store.stopped",
            format!(
                "the store stopped ({why}), so nothing is read or written: look after the disk, then \
                 restart the node"
            ),
        )),
    }
}

/// The reason why other nodes do not answer this node, as far as it knows one.
fn membership(facts: &Facts) -> Option<Reason> {
    match facts.own_trouble? {
        OwnTrouble::Revoked => Some(offline(
            "member.revoked",
            "this node was put out of the network, so no node answers it: to come back it needs a new \
             ticket (potluck invite, where the authority key is) and a new identity (potluck up \
             --new-identity)"
                .to_owned(),
        )),
        OwnTrouble::FromAhead => Some(degraded(
            "member.fromAhead",
            "this node's certificate is dated ahead of its clock, so nodes with a right clock do not \
             answer it: set this machine's clock, or that of the node that signed the certificate"
                .to_owned(),
        )),
        OwnTrouble::Unsolved => Some(offline(
            "member.unsolved",
            "this node has no solution of the network's puzzle for this week, so no node answers it: it is \
             making one, which takes seconds; if this stays, check this machine's clock"
                .to_owned(),
        )),
        OwnTrouble::Expired => {
            let message = "this node's certificate has expired, so no node answers it: check this \
                           machine's clock, and start the node that holds the authority key, which renews \
                           it"
            .to_owned();
            // A peer that still answers has another time on its clock.
            Some(if facts.peers == 0 {
                offline("member.expired", message)
            } else {
                degraded("member.expired", message)
            })
        }
    }
}

/// The reason if nodes are missing that should be there.
fn company(facts: &Facts) -> Option<Reason> {
    let Facts { peers, peers_before, entry_points, joined, uptime, .. } = *facts;
    // The nodes of the last run may be gone for good: then this node is the only one left.
    let waits = uptime < REMEMBERED_TIMEOUT;
    let awaited = entry_points > 0 || (peers_before > 0 && waits);
    if peers > 0 {
        return (!joined && awaited)
            .then(|| {
                offline(
                    "network.joining",
                    "this node is entering the network: wait a moment".to_owned(),
                )
            })
            .or_else(|| apart(facts));
    }
    if facts.own_trouble.is_some() {
        return None;
    }
    let time = span(facts.alone_for.unwrap_or(uptime));
    let resort = last_resort(facts);
    let elsewhere = if facts.invite { "; or it was put out of the network" } else { "" };
    // A node that is revoked while it is away cannot learn it.
    let out = if facts.invite { ", and on another node that this one was not put out" } else { "" };
    if joined && peers_before + entry_points > 0 {
        let knew =
            if peers_before > 0 { format!(" ({peers_before} known)") } else { String::new() };
        return Some(offline(
            "network.cut-off",
            format!(
                "no other node{knew} has been heard for {time}: check this machine's network{out}; it goes \
                 on trying{resort}"
            ),
        ));
    }
    if entry_points > 0 {
        let Facts { entry_points_tried: tried, entry_points_answered: answered, .. } = *facts;
        return Some(offline(
            "network.entry",
            format!(
                "no entry point lets this node in ({tried} of {entry_points} tried, {answered} answered, \
                 for {time}): check their addresses and that they run in this network{out}; it goes on \
                 trying{resort}"
            ),
        ));
    }
    if peers_before == 0 {
        // A network of one node has no others to wait for.
        return None;
    }
    Some(if waits {
        offline(
            "network.waiting",
            format!(
                "no node of the last run ({peers_before} known) has answered for {time}: wait, or start one of \
                 them{resort}"
            ),
        )
    } else {
        degraded(
            "network.alone",
            format!(
                "no node of the last run ({peers_before} known) has answered for {time}, so this one works \
                 alone: start one of them, or name one with potluck join{elsewhere}{resort}"
            ),
        )
    })
}

/// A node that hears others but none of its entry points may be in one part of a partitioned network.
fn apart(facts: &Facts) -> Option<Reason> {
    let Facts { entry_points, fallback, fallback_answered, .. } = *facts;
    (entry_points > 0 && fallback > 0).then(|| {
        let brought = match fallback_answered {
            0 => "lead to no node yet",
            _ => "are asked in their place",
        };
        degraded(
            "network.fallback",
            format!(
                "none of the {entry_points} entry points answers, so others may be out of sight, and the names \
                 of [network] dns_fallback {brought}: start one of the entry points, or name others"
            ),
        )
    })
}

/// The result of `dns_fallback` as an end of a sentence; empty if it is not in use.
fn last_resort(facts: &Facts) -> String {
    let Facts { fallback, fallback_answered, .. } = *facts;
    match (fallback, fallback_answered) {
        (0, _) => String::new(),
        (1, 0) => "; the name of [network] dns_fallback is asked too and leads to no node".into(),
        (_, 0) => {
            format!(
                "; the {fallback} names of [network] dns_fallback are asked too and lead to no node"
            )
        }
        _ => "; the names of [network] dns_fallback are asked too".into(),
    }
}

fn identity(facts: &Facts) -> Option<Reason> {
    facts.identity_elsewhere.then(|| {
        degraded(
            "identity.elsewhere",
            "another machine runs with this node's identity, so neither writes anything any more: start one \
             of them again with an identity of its own (potluck up --new-identity), then the other as it is"
                .to_owned(),
        )
    })
}

fn clock(facts: &Facts) -> Option<Reason> {
    let offset = facts.clock_offset_ms?;
    let by = Duration::from_millis(offset.unsigned_abs());
    (by > CLOCK_OFFSET_MAX).then(|| {
        let where_to = if offset < 0 { "ahead of" } else { "behind" };
        let effect = if by > CLOCK_AHEAD_MAX {
            "so it writes nothing"
        } else {
            "and above five minutes it will write nothing"
        };
        degraded(
            "clock.off",
            format!(
                "this machine's clock is {} {where_to} those of the other nodes, {effect}: set it, and let it \
                 be kept by NTP",
                span(by)
            ),
        )
    })
}

/// The reason if this node's own records are not renewed in time.
fn lives(facts: &Facts) -> Option<Reason> {
    if facts.renewals_late > 0 {
        let records = match facts.renewals_late {
            1 => "1 record of this node is".to_owned(),
            more => format!("{more} records of this node are"),
        };
        return Some(degraded(
            "records.renewal",
            format!(
                "{records} past half of their life by more than a tenth and not renewed yet, so they will \
                 end: keep this node running and connected until they are"
            ),
        ));
    }
    (!facts.republish_lag.is_zero()).then(|| {
        degraded(
            "records.republish",
            format!(
                "storing this node's own records again is {} behind its interval: raise republish_interval",
                span(facts.republish_lag)
            ),
        )
    })
}

/// A time in the largest unit of which it has at least two.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} minutes", seconds / 60),
        seconds @ 7200..172_800 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
