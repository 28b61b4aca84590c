//! Faults: which nodes were disturbed from when until when, as the code that disturbed them knows.

use std::collections::BTreeSet;
use std::time::Duration;

/// What a fault does to its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Their processes do not exist meanwhile.
    Down,
    /// They cannot speak with others, or hear them. Such a node may take itself for the only one
    /// left and acknowledge what no other node can know.
    Cut,
    /// They answer late, or not at all.
    Late,
    /// They answer, but something is wrong with them: a clock, a disk.
    Hindered,
}

/// One disturbance of some nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was done.
    pub name: String,
    /// To which nodes. A node that is cut off from others is disturbed; those on the larger side
    /// of a cut are not.
    pub nodes: BTreeSet<usize>,
    /// What it did to them.
    pub effect: Effect,
    /// When it began.
    pub from: Duration,
    /// When it ended; `None` if it never did.
    pub until: Option<Duration>,
}

/// All faults of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// No fault.
    #[must_use]
    pub const fn none() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds one, and gives its number.
    pub fn push(&mut self, fault: Fault) -> usize {
        self.list.push(fault);
        self.list.len() - 1
    }

    /// Ends the fault with this number.
    pub fn end(&mut self, number: usize, at: Duration) {
        if let Some(fault) = self.list.get_mut(number) {
            fault.until = Some(at);
        }
    }

    /// All of them, in the order in which they were added.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    fn during(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Fault> {
        self.list.iter().filter(move |fault| {
            fault.from <= until && fault.until.is_none_or(|ended| ended >= from)
        })
    }

    /// The nodes that were disturbed at some moment of this time.
    #[must_use]
    pub fn touched(&self, from: Duration, until: Duration) -> BTreeSet<usize> {
        self.during(from, until).flat_map(|fault| fault.nodes.iter().copied()).collect()
    }

    /// The nodes that could not be relied on for an answer at some moment of this time.
    #[must_use]
    pub fn silent(&self, from: Duration, until: Duration) -> BTreeSet<usize> {
        self.during(from, until)
            .filter(|fault| fault.effect != Effect::Hindered)
            .flat_map(|fault| fault.nodes.iter().copied())
            .collect()
    }

    /// Whether this node was disturbed at some moment of this time.
    #[must_use]
    pub fn touches(&self, node: usize, from: Duration, until: Duration) -> bool {
        self.during(from, until).any(|fault| fault.nodes.contains(&node))
    }

    /// Whether this node's process did not exist at some moment of this time.
    #[must_use]
    pub fn is_down(&self, node: usize, from: Duration, until: Duration) -> bool {
        self.during(from, until)
            .any(|fault| fault.effect == Effect::Down && fault.nodes.contains(&node))
    }

    /// Until when this node was cut off, if it was at some moment of this time.
    #[must_use]
    pub fn cut_until(&self, node: usize, from: Duration, until: Duration) -> Option<Duration> {
        self.during(from, until)
            .filter(|fault| fault.effect == Effect::Cut && fault.nodes.contains(&node))
            .map(|fault| fault.until.unwrap_or(Duration::MAX))
            .max()
    }

    /// How long none of these nodes had been disturbed at `at`; zero if one is.
    #[must_use]
    pub fn calm_at(&self, nodes: &[usize], at: Duration) -> Duration {
        let touching = self
            .list
            .iter()
            .filter(|fault| fault.from <= at)
            .filter(|fault| nodes.iter().any(|node| fault.nodes.contains(node)));
        let since = touching.map(|fault| fault.until.unwrap_or(at)).max().unwrap_or_default();
        at.saturating_sub(since)
    }

    /// How much of this time none of these nodes was disturbed.
    #[must_use]
    pub fn calm_within(&self, nodes: &[usize], from: Duration, until: Duration) -> Duration {
        let mut disturbed: Vec<(Duration, Duration)> = self
            .during(from, until)
            .filter(|fault| nodes.iter().any(|node| fault.nodes.contains(node)))
            .map(|fault| (fault.from.max(from), fault.until.unwrap_or(until).min(until)))
            .collect();
        disturbed.sort_unstable();
        let (mut calm, mut reached) = (Duration::ZERO, from);
        for (begin, end) in disturbed {
            calm += begin.saturating_sub(reached);
            reached = reached.max(end);
        }
        calm + until.saturating_sub(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn faults(list: &[(&[usize], Effect, u64, Option<u64>)]) -> Faults {
        let mut faults = Faults::none();
        for (nodes, effect, from, until) in list {
            faults.push(Fault {
                name: "fault".into(),
                nodes: nodes.iter().copied().collect(),
                effect: *effect,
                from: s(*from),
                until: until.map(s),
            });
        }
        faults
    }

    #[test]
    fn a_fault_touches_its_nodes_while_it_lasts() {
        let faults =
            faults(&[(&[1, 2], Effect::Down, 10, Some(20)), (&[2], Effect::Cut, 30, None)]);
        assert!(faults.touches(1, s(5), s(10)) && faults.touches(1, s(20), s(21)));
        assert!(!faults.touches(1, s(21), s(90)) && !faults.touches(3, s(0), s(90)));
        assert!(faults.touches(2, s(80), s(90)));
        assert!(faults.is_down(2, s(0), s(90)) && !faults.is_down(2, s(25), s(90)));
        assert_eq!(faults.touched(s(0), s(40)), BTreeSet::from([1, 2]));
        assert_eq!(faults.cut_until(2, s(0), s(29)), None);
        assert_eq!(faults.cut_until(2, s(0), s(30)), Some(Duration::MAX));
    }

    #[test]
    fn calm_is_what_no_fault_of_the_nodes_takes() {
        let faults =
            faults(&[(&[1], Effect::Late, 10, Some(20)), (&[2], Effect::Hindered, 15, Some(30))]);
        assert_eq!(faults.silent(s(0), s(40)), BTreeSet::from([1]));
        assert_eq!(faults.calm_within(&[1], s(0), s(40)), s(30));
        assert_eq!(faults.calm_within(&[1, 2], s(0), s(40)), s(20));
        assert_eq!(faults.calm_within(&[3], s(0), s(40)), s(40));
        assert_eq!(faults.calm_at(&[1], s(26)), s(6));
        assert_eq!(faults.calm_at(&[1, 2], s(26)), s(0));
        assert_eq!(faults.calm_at(&[1], s(9)), s(9));
    }
}
