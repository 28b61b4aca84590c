//! A writer that signs two envelopes with one dot and shows each to half of those that ask.

use potluck_base::Key;
use potluck_record::{Envelope, State};
use potluck_wire::{Request, Response};

use super::forge::{Forger, Shape};
use super::replica::{found, loaded};
use super::{Deed, Heard, Manners, Me, Replica};

/// Of one record it shows one of two states of its own, by the asker's key.
#[derive(Debug)]
pub struct Equivocator {
    replica: Replica,
    key: Key,
    name: String,
    faces: Option<[State<Envelope>; 2]>,
}

impl Equivocator {
    /// It lies about this record of the commons.
    #[must_use]
    pub fn new(key: Key, name: &str) -> Self {
        Self { replica: Replica::new(), key, name: name.to_owned(), faces: None }
    }

    fn state(&mut self, me: &Me<'_>, heard: &Heard<'_>, key: &Key) -> State<Envelope> {
        if *key != self.key {
            return self.replica.state(key);
        }
        let name = &self.name;
        let faces = self.faces.get_or_insert_with(|| {
            [1, 2].map(|seed| {
                // Equal sequences give equal dots; the values differ.
                let shape = Shape { bytes: 32, ..Shape::default() };
                let mut forger = Forger::new(seed);
                [forger.envelope(me, me.identity, name, shape)].into_iter().collect()
            })
        });
        let side = usize::from(heard.from.public_key.as_bytes()[0] & 1);
        let genuine = self.replica.state(key);
        genuine.iter().chain(faces[side].iter()).cloned().collect()
    }
}

impl Manners for Equivocator {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        match heard.request {
            Request::FindNode { target, .. } => {
                let state = self.state(me, heard, target);
                Deed::Answer(found(me, heard, target, &state))
            }
            Request::Load(load) => {
                let states: Vec<(Key, State<Envelope>)> =
                    load.keys.iter().map(|key| (*key, self.state(me, heard, key))).collect();
                let of = |key: &Key| {
                    states.iter().find(|(of, _)| of == key).map(|(_, state)| state.clone())
                };
                let answer = loaded(load, |key| of(key).unwrap_or_default());
                Deed::Answer(Response::Loaded(self.replica.with_certificates(load, answer)))
            }
            _ => self.replica.answer(me, heard),
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{Contact, Identity};
    use potluck_record::{Name, Space};
    use potluck_wire::Load;

    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn two_askers_see_two_envelopes_with_one_dot() {
        as_member(|me| {
            let name = Name::new("name").expect("a name");
            let key = Space::Commons.key(&name).expect("a key");
            let mut equivocator = Equivocator::new(key, "name");
            let load =
                Request::Load(Load { keys: vec![key], after: None, certificates: Vec::new() });
            let mut seen = Vec::new();
            for parity in [0, 1] {
                let asker = (0..).map(|seed| Identity::from_seed([seed; 32]).public_key());
                let asker = asker.into_iter().find(|key| key.as_bytes()[0] & 1 == parity);
                let from = Contact::new(asker.expect("a key"), me.contact.address);
                let asked = Heard { from, ..heard(&load) };
                let Response::Loaded(page) = answer_of(equivocator.answer(me, &asked)) else {
                    panic!("not loaded")
                };
                seen.push(Envelope::decode(&page.envelopes[0]).expect("an envelope"));
            }
            assert_eq!(seen[0].head().dot(), seen[1].head().dot());
            assert_ne!(seen[0].head().digest(), seen[1].head().digest());
        });
    }
}
