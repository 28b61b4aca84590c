//! One read: merge the states of replicas until enough of them agree, then repair the stale ones.
//!
//! Integrity comes from signatures, so one honest holder is enough for a genuine value; agreement
//! of R replicas buys freshness. A record counts as absent only if R of the r closest nodes said so
//! and no node claimed to hold envelopes that could not be fetched.

use bytes::Bytes;
use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::limits::writers_max;
use potluck_record::{
    Envelope, MergeAs, Place, Reading, SignedHead, Space, State, StateDigest, StorageOp, TeamId,
};
use potluck_wire::Request;

use crate::command::{CommandError, CommandId, ReadDone, Reply};
use crate::core::{AskPurpose, Core, OpPurpose, Progress};
use crate::doubts::Doubt;
use crate::event::Delivery;
use crate::shared_reads::SharedRead;
use crate::survey::{Answer, Keep, Local, Question, Survey, SurveyEvent};

/// The purpose of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadPurpose {
    /// The application asked for it, with this many replicas that must agree; `None`: the configured
    /// number.
    Read(Option<u16>),
    /// A write found siblings and returns them.
    Conflict,
    /// A watch reads; with `all` it waits for all replicas.
    Watch {
        /// Whether it waits for all.
        all: bool,
    },
}

/// What a read of a watch found: the merged state and, if it waited for all replicas, the closest nodes.
pub(crate) type Watched = Result<(State<Envelope>, Vec<Peer>), CommandError>;

/// One read under way.
#[derive(Debug, Clone)]
pub(crate) struct Get {
    id: CommandId,
    /// Further commands that share this read.
    sharing: Vec<CommandId>,
    key: Key,
    purpose: ReadPurpose,
    survey: Survey<Envelope>,
    /// The head of this node's own envelope, as it was when the read began.
    own: Option<SignedHead>,
    /// The end of a read of a watch.
    watched: Option<Watched>,
    list: List,
}

/// The list of the team whose record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    /// It was not asked for.
    Unasked,
    /// The read has all else, and waits for it.
    Awaited(TeamId),
    /// It was read, or could not be.
    Read,
}

impl Get {
    pub(crate) fn start(
        core: &mut Core,
        now: Instant,
        id: CommandId,
        key: Key,
        purpose: ReadPurpose,
    ) -> Self {
        let asked = Question {
            id,
            key,
            why: if matches!(purpose, ReadPurpose::Watch { .. }) { "watch" } else { "get" },
            doubted: false,
            spare: 0,
            places: &[Place::Replica, Place::Own],
            keep: Keep::Digests,
        };
        let survey = Survey::start(core, now, asked);
        Self {
            id,
            sharing: Vec::new(),
            key,
            purpose,
            survey,
            own: None,
            watched: None,
            list: List::Unasked,
        }
    }

    /// The same read for further commands, which were given before it began.
    pub(crate) fn shared_by(self, sharing: Vec<CommandId>) -> Self {
        Self { sharing, ..self }
    }

    /// The commands that wait for this read besides its own.
    pub(crate) fn sharing(&self) -> &[CommandId] {
        &self.sharing
    }

    /// What this read has in common with those that may share it; `None` if it belongs to a write.
    pub(crate) fn shared_read(&self) -> Option<SharedRead> {
        match self.purpose {
            ReadPurpose::Read(quorum) => Some(SharedRead { key: self.key, quorum }),
            ReadPurpose::Conflict | ReadPurpose::Watch { .. } => None,
        }
    }

