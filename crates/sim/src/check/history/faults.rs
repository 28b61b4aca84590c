//! Faults: which nodes were disturbed and when, according to the code that caused the faults.

use std::collections::BTreeSet;
use std::time::Duration;

/// The effect of a fault on its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Their processes do not run.
    Down,
    /// They cannot reach other nodes, or are not reached by them. Such a node may declare all others dead and
    /// acknowledge writes that no other node knows.
    Cut,
    /// They answer late or not at all.
    Late,
    /// They answer, but with a fault such as a wrong clock or a full disk.
    Hindered,
}

/// One fault of some nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The name of the fault.
    pub name: String,
    /// The disturbed nodes. In a partition these are the nodes of the smaller side.
    pub nodes: BTreeSet<usize>,
    /// The effect on them.
    pub effect: Effect,
    /// When it began.
    pub from: Duration,
    /// When it ended; `None` if it did not.
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

    /// Adds a fault and returns its number.
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

    /// All faults, in the order in which they were added.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    fn during(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Fault> {
        self.list.iter().filter(move |fault| {
            fault.from <= until && fault.until.is_none_or(|ended| ended >= from)
        })
    }

    /// The nodes that were disturbed at any moment of this time.
    #[must_use]
    pub fn touched(&self, from: Duration, until: Duration) -> BTreeSet<usize> {
        self.during(from, until).flat_map(|fault| fault.nodes.iter().copied()).collect()
    }

    /// The nodes that could not be relied on for an answer at any moment of this time.
    #[must_use]
    pub fn silent(&self, from: Duration, until: Duration) -> BTreeSet<usize> {
        self.during(from, until)
            .filter(|fault| fault.effect != Effect::Hindered)
            .flat_map(|fault| fault.nodes.iter().copied())
            .collect()
    }

    /// Whether this node was disturbed at any moment of this time.
    #[must_use]
    pub fn touches(&self, node: usize, from: Duration, until: Duration) -> bool {
        self.during(from, until).any(|fault| fault.nodes.contains(&node))
    }

    /// Whether this node's process was not running at any moment of this time.
    #[must_use]
    pub fn is_down(&self, node: usize, from: Duration, until: Duration) -> bool {
        self.during(from, until)
            .any(|fault| fault.effect == Effect::Down && fault.nodes.contains(&node))
    }

    /// Until when this node was cut off, if it was at any moment of this time.
    #[must_use]
    pub fn cut_until(&self, node: usize, from: Duration, until: Duration) -> Option<Duration> {
        self.during(from, until)
            .filter(|fault| fault.effect == Effect::Cut && fault.nodes.contains(&node))
            .map(|fault| fault.until.unwrap_or(Duration::MAX))
            .max()
    }

    /// For how long none of these nodes had been disturbed at `at`; zero if one is.
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

    /// The part of this time in which none of these nodes was disturbed.
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
