//! The rules for member lists.
//!
//! A node that lives and can be reached is not listed as dead for longer than a bound. A killed node is
//! listed as dead after a bound, and at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Verdict;
use super::faults::{Effect, Faults};

/// A node that lives and can be reached is not listed dead.
pub const ALIVE: &str = "a living node is not listed dead";
/// A node that was killed is listed dead.
pub const DEAD: &str = "a killed node is listed dead";

/// The state of one node in the list of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Alive or suspect.
    Living,
    /// Dead, left, or not listed.
    Gone,
}

/// A sample of one node's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The node whose list it is.
    pub observer: usize,
    /// The time.
    pub at: Duration,
    /// Every other node of the run. A node that is not in the list counts as gone.
    pub listed: BTreeMap<usize, Listed>,
}

/// The time limits for a list to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberRules {
    /// Two nodes that have been undisturbed for this long must not list each other as dead.
    pub alive_within: Duration,
    /// After a node has been down for this long, undisturbed nodes must list it as dead.
    pub dead_within: Duration,
}

/// Judges samples of lists. Consecutive wrong samples are one violation.
#[must_use]
pub fn judge(views: &[View], faults: &Faults, rules: &MemberRules) -> Verdict {
    let mut verdict = Verdict { checked: views.len(), ..Verdict::default() };
    let mut going_on: BTreeMap<(usize, usize), &'static str> = BTreeMap::new();
    for view in views {
        for (subject, listed) in &view.listed {
            let pair = (view.observer, *subject);
            let Some(rule) = breach(view, *subject, *listed, faults, rules) else {
                going_on.remove(&pair);
                continue;
            };
            if going_on.insert(pair, rule) != Some(rule) {
                let word = if rule == ALIVE { "gone" } else { "living" };
                let detail = format!("node {} lists node {subject} as {word}", view.observer);
                verdict.note(false, rule, view.at, detail);
            }
        }
    }
    verdict
}

fn breach(
    view: &View,
    subject: usize,
    listed: Listed,
    faults: &Faults,
    rules: &MemberRules,
) -> Option<&'static str> {
    let at = view.at;
    let since = at.saturating_sub(rules.dead_within);
    match listed {
        Listed::Gone => {
            let calm = faults.calm_at(&[view.observer, subject], at);
            (calm > rules.alive_within).then_some(ALIVE)
        }
        Listed::Living => {
            let is_calm = faults.calm_at(&[view.observer], at) > rules.dead_within;
            (is_calm && at > rules.dead_within && was_down_all(faults, subject, since, at))
                .then_some(DEAD)
        }
    }
}

/// Whether one fault kept this node down over the whole time.
fn was_down_all(faults: &Faults, node: usize, from: Duration, until: Duration) -> bool {
    faults.list().iter().any(|fault| {
        fault.effect == Effect::Down
            && fault.nodes.contains(&node)
            && fault.from <= from
            && fault.until.is_none_or(|ended| ended >= until)
    })
}

#[cfg(test)]
mod tests {
    use super::super::faults::Fault;
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const RULES: MemberRules = MemberRules { alive_within: s(10), dead_within: s(10) };

    /// The violations if node 1 lists node 2 like this at these seconds, and a fault lasts from 20 to 60.
    fn broken(
        faulty: usize,
        effect: Effect,
        looks: &[(u64, Listed)],
    ) -> Vec<(&'static str, Duration)> {
        let mut faults = Faults::none();
        faults.push(Fault {
            name: "fault".into(),
            nodes: [faulty].into(),
            effect,
            from: s(20),
            until: Some(s(60)),
        });
        let views: Vec<View> = looks
            .iter()
            .map(|(at, listed)| View { observer: 1, at: s(*at), listed: [(2, *listed)].into() })
            .collect();
        let verdict = judge(&views, &faults, &RULES);
        verdict.violations.iter().map(|violation| (violation.rule, violation.at)).collect()
    }

    #[test]
    fn a_killed_node_may_be_listed_as_living_for_a_while() {
        let looks = [(25, Listed::Living), (29, Listed::Living), (31, Listed::Gone)];
        assert_eq!(broken(2, Effect::Down, &looks), []);
    }

    #[test]
    fn a_killed_node_that_is_listed_as_living_for_longer_breaks_the_rule_once() {
        let looks = [(31, Listed::Living), (32, Listed::Living), (33, Listed::Gone)];
        assert_eq!(broken(2, Effect::Down, &looks), [(DEAD, s(31))]);
    }

    #[test]
    fn a_node_that_is_back_may_be_listed_as_gone_for_a_while() {
        assert_eq!(broken(2, Effect::Down, &[(61, Listed::Gone), (69, Listed::Gone)]), []);
        assert_eq!(broken(2, Effect::Down, &[(71, Listed::Gone)]), [(ALIVE, s(71))]);
    }

    #[test]
    fn two_stretches_are_two_breaches() {
        let looks = [(75, Listed::Gone), (76, Listed::Living), (77, Listed::Gone)];
        assert_eq!(broken(2, Effect::Down, &looks), [(ALIVE, s(75)), (ALIVE, s(77))]);
    }

    #[test]
    fn a_disturbed_observer_or_subject_is_judged_when_it_has_had_its_time() {
        assert_eq!(broken(1, Effect::Cut, &[(40, Listed::Gone), (65, Listed::Gone)]), []);
        assert_eq!(broken(1, Effect::Cut, &[(75, Listed::Gone)]), [(ALIVE, s(75))]);
        assert_eq!(broken(3, Effect::Late, &[(40, Listed::Gone)]), [(ALIVE, s(40))]);
    }

    #[test]
    fn a_node_that_only_stands_still_need_not_be_listed_dead() {
        assert_eq!(broken(2, Effect::Late, &[(50, Listed::Living)]), []);
    }
}
