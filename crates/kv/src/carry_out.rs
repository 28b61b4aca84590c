//! The replica's side of operations that it carries out for others: each once, however often it is asked.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use potluck_base::{Instant, NodeId};
use potluck_record::{Name, Operation, Space};
use potluck_wire::{Applied, Refusal, Response};

use crate::command::{Apply, CommandError, CommandId, Reply};
use crate::core::Core;
use crate::event::ServeId;

/// How long the outcome of an operation is remembered: longer than an asker goes on asking, which is
/// twice the deadline of a write.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// Most operations that are remembered; beyond, further ones are refused as busy. Raising it costs
/// memory, about 200 bytes each.
const REMEMBERED_MAX: usize = 4096;
/// Most of them for one asker, so that it leaves room for others.
const OF_ONE_ASKER_MAX: usize = 256;
/// Most requests for one operation that are answered at its end.
const SERVES_MAX: usize = 16;

/// An operation as its asker names it.
type Numbered = (NodeId, u64);

#[derive(Debug, Clone)]
enum Progress {
    /// It is being carried out; these requests are answered at its end.
    Running(Vec<ServeId>),
    /// It ended with this answer.
    Ended(Response),
}

/// The operations of others that this node carries out or carried out lately.
#[derive(Debug, Clone, Default)]
pub(crate) struct CarriedOut {
    operations: BTreeMap<Numbered, Progress>,
    /// By their begin, oldest first.
    order: VecDeque<(Instant, Numbered)>,
    running: BTreeMap<CommandId, Numbered>,
    /// When this node began to remember.
    since: Option<Instant>,
}

impl CarriedOut {
    pub(crate) fn len(&self) -> usize {
        self.operations.len()
    }

    /// Begins to remember operations, if it does not yet.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Takes the request of `from`. Returns the command to carry out, if it is one that was not asked for
    /// before; all else is answered here.
    pub(crate) fn start(
        &mut self,
        core: &mut Core,
        now: Instant,
        serve: ServeId,
        from: NodeId,
        asked: &potluck_wire::Apply,
    ) -> Option<(CommandId, Apply)> {
        self.forget(now);
        let numbered = (from, asked.number);
        match self.operations.get_mut(&numbered) {
            Some(Progress::Running(serves)) if serves.len() < SERVES_MAX => {
                serves.push(serve);
                return None;
            }
            Some(Progress::Running(_)) => {
                core.respond(serve, Response::Applied(Applied::Unclear));
                return None;
            }
            Some(Progress::Ended(response)) => {
                core.respond(serve, response.clone());
                return None;
            }
            None => {}
        }
        // Before a restart it may have been carried out, and not remembered.
        let remembers_all = self.since.is_some_and(|since| now.since(since) >= REMEMBERED_FOR);
        if asked.again && !remembers_all {
            core.respond(serve, Response::Applied(Applied::Unclear));
            return None;
        }
        let (Ok(name), Ok(operation)) =
            (Name::new(asked.name.as_str()), Operation::decode(&asked.operation))
        else {
            core.respond(serve, Response::refused(Refusal::BadEnvelope));
            return None;
        };
        let space = Space::Commons;
        let of_asker = (from, 0)..=(from, u64::MAX);
        if space.key(&name).is_none_or(|key| !core.is_near(&key)) {
            core.respond(serve, Response::refused(Refusal::NotResponsible));
            return None;
        }
        if self.operations.len() >= REMEMBERED_MAX
            || self.operations.range(of_asker).count() >= OF_ONE_ASKER_MAX
        {
            core.stats.requests_busy += 1;
            core.respond(serve, Response::refused(Refusal::Busy));
            return None;
        }
        let id = core.internal_command();
        self.operations.insert(numbered, Progress::Running(vec![serve]));
        self.order.push_back((now, numbered));
        self.running.insert(id, numbered);
        core.stats.operations_carried_out += 1;
        Some((id, Apply { space, name, operation, quorum: None }))
    }

