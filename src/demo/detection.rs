//! How long survivors take to notice that others are gone.

use std::time::{Duration, Instant};

use super::crowd::quantile;
use super::guest::Guest;
use crate::failure::Failure;

/// How often survivors are asked: the figures are this exact.
const PAUSE: Duration = Duration::from_millis(50);

/// Who knew of whom before the kills.
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
    /// Notes which survivors know which of those that are about to be killed.
    pub(super) fn begin(survivors: &[Guest], doomed: &[Guest]) -> Result<Self, Failure> {
        let mut open = Vec::new();
        for (index, survivor) in survivors.iter().enumerate() {
            let peers = survivor.peers()?;
            let known = doomed.iter().filter(|guest| peers.contains(&guest.id));
            open.extend(known.map(|guest| (index, guest.id.clone())));
        }
        Ok(Self { open, noticed: Vec::new() })
    }

    /// Asks the survivors until each has noticed every death it could notice, or time is over.
    pub(super) fn run(
        mut self,
        survivors: &[Guest],
        killed_at: Instant,
        patience: Duration,
    ) -> Result<Detection, Failure> {
        while !self.open.is_empty() && killed_at.elapsed() < patience {
            for (index, survivor) in survivors.iter().enumerate() {
                if self.open.iter().any(|(watcher, _)| *watcher == index) {
                    let peers = survivor.peers()?;
                    self.note(index, &peers, killed_at.elapsed());
                }
            }
            std::thread::sleep(PAUSE);
        }
        Ok(self.result())
    }

    fn note(&mut self, survivor: usize, peers: &[String], after: Duration) {
        let noticed = &mut self.noticed;
        self.open.retain(|(watcher, dead)| {
            let still_open = *watcher != survivor || peers.contains(dead);
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

    #[test]
    fn a_death_is_noticed_when_the_peer_is_gone_from_the_list() {
        let pair = |watcher: usize, dead: &str| (watcher, dead.to_owned());
        let mut watch =
            Watch { open: vec![pair(0, "a"), pair(1, "a"), pair(1, "b")], noticed: Vec::new() };
        watch.note(1, &["b".to_owned(), "c".to_owned()], Duration::from_secs(2));
        watch.note(0, &["c".to_owned()], Duration::from_secs(4));
        let detection = watch.result();
        assert_eq!((detection.noticed, detection.missed), (2, 1));
        assert_eq!((detection.median_seconds, detection.max_seconds), (2.0, 4.0));
    }
}
