//! A member that does what an honest holder does, without a node's machines: the base of most manners.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Contact, Key};
use potluck_record::{CertificateHash, Envelope, SignedHead, State};
use potluck_wire::{
    Found, InTopic, Load, Loaded, MemberResponse, RecordAnswer, RecordVersion, Refusal, Request,
    Response, StoreOutcome, TopicRequest, TopicResponse, Want,
};

use super::{Deed, Heard, Manners, Me};

/// Keys that it keeps; further ones are refused as full.
const KEYS_MAX: usize = 65_536;
/// Certificates that it keeps.
const CERTIFICATES_MAX: usize = 4_096;
/// Bytes of a datagram's answer that framing takes, and those of one contact.
const FRAME_BYTES: usize = 96;
const CONTACT_BYTES: usize = 64;
/// Contacts in an answer.
const CONTACTS: usize = 16;
/// Bytes of envelopes in one answer to a load.
const PAGE_BYTES: usize = 200 * 1024;

/// It keeps what it is given, names the nodes close to a target, answers pings, loads and its neighbours.
#[derive(Debug, Clone, Default)]
pub struct Replica {
    states: BTreeMap<Key, State<Envelope>>,
    /// Certificates of writers, as they came along.
    certificates: BTreeMap<CertificateHash, Bytes>,
}

impl Replica {
    /// One that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { states: BTreeMap::new(), certificates: BTreeMap::new() }
    }

    /// What it holds under a key.
    #[must_use]
    pub fn state(&self, key: &Key) -> State<Envelope> {
        self.states.get(key).cloned().unwrap_or_default()
    }

    fn learn(&mut self, certificates: &[Bytes]) {
        for bytes in certificates {
            if self.certificates.len() < CERTIFICATES_MAX {
                self.certificates.insert(CertificateHash::of(bytes), bytes.clone());
            }
        }
    }

    /// An answer to a load with the certificates that it asks for, as far as they are here.
    pub(super) fn with_certificates(&self, load: &Load, answer: Loaded) -> Loaded {
        let asked = load.certificates.iter();
        let certificates = asked.filter_map(|hash| self.certificates.get(hash).cloned()).collect();
        Loaded { certificates, ..answer }
    }

    /// Takes an envelope as an honest holder would.
    pub fn take(&mut self, bytes: &Bytes) -> StoreOutcome {
        let Ok(envelope) = Envelope::decode(bytes) else {
            return StoreOutcome::Refused(Refusal::BadEnvelope);
        };
        let key = envelope.head().key();
        if self.states.len() >= KEYS_MAX && !self.states.contains_key(&key) {
            return StoreOutcome::Refused(Refusal::Full);
        }
        let state = self.states.entry(key).or_default();
        state.merge(envelope);
        StoreOutcome::Stored(state.digest())
    }
}

/// The answer to a lookup that names the closest known nodes and shows this state.
pub(super) fn found(
    me: &Me<'_>,
    heard: &Heard<'_>,
    target: &Key,
    state: &State<Envelope>,
) -> Response {
    let want = match heard.request {
        Request::FindNode { want, .. } => *want,
        _ => Want::Nothing,
    };
    let parts: Vec<Bytes> = match want {
        Want::Nothing => Vec::new(),
        Want::Heads => state.iter().map(|held| SignedHead::encode(held.head())).collect(),
        Want::Values => state.iter().map(Envelope::encode).collect(),
    };
    let size: usize = parts.iter().map(|part| part.len() + 5).sum();
    let room = heard.budget.saturating_sub(FRAME_BYTES);
    let complete = size <= room;
    let left = if complete { room - size } else { room };
    let record = (want != Want::Nothing).then(|| RecordAnswer {
        digest: state.digest(),
        parts: if complete { parts } else { Vec::new() },
        complete,
    });
    let contacts = close(me, heard.from, target, CONTACTS.min(left / CONTACT_BYTES));
    Response::Found(Found { contacts, record, part: None })
}

fn close(me: &Me<'_>, asker: Contact, target: &Key, most: usize) -> Vec<Contact> {
    let others: Vec<_> = me
        .knows
        .iter()
        .filter(|peer| peer.contact.public_key != asker.public_key)
        .filter(|peer| peer.contact.public_key != me.contact.public_key)
        .copied()
        .collect();
    crate::check::closest(&others, target, most).iter().map(|peer| peer.contact).collect()
}