    /// Takes the reply to a command that [`start`](Self::start) returned, and answers the requests for
    /// it. A refusal is remembered, too: a request that comes late is not carried out after it.
    pub(crate) fn on_reply(&mut self, core: &mut Core, id: CommandId, reply: &Reply) {
        let Some(numbered) = self.running.remove(&id) else { return };
        let response = match outcome(reply) {
            Ok(applied) => Response::Applied(applied),
            Err(reason) => Response::refused(reason),
        };
        let ended = Progress::Ended(response.clone());
        if let Some(Progress::Running(serves)) = self.operations.insert(numbered, ended) {
            serves.into_iter().for_each(|serve| core.respond(serve, response.clone()));
        }
    }

    /// Forgets operations that ended long ago. One that has not ended is no older than a deadline.
    fn forget(&mut self, now: Instant) {
        while let Some((begun, numbered)) = self.order.front()
            && now.since(*begun) >= REMEMBERED_FOR
        {
            self.operations.remove(numbered);
            self.order.pop_front();
        }
    }
}

/// What the asker is told. An error is a refusal: nothing changed.
fn outcome(reply: &Reply) -> Result<Applied, Refusal> {
    let error = match reply {
        Reply::Written(written) => {
            return Ok(Applied::Done {
                version: written.version.raw(),
                acks: written.acks,
                wanted: written.wanted,
                expires_ms: written.expires.0,
            });
        }
        Reply::Failed(error) => error,
        Reply::Conflict(_)
        | Reply::Read(_)
        | Reply::Replicas(_)
        | Reply::Local(_)
        | Reply::Names(_)
        | Reply::Watching(_)
        | Reply::Unwatched => {
            return Ok(Applied::Unclear);
        }
    };
    match error {
        CommandError::Absent => Ok(Applied::Absent),
        CommandError::OtherKind { there, .. } => Ok(Applied::OtherKind { kind: there.number() }),
        CommandError::TooFewAcks { .. }
        | CommandError::Unknown
        | CommandError::LostOwn
        | CommandError::ClockAhead => Ok(Applied::Unclear),
        CommandError::Refused(reason) => Err(*reason),
        CommandError::Share(_) => Err(Refusal::Quota),
        CommandError::Operation(_) => Err(Refusal::BadEnvelope),
        CommandError::Busy | CommandError::TooManyWatches | CommandError::TooFewAnswers { .. } => {
            Err(Refusal::Busy)
        }
        CommandError::NoCommons => Err(Refusal::NoCommons),
        CommandError::NotWriter { .. } | CommandError::NoTeam(_) => Err(Refusal::NotWriter),
        CommandError::Draft(_)
        | CommandError::BadContext
        | CommandError::TooLong(_)
        | CommandError::Clock
        | CommandError::ClockOff(_)
        | CommandError::Storage(_)
        | CommandError::NotJoined
        | CommandError::PutOut
        | CommandError::Leaving => Err(Refusal::NotServing),
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Contact, Identity, NetworkId, Peer, UnixMillis};
    use potluck_record::Dot;

    use super::*;
    use crate::command::Written;
    use crate::config::Config;
    use crate::event::Output;

    fn peer(number: u8) -> Peer {
        let network = NetworkId::new("test", Admission::Lab, None);
        let key = Identity::from_seed([number; 32]).public_key();
        Contact::new(key, ([127, 0, 0, 1], 1).into()).in_network(&network)
    }

    fn core() -> Core {
        let network = NetworkId::new("test", Admission::Lab, None);
        Core::new(Identity::from_seed([1; 32]), network, peer(1), true, Config::default())
    }

    fn asked(number: u64, again: bool) -> potluck_wire::Apply {
        let operation = Operation::Count(1).encode();
        potluck_wire::Apply { number, again, name: "n".into(), operation }
    }

    fn written(core: &Core) -> Reply {
        Reply::Written(Written {
            key: core.me.id.into(),
            version: Dot::from_raw(7),
            acks: 3,
            wanted: 5,
            members: 9,
            expires: UnixMillis(8),
            replicas: Vec::new(),
        })
    }

    fn answers(core: &mut Core) -> Vec<(u64, Response)> {
        let answer = |output| match output {
            Output::Respond { serve, response } => Some((serve.0, response)),
            _ => None,
        };
        core.outbox.drain(..).filter_map(answer).collect()
    }

    const DONE: Response =
        Response::Applied(Applied::Done { version: 7, acks: 3, wanted: 5, expires_ms: 8 });
    const UNCLEAR: Response = Response::Applied(Applied::Unclear);

    #[test]
    fn an_operation_is_carried_out_once_however_often_it_is_asked() {
        let (mut core, mut carried) = (core(), CarriedOut::default());
        let (now, from) = (Instant::ZERO, peer(2).id);
        let ask = |core: &mut Core, carried: &mut CarriedOut, serve, again| {
            carried.start(core, now, ServeId(serve), from, &asked(5, again))
        };
        let (id, apply) = ask(&mut core, &mut carried, 1, false).expect("it is new");
        assert_eq!((apply.operation, apply.name.as_str()), (Operation::Count(1), "n"));
        assert_eq!(ask(&mut core, &mut carried, 2, true), None, "it is under way");
        let reply = written(&core);
        carried.on_reply(&mut core, id, &reply);
        assert_eq!(ask(&mut core, &mut carried, 3, true), None, "it has ended");
        assert_eq!(answers(&mut core), [(1, DONE), (2, DONE), (3, DONE)]);
        let other = carried.start(&mut core, now, ServeId(4), peer(3).id, &asked(5, false));
        assert!(other.is_some(), "the number of another asker is another operation");
    }

    #[test]
    fn a_refusal_holds_for_requests_that_come_late() {
        let (mut core, mut carried) = (core(), CarriedOut::default());
        let from = peer(2).id;
        let start = carried.start(&mut core, Instant::ZERO, ServeId(1), from, &asked(5, false));
        let busy = Reply::Failed(CommandError::Busy);
        carried.on_reply(&mut core, start.expect("it is new").0, &busy);
        let late = carried.start(&mut core, Instant::ZERO, ServeId(2), from, &asked(5, false));
        assert_eq!(late, None);
        let refused = Response::refused(Refusal::Busy);
        assert_eq!(answers(&mut core), [(1, refused.clone()), (2, refused)]);
    }

    #[test]
    fn a_node_that_may_have_forgotten_does_not_repeat() {
        let (mut core, mut carried) = (core(), CarriedOut::default());
        let started = Instant::ZERO + Duration::from_secs(5);
        carried.begin(started);
        let from = peer(2).id;
        let soon = started + REMEMBERED_FOR - Duration::from_millis(1);
        assert_eq!(carried.start(&mut core, soon, ServeId(1), from, &asked(5, true)), None);
        assert_eq!(answers(&mut core), [(1, UNCLEAR)]);
        let later = started + REMEMBERED_FOR;
        assert!(carried.start(&mut core, later, ServeId(2), from, &asked(5, true)).is_some());
    }

    #[test]
    fn what_is_remembered_has_a_limit_for_each_asker_and_an_end() {
        let (mut core, mut carried) = (core(), CarriedOut::default());
        let mut start = |now, from: u8, number| {
            let numbered = asked(number, false);
            let id = carried.start(&mut core, now, ServeId(1), peer(from).id, &numbered);
            let started = id.is_some();
            if let Some((id, _)) = id {
                let reply = written(&core);
                carried.on_reply(&mut core, id, &reply);
            }
            (started, carried.len())
        };
        let most = OF_ONE_ASKER_MAX as u64;
        for number in 1..=most {
            assert_eq!(start(Instant::ZERO, 2, number), (true, number as usize));
        }
        assert_eq!(start(Instant::ZERO, 2, most + 1), (false, OF_ONE_ASKER_MAX));
        assert_eq!(start(Instant::ZERO, 3, 1), (true, OF_ONE_ASKER_MAX + 1));
        assert_eq!(start(Instant::ZERO + REMEMBERED_FOR, 2, most + 1), (true, 1));
    }

    #[test]
    fn an_operation_that_cannot_be_read_is_refused() {
        let (mut core, mut carried) = (core(), CarriedOut::default());
        let bad = potluck_wire::Apply { operation: vec![0xff].into(), ..asked(5, false) };
        let started = carried.start(&mut core, Instant::ZERO, ServeId(1), peer(2).id, &bad);
        assert_eq!(started, None);
        assert_eq!(answers(&mut core), [(1, Response::refused(Refusal::BadEnvelope))]);
    }
}
