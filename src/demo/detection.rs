//! How long survivors take to declare killed members dead.

use std::time::{Duration, Instant};

use super::clients::quantile;
use super::node::{DemoNode, wait_until};
use crate::api::Member;
use crate::failure::{Exit, Failure};

/// Pause between two polls of the survivors, and thus the resolution of the figures. Raising it lowers
/// the load on them.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time for survivors to list all nodes that are about to be killed as members.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(20);

/// The deaths that survivors have not noticed yet, and the times of those they have.
#[derive(Debug)]
pub(super) struct Watch {
    /// Pairs of a survivor's index and the id of a killed member that it knew.
    open: Vec<(usize, String)>,
    /// Seconds from the kill until each pair was closed.
    noticed: Vec<f64>,
}

/// How long the detection of the deaths took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Detection {
    pub(super) median_seconds: f64,
    pub(super) max_seconds: f64,
    /// Pairs noticed, and pairs not noticed in time.
    pub(super) noticed: usize,
    pub(super) missed: usize,
}

impl Watch {
    /// Waits until every survivor lists each target as a member.
    pub(super) fn begin(survivors: &[DemoNode], targets: &[DemoNode]) -> Result<Self, Failure> {
        let deadline = Instant::now() + MEMBERS_TIMEOUT;
        for survivor in survivors {
            let knows_all = || {
                let members = survivor.members()?;
                let is_known = |node: &DemoNode| members.iter().any(|it| it.id == node.id);
                Ok(targets.iter().all(is_known))
            };
            if !wait_until(deadline, POLL_INTERVAL, knows_all)? {
                let message = "a node did not get to know all members in time";
                return Err(Failure::new(Exit::Unavailable, "timeout", message)
                    .hint("the machine may be too busy for this number of nodes"));
            }
        }
        let pairs = (0..survivors.len())
            .flat_map(|index| targets.iter().map(move |node| (index, node.id.clone())));
        Ok(Self { open: pairs.collect(), noticed: Vec::new() })
    }

    /// Polls the survivors until each lists every killed member as dead, or `timeout` is over.
    pub(super) fn run(
        mut self,
        survivors: &[DemoNode],
        killed_at: Instant,
        timeout: Duration,
    ) -> Result<Detection, Failure> {
        while !self.open.is_empty() && killed_at.elapsed() < timeout {
            for (index, survivor) in survivors.iter().enumerate() {
                if self.open.iter().any(|(watcher, _)| *watcher == index) {
                    let members = survivor.members()?;
                    self.note(index, &members, killed_at.elapsed());
                }
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(self.result())
    }

    fn note(&mut self, survivor: usize, members: &[Member], after: Duration) {
        let noticed = &mut self.noticed;
        let is_dead = |id: &str| members.iter().any(|it| it.id == id && it.state == "dead");
        self.open.retain(|(watcher, killed)| {
            let still_open = *watcher != survivor || !is_dead(killed);
            if !still_open {
                noticed.push(after.as_secs_f64());
            }
            still_open
        });
    }

    fn result(mut self) -> Detection {
        self.noticed.sort_by(f64::total_cmp);
        Detection {
            median_seconds: quantile(&self.noticed, 0.5),
            max_seconds: self.noticed.last().copied().unwrap_or(0.0),
            noticed: self.noticed.len(),
            missed: self.open.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, state: &str) -> Member {
        Member {
            id: id.to_owned(),
            address: String::new(),
            state: state.to_owned(),
            incarnation: 1,
            labels: Default::default(),
            version: None,
            protocol: None,
            protocol_min: None,
            is_self: false,
        }
    }

    #[test]
    fn a_death_is_noticed_when_the_member_is_held_for_dead() {
        let pair = |watcher: usize, dead: &str| (watcher, dead.to_owned());
        let mut watch =
            Watch { open: vec![pair(0, "a"), pair(1, "a"), pair(1, "b")], noticed: Vec::new() };
        let seen = [member("a", "dead"), member("b", "suspect"), member("c", "alive")];
        watch.note(1, &seen, Duration::from_secs(2));
        watch.note(0, &[member("a", "dead")], Duration::from_secs(4));
        let detection = watch.result();
        assert_eq!((detection.noticed, detection.missed), (2, 1));
        assert_eq!((detection.median_seconds, detection.max_seconds), (2.0, 4.0));
    }
}
