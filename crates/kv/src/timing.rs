//! How long commands take, from their issue to their reply.

use std::collections::BTreeMap;

use potluck_base::Instant;

use crate::command::CommandId;
use crate::stats::Stats;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timed {
    /// It writes: a value, or an operation.
    Put,
    /// It reads.
    Get,
}

/// When the commands under way began. As many as there are commands under way, which
/// [`Config::commands_max`](crate::Config) bounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timing {
    now: Option<Instant>,
    begun: BTreeMap<CommandId, (Instant, Timed)>,
}

impl Timing {
    /// An input is handled now.
    pub(crate) const fn at(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// A command begins.
    pub(crate) fn begin(&mut self, id: CommandId, what: Timed) {
        if let Some(now) = self.now {
            self.begun.insert(id, (now, what));
        }
    }

    /// A command has its reply.
    pub(crate) fn end(&mut self, id: CommandId, stats: &mut Stats) {
        let Some(((began, what), now)) = self.begun.remove(&id).zip(self.now) else { return };
        match what {
            Timed::Put => stats.put_times.note(now.since(began)),
            Timed::Get => stats.get_times.note(now.since(began)),
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.begun.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_command_is_timed_once_and_by_what_it_does() {
        let (mut timing, mut stats) = (Timing::default(), Stats::default());
        let start = Instant::default();
        timing.at(start);
        timing.begin(CommandId(1), Timed::Put);
        timing.begin(CommandId(2), Timed::Get);
        timing.at(start + Duration::from_millis(3));
        for id in [1, 1, 2, 3] {
            timing.end(CommandId(id), &mut stats);
        }
        assert_eq!(timing.len(), 0);
        assert_eq!((stats.put_times.count(), stats.get_times.count()), (1, 1));
        assert_eq!(stats.put_times.quantile(0.5), Some(0.004));
    }
}
