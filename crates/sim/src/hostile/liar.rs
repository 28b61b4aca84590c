//! A holder that lies in its answers to readers and acknowledges every store.

use std::collections::BTreeMap;

use potluck_base::Key;
use potluck_record::{Envelope, State, StateDigest};
use potluck_wire::{Found, RecordAnswer, Request, Response};

use super::forge::{Forger, Shape};
use super::replica::{found, loaded};
use super::{Deed, Heard, Manners, Me, Replica};

/// Entries of a context that nobody ever wrote.
const INVENTED: usize = 120;
/// Envelopes that it makes up beside the genuine ones.
const MADE_UP: usize = 2;
/// How far what it dates ahead lies ahead: two days.
const AHEAD_MS: u64 = 2 * 24 * 60 * 60 * 1000;

/// What a liar says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// There is no such record.
    Absent,
    /// The first state that it ever held of it.
    Stale,
    /// The genuine state and envelopes of throw-away keys whose contexts name writers that never were.
    Inflated,
    /// The genuine state and envelopes of throw-away keys dated two days ahead.
    Ahead,
    /// A state that has a digest, and cannot be loaded.
    Hollow,
}

/// Acknowledges what it is given, and says of each record what its lie is.
#[derive(Debug)]
pub struct Liar {
    replica: Replica,
    first: BTreeMap<Key, State<Envelope>>,
    made_up: BTreeMap<Key, Vec<Envelope>>,
    names: BTreeMap<Key, String>,
    lie: Lie,
    forger: Forger,
}

impl Liar {
    /// One with this lie; what it makes up comes from `seed`.
    #[must_use]
    pub fn new(lie: Lie, seed: u64) -> Self {
        Self {
            replica: Replica::new(),
            first: BTreeMap::new(),
            made_up: BTreeMap::new(),
            names: BTreeMap::new(),
            lie,
            forger: Forger::new(seed),
        }
    }

    /// It knows that this record of the commons exists, without having been given it.
    pub fn knows_name(mut self, key: Key, name: &str) -> Self {
        self.names.insert(key, name.to_owned());
        self
    }

    fn said(&mut self, me: &Me<'_>, key: &Key) -> State<Envelope> {
        let held = self.replica.state(key);
        let extra = match self.lie {
            Lie::Absent | Lie::Hollow => return State::default(),
            Lie::Stale => return self.first.get(key).cloned().unwrap_or_default(),
            Lie::Inflated => Extra::Invented,
            Lie::Ahead => Extra::Ahead,
        };
        let Some(name) = self.names.get(key) else { return held };
        let forger = &mut self.forger;
        let made_up = self.made_up.entry(*key).or_insert_with(|| {
            (0..MADE_UP)
                .map(|_| {
                    let writer = forger.throw_away();
                    let shape = match extra {
                        Extra::Invented => {
                            let context = forger.invented_context(me, INVENTED);
                            // Without a value: with one it would be a sibling like any other.
                            Shape { bytes: 0, context, ahead_ms: 0 }
                        }
                        Extra::Ahead => Shape { bytes: 16, ahead_ms: AHEAD_MS, ..Shape::default() },
                    };
                    forger.envelope(me, &writer, name, shape)
                })
                .collect()
        });
        held.iter().chain(made_up.iter()).cloned().collect()
    }

    fn learn(&mut self, request: &Request) {
        let Request::Store { envelopes, .. } = request else { return };
        for envelope in envelopes.iter().filter_map(|bytes| Envelope::decode(bytes).ok()) {
            let key = envelope.head().key();
            self.names.entry(key).or_insert_with(|| envelope.head().name().to_owned());
            self.first.entry(key).or_insert_with(|| [envelope].into_iter().collect());
        }
    }
}

#[derive(Clone, Copy)]
enum Extra {
    Invented,
    Ahead,
}

impl Manners for Liar {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        match heard.request {
            Request::FindNode { target, .. } => {
                let state = self.said(me, target);
                let mut response = found(me, heard, target, &state);
                if let (Lie::Hollow, Response::Found(Found { record: Some(record), .. })) =
                    (self.lie, &mut response)
                {
                    let digest = StateDigest::from_bytes([0xee; 16]);
                    *record = RecordAnswer { digest, parts: Vec::new(), complete: false };
                }
                Deed::Answer(response)
            }
            Request::Load(load) => {
                let states: BTreeMap<Key, State<Envelope>> =
                    load.keys.iter().map(|key| (*key, self.said(me, key))).collect();
                let answer = loaded(load, |key| states.get(key).cloned().unwrap_or_default());
                Deed::Answer(Response::Loaded(self.replica.with_certificates(load, answer)))
            }
            request => {
                self.learn(request);
                self.replica.answer(me, heard)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_wire::Want;

    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn each_lie_is_told_after_an_acknowledgement() {
        as_member(|me| {
            for (lie, parts) in [
                (Lie::Absent, Some(0)),
                (Lie::Stale, Some(1)),
                (Lie::Inflated, Some(4)),
                (Lie::Ahead, Some(4)),
                (Lie::Hollow, None),
            ] {
                let mut liar = Liar::new(lie, 1);
                let mut honest = Forger::new(2);
                let writers = [honest.throw_away(), honest.throw_away()];
                let mut key = None;
                for writer in &writers {
                    let envelope =
                        honest.envelope(me, writer, "name", Shape { bytes: 9, ..Shape::default() });
                    key = Some(envelope.head().key());
                    let store = Request::Store {
                        envelopes: vec![envelope.encode()],
                        certificates: Vec::new(),
                    };
                    let answer = answer_of(liar.answer(me, &heard(&store)));
                    assert!(matches!(answer, Response::Stored { .. }), "{answer:?}");
                }
                let target = key.expect("a key");
                let find = Request::FindNode { target, count: 16, want: Want::Values, parts: None };
                let Response::Found(found) = answer_of(liar.answer(me, &heard(&find))) else {
                    panic!("{lie:?}")
                };
                let record = found.record.expect("a record");
                assert_eq!(record.complete.then_some(record.parts.len()), parts, "{lie:?}");
            }
        });
    }
}
