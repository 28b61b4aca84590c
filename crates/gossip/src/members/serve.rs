//! Requests of other members. Each kind has a price and each peer a token bucket: a peer over its
//! rate is refused as busy before anything is signed, verified or looked up.

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{MemberRequest, MemberResponse, Refusal, Response, SuspectMessage};

use super::Members;
use super::event::{Output, ServeId};
use super::outbox::{AskOptions, Purpose};
use super::rates::BAD_RECORD;
use super::table::LocalState;

fn price(request: &MemberRequest) -> u32 {
    match request {
        MemberRequest::Ping { .. } => 1,
        MemberRequest::PingReq { .. } | MemberRequest::Prove { .. } => 4,
        MemberRequest::Suspect { suspects } => 2 + suspects.len() as u32,
        MemberRequest::Tell { records } => 1 + records.len() as u32 / 4,
        MemberRequest::Revoke { revocations } => 1 + revocations.len() as u32 / 8,
        MemberRequest::Load { .. } => 4,
        // A signature is checked.
        MemberRequest::Settings { .. } => 8,
        MemberRequest::Compare { .. } | MemberRequest::Page { .. } => 8,
    }
}

impl Members {
    /// Handles a request of another node.
    pub(super) fn on_asked(
        &mut self,
        now: Instant,
        serve: ServeId,
        from: Contact,
        request: MemberRequest,
        budget: usize,
    ) {
        self.stats.asked += 1;
        if !self.rates.charge(now, &from.public_key, price(&request)) {
            self.stats.over_rate += 1;
            let response = Response::refused(Refusal::Busy);
            return self.outbox.answer(serve, response);
        }
        if let Some(response) = self.answer_to(now, serve, from, request, budget) {
            self.outbox.answer(serve, response);
        }
    }

    /// The answer; `None` if it comes later.
    fn answer_to(
        &mut self,
        now: Instant,
        serve: ServeId,
        from: Contact,
        request: MemberRequest,
        budget: usize,
    ) -> Option<Response> {
        match request {
            MemberRequest::Ping { mine, suspected, partition } => {
                self.on_version(now, &from.public_key, mine);
                if let Some(partition) = partition {
                    self.on_partition(now, from, partition);
                }
                if let Some(version) = suspected {
                    let subject = self.own.key();
                    self.on_suspected_self(now, SuspectMessage { subject, version });
                }
                let mine = self.own.version();
                let hints = self.hints(now, from);
                Some(Response::Member(MemberResponse::Ack { mine, hints }))
            }
            MemberRequest::PingReq { subject, nonce } => self.help(serve, from, subject, nonce),
            MemberRequest::Prove { asker, nonce } => Some(self.own.prove(&asker, nonce)),
            MemberRequest::Suspect { suspects } => {
                Some(self.on_suspects(now, &from.public_key, suspects))
            }
            MemberRequest::Tell { records } => {
                for record in &records {
                    let good = self.take_record(now, record, true);
                    if !good && !self.rates.charge(now, &from.public_key, BAD_RECORD) {
                        break;
                    }
                }
                Some(Response::Taken)
            }
            MemberRequest::Revoke { revocations } => {
                let from = from.public_key;
                self.outbox.push(Output::Revocations { from, revocations });
                Some(Response::Taken)
            }
            MemberRequest::Settings { settings } => {
                self.outbox.push(Output::Settings(settings));
                Some(Response::Taken)
            }
            MemberRequest::Compare { digests } => {
                let refused = Response::refused(Refusal::Unsupported);
                Some(self.differing(&digests, budget).unwrap_or(refused))
            }
            MemberRequest::Load { members } => Some(self.load(&members, budget)),
            MemberRequest::Page { after } => Some(self.page_behind(&after, budget)),
        }
    }

    /// Handles suspect messages of another member. The answer names the members that this node could not
    /// reach either.
    fn on_suspects(
        &mut self,
        now: Instant,
        from: &PublicKey,
        suspects: Vec<SuspectMessage>,
    ) -> Response {
        let confirmed: Vec<SuspectMessage> =
            suspects.iter().filter(|suspect| self.confirms(suspect)).copied().collect();
        for suspect in suspects {
            self.on_suspect(now, *from, suspect);
        }
        match confirmed.is_empty() {
            true => Response::Taken,
            false => Response::Member(MemberResponse::Confirmed { suspects: confirmed }),
        }
    }

    /// Whether this node probed the subject itself and found it silent since the same version.
    fn confirms(&self, suspect: &SuspectMessage) -> bool {
        self.table.get(&suspect.subject).is_some_and(|member| {
            matches!(member.state, LocalState::Suspect(_) | LocalState::Dead)
                && member.version == suspect.version
        })
    }

    /// Probes a member for another one. The member must be known to this node and is probed at the address
    /// known to this node, so no node can direct the probe to another address.
    fn help(
        &mut self,
        serve: ServeId,
        from: Contact,
        subject: Contact,
        nonce: u64,
    ) -> Option<Response> {
        let not_reached = Some(Response::refused(Refusal::NotReached));
        if subject.public_key == self.own.key() {
            return Some(self.own.prove(&from.public_key, nonce));
        }
        let known = self.table.get(&subject.public_key).filter(|member| member.is_here());
        let Some(to) = known.map(|member| member.peer.contact) else { return not_reached };
        let request = MemberRequest::Prove { asker: from.public_key, nonce };
        match self.ask(to, request, Purpose::Prove { serve }, AskOptions::tries(1)) {
            Some(_) => None,
            None => not_reached,
        }
    }

    /// The member that was probed for another one answered, or did not.
    pub(super) fn on_proved(&mut self, serve: ServeId, response: Option<Response>) {
        let response = match response {
            Some(proof @ Response::Member(MemberResponse::Proof { .. })) => proof,
            _ => Response::refused(Refusal::NotReached),
        };
        self.outbox.answer(serve, response);
    }
}
