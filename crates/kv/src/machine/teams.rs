//! Reading the lists of teams for the writes, reads and store requests that need them.

use potluck_base::{Instant, Key};
use potluck_record::TeamId;
use potluck_wire::{Refusal, Response};

use super::{Kv, Operation};
use crate::command::{CommandError, CommandId, Reply};
use crate::get::{Get, ReadPurpose};
use crate::put::Work;
use crate::shared_reads::SharedRead;
use crate::teams::{Begin, Deferred, Verdict, Waiting};

impl Kv {
    /// Begins a write. In a team, its list is read first, unless it was read a moment ago.
    pub(super) fn start_write(&mut self, now: Instant, id: CommandId, work: Work) {
        if !self.core.config.keeps_space(work.space()) {
            return self.core.reply(id, Reply::Failed(CommandError::NoCommons));
        }
        let Some(team) = work.team() else { return self.begin_write(now, id, work) };
        let lists = &mut self.core.local.teams;
        match lists.verdict(now, &team, &self.core.identity.public_key()) {
            Verdict::Admitted => self.begin_write(now, id, work),
            Verdict::NotOnList => {
                let error = lists.refusal(&team);
                self.core.reply(id, Reply::Failed(error));
            }
            Verdict::Unknown => {
                lists.want(team);
                self.team_reads.wait(team, Waiting::Write(id, Box::new(work)));
            }
        }
    }

    /// Queues the store requests that wait for a list, and begins to read the lists that are wanted.
    pub(super) fn read_teams(&mut self, now: Instant) {
        for Deferred { ask, team } in self.core.local.teams.take_deferred() {
            if self.team_reads.has_room() {
                self.team_reads.wait(team, Waiting::Store(ask));
                self.core.local.teams.want(team);
            } else {
                self.core.stats.requests_busy += 1;
                self.core.respond(ask.serve, Response::refused(Refusal::Busy));
            }
        }
        for team in self.core.local.teams.take_wanted() {
            match self.team_reads.begin(team, || self.core.internal_command()) {
                Begin::New(id) => self.read_team(now, id, team),
                Begin::Running => {}
                Begin::TooMany => self.go_on_in_team(now, team, &CommandError::Busy),
            }
        }
    }

    fn read_team(&mut self, now: Instant, id: CommandId, team: TeamId) {
        self.core.stats.team_lists_read += 1;
        self.read_for_itself(now, id, team.list_key());
    }

    /// Reads the keys under which other nodes claim to hold envelopes of this node that it did not sign.
    pub(super) fn read_doubted(&mut self, now: Instant) {
        while let Some(key) = self.core.take_doubted() {
            let id = self.core.internal_command();
            self.read_for_itself(now, id, key);
        }
    }

    /// Begins a read whose reply is none of the application's.
    fn read_for_itself(&mut self, now: Instant, id: CommandId, key: Key) {
        let read = SharedRead { key, quorum: None };
        let operation = if self.shared_reads.begins(read, id) {
            Operation::Get(Box::new(Get::start(
                &mut self.core,
                now,
                id,
                key,
                ReadPurpose::Read(None),
            )))
        } else {
            Operation::SharedGet
        };
        self.operations.insert(id, operation);
    }

    /// Takes the reply to a command of this node; returns whether it was the read of a list.
    pub(super) fn on_team_read(&mut self, now: Instant, id: CommandId, reply: &Reply) -> bool {
        let Some(team) = self.team_reads.ended(id) else { return false };
        let error = match reply {
            Reply::Read(read) => {
                self.core.local.teams.on_read(now, team, &read.reading);
                CommandError::NoTeam(team)
            }
            Reply::Failed(error) => error.clone(),
            Reply::Written(_)
            | Reply::Conflict(_)
            | Reply::Replicas(_)
            | Reply::Names(_)
            | Reply::Local(_)
            | Reply::Watching(_)
            | Reply::Unwatched => CommandError::Busy,
        };
        self.go_on_in_team(now, team, &error);
        true
    }

    /// Goes on with what waits for the list of `team`; `error` says why it is not known, if it is not.
    fn go_on_in_team(&mut self, now: Instant, team: TeamId, error: &CommandError) {
        let me = self.core.identity.public_key();
        for waiting in self.team_reads.take(&team) {
            match waiting {
                Waiting::Store(ask) => {
                    self.serves.store_in_team(&mut self.core, now, ask);
                }
                Waiting::Write(id, work) => match self.core.local.teams.last_word(&team, &me) {
                    Verdict::Admitted => self.begin_write(now, id, *work),
                    Verdict::NotOnList => {
                        let error = self.core.local.teams.refusal(&team);
                        self.core.reply(id, Reply::Failed(error));
                    }
                    Verdict::Unknown => self.core.reply(id, Reply::Failed(error.clone())),
                },
            }
        }
        let waits = |operation: &Operation| matches!(operation, Operation::Get(get) if get.waits_for() == Some(team));
        let reads: Vec<CommandId> =
            self.operations.iter().filter(|(_, it)| waits(it)).map(|(id, _)| *id).collect();
        for id in reads {
            if let Some(Operation::Get(get)) = self.operations.get_mut(&id) {
                get.on_list(&mut self.core, now);
                self.end_operation(now, id);
            }
        }
    }
}
