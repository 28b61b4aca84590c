//! Answering others. Each kind of question has a price, and each peer an income: who asks too much is
//! told to come later, before anything is signed, checked or looked up.

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{Claim, MemberRequest, MemberResponse, Proof, Refusal, Response};

use super::rates::BAD_RECORD;
use super::table::State;
use super::{Errand, How, Members, Output, ServeId};

fn price(request: &MemberRequest) -> u32 {
    match request {
        MemberRequest::Probe { .. } => 1,
        MemberRequest::ProbeFor { .. } | MemberRequest::Prove { .. } => 4,
        MemberRequest::Doubt { claims } => 2 + claims.len() as u32,
        MemberRequest::Tell { records } => 1 + records.len() as u32 / 4,
        MemberRequest::Shut { revocations } => 1 + revocations.len() as u32 / 8,
        MemberRequest::Load { .. } => 4,
        MemberRequest::Compare { .. } | MemberRequest::Page { .. } => 8,
    }
}

impl Members {
    /// Another node asks.
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
            return self.outbox.push_back(Output::Answer { serve, response });
        }
        if let Some(response) = self.answer_to(now, serve, from, request, budget) {
            self.outbox.push_back(Output::Answer { serve, response });
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
            MemberRequest::Probe { mine, doubted, component } => {
                self.on_word(now, &from.public_key, mine);
                if let Some(component) = component {
                    self.on_component(now, from, component);
                }
                if let Some(vitals) = doubted {
                    let subject = self.me.contact.public_key;
                    self.on_doubted_myself(now, Claim { subject, vitals });
                }
                let mine = self.me.vitals;
                let surroundings = self.surroundings(now, from);
                Some(Response::Member(MemberResponse::Alive { mine, surroundings }))
            }
            MemberRequest::ProbeFor { subject, nonce } => self.help(serve, from, subject, nonce),
            MemberRequest::Prove { asker, nonce } => Some(self.prove(&asker, nonce)),
            MemberRequest::Doubt { claims } => Some(self.on_doubts(now, &from.public_key, claims)),
            MemberRequest::Tell { records } => {
                for record in &records {
                    let good = self.take_record(now, record, true);
                    if !good && !self.rates.charge(now, &from.public_key, BAD_RECORD) {
                        break;
                    }
                }
                Some(Response::Taken)
            }
            MemberRequest::Shut { revocations } => {
                self.outbox.push_back(Output::Revocations(revocations));
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

    /// Somebody could not reach these, and hears which of them this node could not reach either.
    fn on_doubts(&mut self, now: Instant, from: &PublicKey, claims: Vec<Claim>) -> Response {
        let shared: Vec<Claim> =
            claims.iter().filter(|claim| self.shares(claim)).copied().collect();
        for claim in claims {
            self.on_doubt(now, *from, claim);
        }
        match shared.is_empty() {
            true => Response::Taken,
            false => Response::Member(MemberResponse::Shared { claims: shared }),
        }
    }

    /// Whether this node tried the subject for itself and found it silent since the same word.
    fn shares(&self, claim: &Claim) -> bool {
        self.table.get(&claim.subject).is_some_and(|member| {
            matches!(member.state, State::Suspect(_) | State::Dead) && member.vitals == claim.vitals
        })
    }

    fn prove(&self, asker: &PublicKey, nonce: u64) -> Response {
        let proof = Proof::sign(&self.identity, &self.network, asker, nonce, self.me.vitals);
        let Proof { vitals, signature } = proof;
        Response::Member(MemberResponse::Proof { vitals, signature })
    }

    /// Tries a member for another. Only members known here, at the address known here: nobody can
    /// point this node at an address of his choice.
    fn help(
        &mut self,
        serve: ServeId,
        from: Contact,
        subject: Contact,
        nonce: u64,
    ) -> Option<Response> {
        let not_reached = Some(Response::refused(Refusal::NotReached));
        if subject.public_key == self.me.contact.public_key {
            return Some(self.prove(&from.public_key, nonce));
        }
        let known = self.table.get(&subject.public_key).filter(|member| member.is_here());
        let Some(to) = known.map(|member| member.peer.contact) else { return not_reached };
        let request = MemberRequest::Prove { asker: from.public_key, nonce };
        match self.ask(to, request, Errand::Prove { serve }, How::tries(1)) {
            Some(_) => None,
            None => not_reached,
        }
    }

    /// The member that was tried for another answered, or did not.
    pub(super) fn on_proved(&mut self, serve: ServeId, response: Option<Response>) {
        let response = match response {
            Some(proof @ Response::Member(MemberResponse::Proof { .. })) => proof,
            _ => Response::refused(Refusal::NotReached),
        };
        self.outbox.push_back(Output::Answer { serve, response });
    }
}