    /// Replies to all commands of this read.
    fn reply(&self, core: &mut Core, reply: &Reply) {
        for id in std::iter::once(&self.id).chain(&self.sharing) {
            core.reply(*id, reply.clone());
        }
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.survey.deadline(), "get")
    }

    /// The key, and what a read of a watch found; `None` for other reads. A read that has not ended failed.
    pub(crate) fn into_watched(self) -> Option<(Key, Watched)> {
        let is_watch = matches!(self.purpose, ReadPurpose::Watch { .. });
        is_watch.then(|| (self.key, self.watched.unwrap_or(Err(CommandError::Busy))))
    }

    /// Ends the read with an error, for all its commands.
    pub(crate) fn fail(&mut self, core: &mut Core, error: CommandError) {
        match self.purpose {
            ReadPurpose::Watch { .. } => self.watched = Some(Err(error)),
            ReadPurpose::Read(_) | ReadPurpose::Conflict => {
                self.reply(core, &Reply::Failed(error));
            }
        }
    }

    /// Takes an event of the survey, and ends the read if that is enough.
    pub(crate) fn on_event(
        &mut self,
        core: &mut Core,
        now: Instant,
        event: SurveyEvent,
    ) -> Progress {
        let is_late = event == SurveyEvent::Deadline;
        if let Some(local) = self.survey.on_event(core, now, event) {
            self.on_local(core, local);
        }
        if let List::Awaited(_) = self.list {
            if is_late {
                self.on_list(core, now);
                return Progress::Done;
            }
            return Progress::Waiting;
        }
        self.settle(core, now)
    }

    /// Takes what this node itself holds: its replica, and its own envelope, which makes a node read
    /// its own writes.
    fn on_local(&mut self, core: &Core, local: Local) {
        let Ok(envelopes) = local.envelopes else { return };
        match local.place {
            // A copy kept from a time when this node was a replica may be stale: it does not count.
            Place::Replica if core.is_responsible(&self.key) => {
                self.survey.take(&[core.me], envelopes.into_iter().collect());
            }
            Place::Replica => self.survey.merge(envelopes),
            Place::Own => {
                self.own = envelopes.first().map(|own| own.head().clone());
                self.survey.merge(envelopes);
            }
        }
    }

    const fn quorum(&self) -> Option<u16> {
        match self.purpose {
            ReadPurpose::Read(quorum) => quorum,
            ReadPurpose::Conflict | ReadPurpose::Watch { .. } => None,
        }
    }

    /// Nodes that hold exactly the merged state, among the r closest of those that answered, closest first.
    fn agreeing(&self, core: &Core) -> Vec<Peer> {
        let digest = self.survey.state().digest();
        let mut answers: Vec<&Answer<Envelope>> = self.survey.answers().values().collect();
        answers.sort_by_key(|answer| answer.peer.distance(&self.key));
        let nearest = answers.iter().take(core.replication());
        nearest.filter(|answer| answer.digest == digest).map(|answer| answer.peer).collect()
    }

    /// The replicas that answered, closest first: writes go to these only.
    fn nearest_answers(&self, core: &mut Core) -> Vec<(Peer, StateDigest)> {
        let answers = self.survey.answers();
        let nearest = core.replicas_among(&self.key, &self.survey.nearest(core)).into_iter();
        nearest
            .filter_map(|peer| answers.get(&peer.id).map(|answer| (peer, answer.digest)))
            .collect()
    }

    /// Whether this node read a newer version than the merged state before.
    fn is_older(&self, core: &Core, now: Instant) -> bool {
        core.config.defences.versions_seen
            && core.local.seen.is_older(&self.key, self.survey.state(), now, core.wall(now))
    }

    /// What speaks against a record that enough nodes agree on before all have answered.
    fn doubts_agreement(&self, core: &mut Core, now: Instant, agreeing: &[Peer]) -> bool {
        self.is_older(core, now) || core.doubts_agreement(&self.key, agreeing).is_some()
    }

    /// What speaks against the answers, all of which have come.
    fn doubts(&self, core: &mut Core, now: Instant) -> Option<Doubt> {
        if let Some(doubt) = core.doubts_place(&self.key, &self.survey.nearest(core)) {
            return Some(doubt);
        }
        if self.is_older(core, now) {
            return Some(Doubt::Older);
        }
        if !self.survey.state().is_empty() {
            let agreeing = self.agreeing(core);
            return core.doubts_agreement(&self.key, &agreeing);
        }
        if self.survey.is_disputed() {
            return Some(Doubt::Disputed);
        }
        let nearest: Vec<Peer> =
            self.nearest_answers(core).into_iter().map(|(peer, _)| peer).collect();
        if core.plausible(&self.key, &nearest).len() < nearest.len() {
            return Some(Doubt::Far);
        }
        core.doubts_agreement(&self.key, &nearest)
    }

    fn settle(&mut self, core: &mut Core, now: Instant) -> Progress {
        if self.survey.is_loading() {
            return Progress::Waiting;
        }
        if self.survey.shows_clock_behind(core) {
            self.survey.stop(core);
            self.fail(core, CommandError::Clock);
            return Progress::Done;
        }
        let needed = self.quorum().unwrap_or_else(|| core.read_quorum());
        let agreement = needed.max(core.agreement());
        // A replica that claims another state may hold the last acknowledged write.
        if self.survey.is_fetching() {
            return Progress::Waiting;
        }
        let found = !self.survey.state().is_empty();
        let waits_for_all = self.purpose == ReadPurpose::Watch { all: true };
        if found && !waits_for_all {
            let agreeing = self.agreeing(core);
            let enough = agreeing.len() >= usize::from(agreement);
            if enough && !self.doubts_agreement(core, now, &agreeing) {
                return self.finish(core, now);
            }
        }
        if !self.survey.is_over() {
            return Progress::Waiting;
        }
        if let Some(doubt) = self.doubts(core, now)
            && self.survey.widen(core, doubt)
        {
            return Progress::Waiting;
        }
        let nearest = self.nearest_answers(core);
        let is_absent = |held: &&(Peer, StateDigest)| held.1 == StateDigest::EMPTY;
        let absent = nearest.iter().filter(is_absent).map(|(peer, _)| peer);
        let absent = core.plausible(&self.key, absent).len() as u16;
        let enough = match self.quorum() {
            Some(strict) => nearest.len() as u16 >= strict,
            None => found || absent >= needed && !self.survey.is_unread(core, absent),
        };
        if enough {
            return self.finish(core, now);
        }
        let error = CommandError::TooFewAnswers { answers: nearest.len() as u16, needed };
        self.fail(core, error);
        Progress::Done
    }

    /// Ends the read, or waits for the list of the team whose record it is.
    fn finish(&mut self, core: &mut Core, now: Instant) -> Progress {
        self.survey.stop(core);
        match self.survey.state().team() {
            Some(team) if !core.local.teams.is_fresh(now, &team) => {
                core.local.teams.want(team);
                self.list = List::Awaited(team);
                Progress::Waiting
            }
            Some(_) | None => {
                self.conclude(core, now);
                Progress::Done
            }
        }
    }

    /// The team whose list this read waits for.
    pub(crate) const fn waits_for(&self) -> Option<TeamId> {
        match self.list {
            List::Awaited(team) => Some(team),
            List::Unasked | List::Read => None,
        }
    }

    /// Ends the read after the list was read, or could not be.
    pub(crate) fn on_list(&mut self, core: &mut Core, now: Instant) {
        let known = self.waits_for().is_none_or(|team| core.local.teams.is_known(&team));
        self.list = List::Read;
        if known {
            self.conclude(core, now);
        } else {
            // Without the list no value can be told from one of a stranger, and "absent" would be untrue.
            let needed = self.quorum().unwrap_or_else(|| core.read_quorum());
            self.fail(core, CommandError::TooFewAnswers { answers: 0, needed });
        }
    }

    fn conclude(&mut self, core: &mut Core, now: Instant) {
        let state = self.survey.state();
        let me = core.identity.public_key();
        if let Some(head) = state.of(&me).map(Envelope::head) {
            core.watch_own(core.wall(now), head, self.own.as_ref());
        }
        if matches!(self.purpose, ReadPurpose::Watch { .. }) {
            let nearest = self.survey.closest().unwrap_or_default().to_vec();
            self.watched = Some(Ok((state.clone(), nearest)));
            return self.repair(core);
        }
        let readable = core.local.teams.readable(state);
        let reading = Reading::of(&readable, core.wall(now));
        let digest = readable.digest();
        let readers = 1 + self.sharing.len() as u64;
        if reading.values.is_empty() {
            core.stats.gets_absent += readers;
        } else {
            core.stats.gets_found += readers;
        }
        let older = self.is_older(core, now);
        if older {
            core.stats.gets_older += readers;
        } else {
            core.local.seen.note(self.key, state, &me, now);
        }
        let answers = self.survey.answers().len() as u16;
        let done = ReadDone { key: self.key, reading, digest, answers, older };
        let reply = match self.purpose {
            ReadPurpose::Read(_) | ReadPurpose::Watch { .. } => Reply::Read(done),
            ReadPurpose::Conflict => Reply::Conflict(done),
        };
        self.reply(core, &reply);
        self.repair(core);
    }

    /// Read repair: sends the merged state to replicas that lack part of it.
    fn repair(&self, core: &mut Core) {
        let (state, answers) = (self.survey.state(), self.survey.answers());
        let digest = state.digest();
        // A provider's record is stored by the provider alone.
        if state.is_empty() || state.iter().any(|one| one.head().space() == Space::Provider) {
            return;
        }
        // If the lookup did not finish, only nodes that hold part of the record are known replicas.
        let closest = self.survey.closest().unwrap_or_default();
        let converged: Vec<NodeId> =
            closest.iter().take(core.replication()).map(|peer| peer.id).collect();
        let stale: Vec<Peer> = answers
            .values()
            .filter(|answer| {
                answer.digest != digest
                    && (answer.digest != StateDigest::EMPTY || converged.contains(&answer.peer.id))
                    && answer.peer.id != core.me.id
            })
            .map(|answer| answer.peer)
            .take(core.config.read_repairs_max)
            .collect();
        for peer in stale {
            core.stats.read_repairs += 1;
            for request in stores(state, |one| core.certificates_of([one])) {
                core.ask(peer, request, Delivery::Fitting, AskPurpose::ReadRepair);
            }
        }
        let lacks = answers.get(&core.me.id).is_some_and(|mine| mine.digest != digest);
        if lacks && core.is_responsible(&self.key) {
            for envelope in state.iter() {
                let op = StorageOp::Merge {
                    envelope: envelope.clone(),
                    place: Place::Replica,
                    how: MergeAs::Repair,
                };
                core.storage(op, OpPurpose::Pulled(self.key, None));
            }
        }
    }
}

