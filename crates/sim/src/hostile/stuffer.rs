//! A member that gives far more than it offered: pages of a record that never end.

use potluck_base::Key;
use potluck_record::Envelope;
use potluck_wire::{Loaded, Request, Response};

use super::forge::{Forger, Shape};
use super::{Deed, Heard, Manners, Me, Replica};

/// Bytes of the values of one envelope: as many as it may have.
const VALUE_BYTES: usize = 120 * 1024;
/// Writers that it makes up at most, so that a world without the defence ends.
const WRITERS_MAX: usize = 2_000;

/// Each load of its key is answered by a further throw-away writer with 120 KiB, and never ends.
#[derive(Debug)]
pub struct Stuffer {
    replica: Replica,
    key: Key,
    name: String,
    /// What it made up, in the order of writers.
    made_up: std::collections::BTreeMap<[u8; 32], potluck_base::Identity>,
    forger: Forger,
}

impl Stuffer {
    /// It stuffs this record of the commons.
    #[must_use]
    pub fn new(key: Key, name: &str, seed: u64) -> Self {
        let mut forger = Forger::new(seed);
        let writers = (0..WRITERS_MAX).map(|_| forger.throw_away());
        let made_up = writers.map(|writer| (*writer.public_key().as_bytes(), writer)).collect();
        Self { replica: Replica::new(), key, name: name.to_owned(), made_up, forger }
    }

    fn next(&mut self, me: &Me<'_>, after: Option<[u8; 32]>) -> Option<Envelope> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let (_, writer) = self.made_up.range((from, std::ops::Bound::Unbounded)).next()?;
        let shape = Shape { bytes: VALUE_BYTES, ..Shape::default() };
        Some(self.forger.envelope(me, writer, &self.name, shape))
    }
}

impl Manners for Stuffer {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        let Request::Load(load) = heard.request else { return self.replica.answer(me, heard) };
        if load.keys.first() != Some(&self.key) {
            return self.replica.answer(me, heard);
        }
        // In a datagram it does not fit: an empty page makes the asker call.
        if !heard.in_call {
            return Deed::Answer(Response::Loaded(Loaded::default()));
        }
        let envelopes = self.next(me, load.after).iter().map(Envelope::encode).collect();
        Deed::Answer(Response::Loaded(Loaded { envelopes, ..Loaded::default() }))
    }
}

#[cfg(test)]
mod tests {
    use potluck_record::{Name, Space};
    use potluck_wire::Load;

    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn each_page_has_a_further_writer_and_none_is_the_last() {
        as_member(|me| {
            let name = Name::new("name").expect("a name");
            let key = Space::Commons.key(&name).expect("a key");
            let mut stuffer = Stuffer::new(key, "name", 1);
            let mut after = None;
            for _ in 0..5 {
                let keys = vec![key];
                let load = Request::Load(Load { keys, after, certificates: Vec::new() });
                let Response::Loaded(page) = answer_of(stuffer.answer(me, &heard(&load))) else {
                    panic!("not loaded")
                };
                let envelope = Envelope::decode(&page.envelopes[0]).expect("an envelope");
                let writer = *envelope.head().writer().as_bytes();
                assert!(after.is_none_or(|after| writer > after) && page.keys_done == 0);
                after = Some(writer);
            }
        });
    }
}
