//! Members that work together: whatever is looked up, they name each other.

use potluck_base::{Key, Peer};
use potluck_wire::{Found, Response};

use super::{Deed, Heard, Manners, Me, Service};
use crate::check::closest;

/// Answers as its inner manners do, but that lookups are told of its friends alone.
#[derive(Debug, Clone)]
pub struct Colluder<M> {
    inner: M,
    friends: Vec<Peer>,
}

impl<M> Colluder<M> {
    /// One of these friends.
    pub const fn new(inner: M, friends: Vec<Peer>) -> Self {
        Self { inner, friends }
    }

    fn poisoned(&self, target: &Key, found: Found) -> Found {
        let count = found.contacts.len().max(1);
        let nearest = closest(&self.friends, target, count);
        Found { contacts: nearest.iter().map(|peer| peer.contact).collect(), ..found }
    }
}

impl<M: Manners> Manners for Colluder<M> {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        let potluck_wire::Request::FindNode { target, .. } = heard.request else {
            return self.inner.answer(me, heard);
        };
        match self.inner.answer(me, heard) {
            Deed::Answer(Response::Found(found)) => {
                Deed::Answer(Response::Found(self.poisoned(target, found)))
            }
            Deed::Late(by, Response::Found(found)) => {
                Deed::Late(by, Response::Found(self.poisoned(target, found)))
            }
            deed @ (Deed::Silence | Deed::Answer(_) | Deed::Late(..) | Deed::Bytes(_)) => deed,
        }
    }

    fn serve(&mut self, me: &Me<'_>, blob: &potluck_base::BlobId) -> Service {
        self.inner.serve(me, blob)
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{Contact, Identity};
    use potluck_wire::{Request, Want};

    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};
    use crate::hostile::{Liar, Lie};

    #[test]
    fn it_names_its_friends_alone_and_lies_as_its_manners_do() {
        as_member(|me| {
            let friend = |number: u8| {
                let key = Identity::from_seed([number; 32]).public_key();
                Contact::new(key, ([198, 19, 0, number], 4_000).into()).in_network(me.network)
            };
            let friends: Vec<Peer> = (1..=3).map(friend).collect();
            let mut colluder = Colluder::new(Liar::new(Lie::Absent, 1), friends.clone());
            let target = Key::from(friends[1].id);
            let find = Request::FindNode { target, count: 16, want: Want::Values, parts: None };
            let Response::Found(found) = answer_of(colluder.answer(me, &heard(&find))) else {
                panic!("not found")
            };
            assert_eq!(found.contacts, [friends[1].contact], "at least the closest of them");
            assert!(found.record.is_some_and(|record| record.parts.is_empty()));
            assert_eq!(answer_of(colluder.answer(me, &heard(&Request::Ping))), Response::Pong);
        });
    }
}