/// A state as requests to store it, each within the size of a call.
fn stores(
    state: &State<Envelope>,
    certificates_of: impl Fn(&Envelope) -> Vec<Bytes>,
) -> Vec<Request> {
    let mut requests = Vec::new();
    let (mut envelopes, mut certificates, mut size) = (Vec::new(), Vec::new(), 0);
    let most_of =
        |envelope: &Envelope| writers_max(envelope.head().space(), envelope.head().kind());
    let most = state.iter().map(most_of).max().unwrap_or_default();
    for envelope in state.iter().take(usize::from(most)) {
        let bytes = envelope.encode();
        let mut of_writer = certificates_of(envelope);
        let more = bytes.len() + of_writer.iter().map(Bytes::len).sum::<usize>();
        if size + more > STORE_BYTES_MAX && !envelopes.is_empty() {
            let envelopes = std::mem::take(&mut envelopes);
            let certificates = std::mem::take(&mut certificates);
            requests.push(Request::Store { envelopes, certificates });
            size = 0;
        }
        size += more + 5 + 3 * of_writer.len();
        envelopes.push(bytes);
        certificates.append(&mut of_writer);
    }
    if !envelopes.is_empty() {
        requests.push(Request::Store { envelopes, certificates });
    }
    requests
}

/// Most bytes of envelopes in one store request: the size limit of a call, less room for framing.
const STORE_BYTES_MAX: usize = potluck_wire::limits::CALL_BYTES_MAX - 1024;

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Identity, NetworkId, UnixMillis};
    use potluck_record::{Context, Dot, Draft, Kind, Name};

    use super::*;

    /// An envelope that takes this many bytes.
    fn envelope(number: u8, size: usize) -> Envelope {
        let network = NetworkId::new("test", Admission::Lab, None);
        let sign = |bytes: usize| {
            let value =
                |number, size| (Dot::from_raw(number), UnixMillis(2), Bytes::from(vec![0; size]));
            let draft = Draft {
                space: Space::Commons,
                name: Name::new("a").ok(),
                kind: Kind::Siblings,
                values: vec![value(1, 65_536), value(2, bytes - 65_536)],
                dot: Dot::from_raw(2),
                context: Context::new(),
                expires: UnixMillis(2),
                certificate: None,
            };
            Envelope::sign(&Identity::from_seed([number; 32]), &network, draft)
                .expect("a good envelope")
        };
        let beside = sign(130_000).encode().len() - 130_000;
        sign(size - beside)
    }

    #[test]
    fn a_state_is_sent_in_requests_that_fit_a_call() {
        let count = |sizes: &[usize]| {
            let envelopes = (1..).zip(sizes).map(|(number, size)| envelope(number, *size));
            let requests = stores(&envelopes.collect(), |_| Vec::new());
            let parts = requests.iter().map(|request| {
                let Request::Store { envelopes, .. } = request else { panic!("{request:?}") };
                envelopes.len()
            });
            parts.collect::<Vec<_>>()
        };
        let half = (STORE_BYTES_MAX - 5) / 2;
        assert_eq!(count(&[half, half]), [2]);
        assert_eq!(count(&[half + 1, half + 1]), [1, 1]);
        assert_eq!(count(&[half + 1, half + 1, half + 1]), [1, 1, 1]);
    }
}
