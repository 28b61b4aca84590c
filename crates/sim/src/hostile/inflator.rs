//! A member whose answers are as large as they may be.

use potluck_base::{Contact, Identity, Rng};
use potluck_wire::limits::{CONTACTS_MAX, NEIGHBOURS_MAX};
use potluck_wire::{Found, Holding, Request, Response};

use super::{Deed, Heard, Manners, Me, Service};

/// Contacts and neighbours that never were, and blobs of any size: what an answer has room for.
#[derive(Debug)]
pub struct Inflator<M> {
    inner: M,
    size: u64,
    rng: Rng,
}

impl<M: Manners> Inflator<M> {
    /// It says of each blob that it has this size, and adds contacts to the answers of `inner`.
    #[must_use]
    pub fn new(inner: M, size: u64, seed: u64) -> Self {
        Self { inner, size, rng: Rng::from_number(seed) }
    }

    fn nobody(&mut self) -> Contact {
        let [a, b] = self.rng.bytes::<2>();
        let key = Identity::from_seed(self.rng.bytes()).public_key();
        Contact::new(key, ([203, 0, a, b], 4_000).into())
    }
}

impl<M: Manners> Manners for Inflator<M> {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        if matches!(heard.request, Request::Have { .. }) {
            let neighbours = (0..NEIGHBOURS_MAX).map(|_| self.nobody()).collect();
            let holding = Holding { size: self.size, neighbours, ..Holding::default() };
            return Deed::Answer(Response::Holding(holding));
        }
        match self.inner.answer(me, heard) {
            Deed::Answer(Response::Found(found)) => {
                let room = heard.budget.saturating_sub(96) / 64;
                let most = room.min(CONTACTS_MAX);
                let mut contacts = found.contacts;
                while contacts.len() < most {
                    contacts.push(self.nobody());
                }
                Deed::Answer(Response::Found(Found { contacts, ..found }))
            }
            other => other,
        }
    }

    fn serve(&mut self, _me: &Me<'_>, _blob: &potluck_base::BlobId) -> Service {
        Service::Mute
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{BlobId, Key};
    use potluck_wire::Want;

    use super::*;
    use crate::hostile::Replica;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn its_answers_are_full() {
        as_member(|me| {
            let mut inflator = Inflator::new(Replica::new(), 1 << 50, 1);
            let have = Request::Have { blob: BlobId::of(b"file") };
            let Response::Holding(holding) = answer_of(inflator.answer(me, &heard(&have))) else {
                panic!("no holding")
            };
            assert_eq!((holding.size, holding.neighbours.len()), (1 << 50, NEIGHBOURS_MAX));
            let target = Key::from_bytes([1; 32]);
            let find = Request::FindNode { target, count: 16, want: Want::Nothing, parts: None };
            let Response::Found(found) = answer_of(inflator.answer(me, &heard(&find))) else {
                panic!("not found")
            };
            assert_eq!(found.contacts.len(), CONTACTS_MAX);
        });
    }
}
