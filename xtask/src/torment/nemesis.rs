//! The faults: their names, effects, and how many nodes they affect.

use potluck_base::Rng;
use potluck_sim::check::history::faults::Effect;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nemesis {
    /// `SIGKILL` of one to four nodes, which are started again at the end.
    Kill,
    /// `SIGKILL` of all nodes at once.
    KillAll,
    /// `SIGSTOP`, and `SIGCONT` at the end.
    Pause,
    /// `SIGTERM` with `on_term = pause`, and a start at once.
    Restart,
    /// The network split into two parts.
    Halves,
    /// One node that sends but does not receive, or receives but does not send.
    OneWay,
    /// Two parts, and one node that reaches both.
    Bridge,
    /// A fifth of all datagrams of one to three nodes is lost.
    Loss,
    /// The clocks of one or two nodes are three minutes wrong.
    Clock,
    /// The clock of one node jumps back and forth every second.
    Jumps,
    /// The disks of one to three nodes are full.
    Full,
    /// The lines of one or two nodes carry 256 kbit a second.
    Slow,
}

impl Nemesis {
    /// All of them.
    pub(super) const ALL: [Self; 12] = [
        Self::Kill,
        Self::KillAll,
        Self::Pause,
        Self::Restart,
        Self::Halves,
        Self::OneWay,
        Self::Bridge,
        Self::Loss,
        Self::Clock,
        Self::Jumps,
        Self::Full,
        Self::Slow,
    ];

    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Halves => "halves",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Loss => "loss",
            Self::Clock => "clock",
            Self::Jumps => "jumps",
            Self::Full => "full",
            Self::Slow => "slow",
        }
    }

    /// Whether it changes clocks, for which `faketime` is needed.
    pub(super) const fn needs_clock(self) -> bool {
        matches!(self, Self::Clock | Self::Jumps)
    }

    /// Its effect on its nodes.
    pub(super) const fn effect(self) -> Effect {
        match self {
            Self::Kill | Self::KillAll | Self::Restart => Effect::Down,
            Self::Halves | Self::Bridge | Self::OneWay => Effect::Cut,
            Self::Pause | Self::Loss | Self::Slow => Effect::Late,
            Self::Clock | Self::Jumps | Self::Full => Effect::Hindered,
        }
    }

    /// How many nodes of `nodes` it affects.
    pub(super) fn struck(self, nodes: usize, rng: &mut Rng) -> usize {
        let up_to = |most: u64, rng: &mut Rng| 1 + rng.below(most) as usize;
        let count = match self {
            Self::Kill => up_to(4, rng),
            Self::KillAll => nodes,
            Self::Pause | Self::Restart | Self::Clock | Self::Slow => up_to(2, rng),
            Self::Halves => nodes / 2,
            // All but the node that reaches both parts.
            Self::Bridge => nodes - 1,
            Self::OneWay | Self::Jumps => 1,
            Self::Loss | Self::Full => up_to(3, rng),
        };
        count.min(nodes)
    }
}
