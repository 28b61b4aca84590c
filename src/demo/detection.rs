//! How long survivors take to notice that others are gone.

use std::time::{Duration, Instant};

use super::crowd::quantile;
use super::guest::{Guest, wait_until};
use crate::api::Member;
use crate::failure::{Exit, Failure};

/// How often survivors are asked: the figures are this exact.
const PAUSE: Duration = Duration::from_millis(50);

/// How long survivors may take to get to know of those that are about to be killed.
const ACQUAINTANCE: Duration = Duration::from_secs(20);

/// Who has yet to notice whose death.
#[derive(Debug)]
pub(super) struct Watch {
    /// Pairs of a survivor and one of the killed that it knew.
    open: Vec<(usize, String)>,
    /// How long each pair took.
    noticed: Vec<f64>,
}

/// How it went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Detection {
    pub(super) median_seconds: f64,
    pub(super) max_seconds: f64,
    /// Pairs noticed, and pairs not noticed in time.
    pub(super) noticed: usize,
    pub(super) missed: usize,
}

impl Watch {
    /// Waits until every survivor knows everybody who is about to be killed as a member.
    pub(super) fn begin(survivors: &[Guest], doomed: &[Guest]) -> Result<Self, Failure> {
        let deadline = Instant::now() + ACQUAINTANCE;
        for survivor in survivors {
            let knows_all = || {
                let members = survivor.members()?;
                let is_known = |guest: &Guest| members.iter().any(|it| it.id == guest.id);
                Ok(doomed.iter().all(is_known))
            };
            if !wait_until(deadline, PAUSE, knows_all)? {
                let message = "a node did not get to know all members in time";
                return Err(Failure::new(Exit::Unavailable, "timeout", message)
                    .hint("the machine may be too busy for so many nodes"));
            }
        }
        let pairs = (0..survivors.len())
            .flat_map(|index| doomed.iter().map(move |guest| (index, guest.id.clone())));
        Ok(Self { open: pairs.collect(), noticed: Vec::new() })
    }

    /// Asks the survivors until each holds every one of the killed for dead, or time is over.
    pub(super) fn run(
        mut self,
        survivors: &[Guest],
        killed_at: Instant,
        patience: Duration,
    ) -> Result<Detection, Failure> {
        while !self.open.is_empty() && killed_at.elapsed() < patience {
            for (index, survivor) in survivors.iter().enumerate() {
                if self.open.iter().any(|(watcher, _)| *watcher == index) {
                    let members = survivor.members()?;
                    self.note(index, &members, killed_at.elapsed());
                }
            }
            std::thread::sleep(PAUSE);
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
