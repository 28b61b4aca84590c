//! Begins and ends the faults of each nemesis.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use potluck_sim::check::history::faults::Effect;

use super::http::Endpoint;
use super::lab::{self, Direction, Loss};
use super::nemesis::Nemesis;
use super::node::Node;
use super::plan::Episode;
use super::recorder::Recorder;

/// Share of the datagrams that a lossy link loses, in percent, in each direction.
const LOSS_PERCENT: u8 = 20;
/// Offset of a wrong clock in seconds: less than the five minutes by which records may be dated ahead.
const CLOCK_SECONDS: i64 = 180;
/// The rate of a slow link.
const SLOW_RATE: &str = "256kbit";
/// How often the processes are checked during an episode.
const LOOK: Duration = Duration::from_secs(1);

/// The nodes and what is recorded of them.
pub(super) struct Stage {
    pub(super) nodes: Vec<Node>,
    pub(super) endpoints: Arc<Vec<Endpoint>>,
    pub(super) recorder: Arc<Recorder>,
}

impl Stage {
    /// Runs one episode from its beginning to its end.
    pub(super) fn play(&mut self, episode: &Episode) -> Result<(), String> {
        self.wait(episode.after);
        let nemesis = episode.nemesis;
        let fault = self.recorder.begin(nemesis.name(), &episode.nodes, nemesis.effect());
        self.strike(episode)?;
        if nemesis == Nemesis::Jumps {
            self.jump(episode)?;
        } else if nemesis != Nemesis::Restart {
            self.wait(episode.lasts);
        }
        self.mend(episode)?;
        self.recorder.end(fault);
        Ok(())
    }

    /// Waits, and records processes that end meanwhile.
    pub(super) fn wait(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            self.look_after();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK));
        }
    }

    /// Records a process that ended by itself as an accident, and starts it again.
    fn look_after(&mut self) {
        for number in 0..self.nodes.len() {
            if !self.nodes[number].has_died() {
                continue;
            }
            let words = self.nodes[number].last_words();
            self.recorder.accident(format!("the process of node {number} ended: {words}"));
            let fault = self.recorder.begin("accident", &[number], Effect::Down);
            // The process has ended; that it cannot be killed any more is no error.
            let _ = self.nodes[number].kill();
            if let Err(error) = self.start(&[number]) {
                self.recorder.accident(error);
            }
            self.recorder.end(fault);
        }
    }

    /// Starts these nodes and waits until all are ready.
    pub(super) fn start(&mut self, nodes: &[usize]) -> Result<(), String> {
        for node in nodes {
            if let Some(endpoint) = self.endpoints.get(*node) {
                endpoint.life.fetch_add(1, Ordering::Relaxed);
            }
            self.nodes[*node].spawn()?;
        }
        nodes.iter().try_for_each(|node| self.nodes[*node].wait_ready())
    }

    fn strike(&mut self, episode: &Episode) -> Result<(), String> {
        let struck = &episode.nodes;
        match episode.nemesis {
            Nemesis::Kill | Nemesis::KillAll => {
                struck.iter().try_for_each(|node| self.nodes[*node].kill())
            }
            Nemesis::Restart => {
                for node in struck {
                    if let Err(error) = self.nodes[*node].stop() {
                        self.recorder.accident(error);
                    }
                }
                Ok(())
            }
            Nemesis::Pause => struck.iter().try_for_each(|node| self.nodes[*node].signal("STOP")),
            Nemesis::Halves => {
                let others = self.others(struck);
                cut(struck, &others)
            }
            Nemesis::Bridge => {
                let (left, right) = struck.split_at(struck.len() / 2);
                cut(left, right)
            }
            Nemesis::OneWay => {
                let others = self.others(struck);
                let direction = if episode.is_other_way { Direction::In } else { Direction::Out };
                let loss = Loss::Peers(direction, others);
                struck.iter().try_for_each(|node| lab::lose(*node, std::slice::from_ref(&loss)))
            }
            Nemesis::Loss => {
                let both = [Direction::In, Direction::Out];
                let losses = both.map(|direction| Loss::Percent(direction, LOSS_PERCENT));
                struck.iter().try_for_each(|node| lab::lose(*node, &losses))
            }
            Nemesis::Clock => {
                let sign = if episode.is_other_way { -1 } else { 1 };
                self.set_clocks(struck, sign * CLOCK_SECONDS)
            }
            Nemesis::Jumps => Ok(()),
            Nemesis::Full => struck.iter().try_for_each(|node| self.nodes[*node].fill_disk(true)),
            Nemesis::Slow => struck.iter().try_for_each(|node| lab::slow(*node, SLOW_RATE)),
        }
    }

    fn mend(&mut self, episode: &Episode) -> Result<(), String> {
        let struck = &episode.nodes;
        match episode.nemesis {
            Nemesis::Kill | Nemesis::KillAll | Nemesis::Restart => self.start(struck),
            Nemesis::Pause => struck.iter().try_for_each(|node| self.nodes[*node].signal("CONT")),
            Nemesis::Halves | Nemesis::Bridge | Nemesis::OneWay | Nemesis::Loss => {
                struck.iter().try_for_each(|node| lab::mend(*node))
            }
            Nemesis::Clock | Nemesis::Jumps => self.set_clocks(struck, 0),
            Nemesis::Full => struck.iter().try_for_each(|node| self.nodes[*node].fill_disk(false)),
            Nemesis::Slow => struck.iter().try_for_each(|node| lab::fast(*node)),
        }
    }

    /// The clock jumps to another wrong time every second or two.
    fn jump(&mut self, episode: &Episode) -> Result<(), String> {
        let deadline = Instant::now() + episode.lasts;
        let mut wrong = [CLOCK_SECONDS, -CLOCK_SECONDS, 0, CLOCK_SECONDS / 3].into_iter().cycle();
        while Instant::now() < deadline {
            self.set_clocks(&episode.nodes, wrong.next().unwrap_or_default())?;
            self.wait(2 * LOOK);
        }
        Ok(())
    }

    fn set_clocks(&self, nodes: &[usize], seconds: i64) -> Result<(), String> {
        nodes.iter().try_for_each(|node| self.nodes[*node].set_clock(seconds))
    }

    fn others(&self, struck: &[usize]) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| !struck.contains(node)).collect()
    }
}

/// Drops all packets between these two groups.
fn cut(left: &[usize], right: &[usize]) -> Result<(), String> {
    let both = [Direction::In, Direction::Out];
    let losses = both.map(|direction| Loss::Peers(direction, right.to_vec()));
    left.iter().try_for_each(|node| lab::lose(*node, &losses))
}