/// The answer to a load out of these states, as many whole envelopes as fit.
pub(super) fn loaded(load: &Load, state_of: impl Fn(&Key) -> State<Envelope>) -> Loaded {
    let mut answer = Loaded::default();
    let mut room = PAGE_BYTES;
    for (number, key) in load.keys.iter().enumerate() {
        let state = state_of(key);
        let after = load.after.filter(|_| number == 0);
        let parts = state
            .iter()
            .filter(|held| after.is_none_or(|after| *held.head().writer().as_bytes() > after));
        for part in parts {
            let bytes = part.encode();
            if bytes.len() > room {
                return answer;
            }
            room -= bytes.len();
            answer.envelopes.push(bytes);
        }
        answer.keys_done += 1;
    }
    answer
}

impl Manners for Replica {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        Deed::Answer(match heard.request {
            Request::Ping => Response::Pong,
            Request::FindNode { target, .. } => found(me, heard, target, &self.state(target)),
            Request::Store { envelopes, certificates } => {
                self.learn(certificates);
                let outcomes = envelopes.iter().map(|bytes| self.take(bytes)).collect();
                Response::Stored { outcomes }
            }
            Request::Load(load) => {
                let answer = loaded(load, |key| self.state(key));
                Response::Loaded(self.with_certificates(load, answer))
            }
            Request::Offer { .. } => Response::Offered { wanted: 0 },
            Request::Leave { .. } => Response::Left,
            Request::Have { .. } => Response::refused(Refusal::NotHeld),
            Request::Search(_) => Response::Taken,
            Request::Member(_) => {
                let mine = RecordVersion { incarnation: 1, revision: 0 };
                Response::Member(MemberResponse::Ack { mine, hints: None })
            }
            Request::Topic(InTopic { body, .. }) => Response::Topic(neighbour(body)),
            Request::Enroll(_)
            | Request::Names(_)
            | Request::Apply(_)
            | Request::Watch(_)
            | Request::Fingerprints(_)
            | Request::Changes(_) => Response::refused(Refusal::Busy),
        })
    }
}

/// What a neighbour that does its duty says, so that it keeps its links.
fn neighbour(body: &TopicRequest) -> TopicResponse {
    match body {
        TopicRequest::Gossip { .. } => TopicResponse::GossipAck { prune: 1, busy: false },
        TopicRequest::Graft { .. } => TopicResponse::GraftAck { lacking: 0 },
        TopicRequest::Neighbour { .. } => TopicResponse::Accepted { age_ms: 0 },
        TopicRequest::Disconnect { .. }
        | TopicRequest::ForwardJoin { .. }
        | TopicRequest::Shuffle { .. }
        | TopicRequest::ShuffleReply { .. }
        | TopicRequest::Probe
        | TopicRequest::IHave { .. } => TopicResponse::Ack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::forge::Forger;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn what_it_was_given_it_gives_again_in_pages() {
        as_member(|me| {
            let mut replica = Replica::new();
            let mut forger = Forger::new(1);
            let envelopes: Vec<Bytes> =
                (0..3).map(|_| forger.stranger(me, "name", 100 * 1024).encode()).collect();
            let key = Envelope::decode(&envelopes[0]).expect("an envelope").head().key();
            let store = Request::Store { envelopes, certificates: Vec::new() };
            let Response::Stored { outcomes } = answer_of(replica.answer(me, &heard(&store)))
            else {
                panic!("not stored")
            };
            assert_eq!(outcomes.len(), 3);
            assert_eq!(outcomes[2], StoreOutcome::Stored(replica.state(&key).digest()));
            let (mut after, mut pages, mut got) = (None, 0, 0);
            loop {
                let load = Request::Load(Load { keys: vec![key], after, certificates: Vec::new() });
                let Response::Loaded(page) = answer_of(replica.answer(me, &heard(&load))) else {
                    panic!("not loaded")
                };
                pages += 1;
                got += page.envelopes.len();
                if page.keys_done == 1 {
                    break;
                }
                let last = page.envelopes.last().expect("a page with something in it");
                let last = Envelope::decode(last).expect("an envelope");
                after = Some(*last.head().writer().as_bytes());
            }
            assert_eq!((got, pages), (3, 3), "an envelope of 100 KiB fills a page");
        });
    }

    #[test]
    fn a_state_that_does_not_fit_a_datagram_is_said_not_to_be_complete() {
        as_member(|me| {
            let mut replica = Replica::new();
            let envelope = Forger::new(1).stranger(me, "name", 4_000);
            let key = envelope.head().key();
            replica.take(&envelope.encode());
            let find =
                Request::FindNode { target: key, count: 16, want: Want::Values, parts: None };
            for (budget, complete) in [(1_000, false), (100_000, true)] {
                let asked = Heard { budget, ..heard(&find) };
                let Response::Found(found) = answer_of(replica.answer(me, &asked)) else {
                    panic!("not found")
                };
                let record = found.record.expect("a record");
                assert_eq!(
                    (record.complete, record.parts.len()),
                    (complete, usize::from(complete))
                );
            }
        });
    }
}
