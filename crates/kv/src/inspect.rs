//! Asking every replica of a key what it holds, for diagnosis.

use potluck_base::{Deadline, Instant, Key};
use potluck_record::{Context, HasHead, Place, SignedHead, State};

use crate::command::{CommandId, ReplicaState, Reply};
use crate::core::{Core, Progress};
use crate::survey::{Keep, Local, Question, Survey, SurveyEvent};

/// One question to all replicas under way.
#[derive(Debug, Clone)]
pub(crate) struct Inspect {
    id: CommandId,
    key: Key,
    survey: Survey<SignedHead>,
}

impl Inspect {
    pub(crate) fn start(core: &mut Core, now: Instant, id: CommandId, key: Key) -> Self {
        let asked = Question {
            id,
            key,
            why: "replicas",
            doubted: false,
            spare: 0,
            places: &[Place::Replica],
            keep: Keep::States,
        };
        Self { id, key, survey: Survey::start(core, now, asked) }
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.survey.deadline(), "replicas")
    }

    /// Takes an event of the survey, and replies when it is over.
    pub(crate) fn on_event(
        &mut self,
        core: &mut Core,
        now: Instant,
        event: SurveyEvent,
    ) -> Progress {
        if let Some(Local { envelopes: Ok(envelopes), .. }) = self.survey.on_event(core, now, event)
        {
            let held = envelopes.iter().map(|envelope| envelope.head().clone()).collect();
            self.survey.take(&[core.me], held);
        }
        let Some(closest) = self.survey.closest().filter(|_| self.survey.is_over()) else {
            return Progress::Waiting;
        };
        let mut nearest = closest.to_vec();
        // Nodes of the replica set that did not answer are shown as unreachable.
        for peer in core.replica_set(&self.key) {
            if !nearest.contains(&peer) {
                nearest.push(peer);
            }
        }
        nearest.sort_by_key(|peer| peer.distance(&self.key));
        nearest.truncate(core.replication());
        let merged = self.survey.state();
        let states = nearest
            .into_iter()
            .map(|peer| {
                let held = self.survey.answers().get(&peer.id).and_then(|it| it.state.as_ref());
                (peer, held.map_or(ReplicaState::Unreachable, |held| compare(held, merged)))
            })
            .collect();
        core.reply(self.id, Reply::Replicas(states));
        Progress::Done
    }
}

/// The highest dot per writer: the version of a state.
pub(crate) fn version<E: HasHead>(state: &State<E>) -> Context {
    state.iter().map(|e| (e.signed_head().writer(), e.signed_head().dot())).collect()
}

/// How one replica's state compares to the merged state. If one replica has an envelope that the others
/// lack, it is equal and the others are behind.
fn compare(held: &State<SignedHead>, merged: &State<SignedHead>) -> ReplicaState {
    if held.is_empty() && !merged.is_empty() {
        return ReplicaState::Missing;
    }
    if held.digest() == merged.digest() {
        return ReplicaState::Equal;
    }
    // Its state is part of the merged state by construction, so a difference means that it lacks
    // envelopes. It is concurrent if the envelopes it lacks do not cover all that it holds.
    let lacking: Context = merged
        .iter()
        .filter(|head| held.of(&head.writer()).is_none_or(|own| own.dot() < head.dot()))
        .fold(Context::new(), |mut context, head| {
            context.join(head.context());
            context.cover(head.writer(), head.dot());
            context
        });
    let superseded = held.iter().all(|head| lacking.covers(&head.writer(), head.dot()));
    if superseded { ReplicaState::Behind } else { ReplicaState::Concurrent }
}
