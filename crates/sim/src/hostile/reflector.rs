//! A member whose answers to lookups name nodes that never were, all at the address of a bystander.

use std::net::SocketAddr;

use potluck_base::{Contact, Identity, Rng};
use potluck_wire::{Found, Request, Response};

use super::{Deed, Heard, Manners, Me, Replica};

/// Contacts in one answer: as many as fit a datagram.
const CONTACTS: usize = 16;

/// Sends the lookups of others to one address.
#[derive(Debug)]
pub struct Reflector {
    replica: Replica,
    bystander: SocketAddr,
    rng: Rng,
}

impl Reflector {
    /// All its contacts are at this address.
    #[must_use]
    pub fn new(bystander: SocketAddr, seed: u64) -> Self {
        Self { replica: Replica::new(), bystander, rng: Rng::from_number(seed) }
    }
}

impl Manners for Reflector {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        let Request::FindNode { .. } = heard.request else {
            return self.replica.answer(me, heard);
        };
        let most = CONTACTS.min(heard.budget.saturating_sub(96) / 64);
        let contacts: Vec<Contact> = (0..most)
            .map(|_| {
                let key = Identity::from_seed(self.rng.bytes()).public_key();
                Contact::new(key, self.bystander)
            })
            .collect();
        Deed::Answer(Response::Found(Found { contacts, ..Found::default() }))
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Key;
    use potluck_wire::Want;

    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn all_its_contacts_are_new_nodes_at_one_address() {
        as_member(|me| {
            let at = ([203, 0, 113, 9], 53).into();
            let mut reflector = Reflector::new(at, 1);
            let target = Key::from_bytes([1; 32]);
            let find = Request::FindNode { target, count: 16, want: Want::Nothing, parts: None };
            let Response::Found(found) = answer_of(reflector.answer(me, &heard(&find))) else {
                panic!("not found")
            };
            assert_eq!(found.contacts.len(), CONTACTS);
            assert!(found.contacts.iter().all(|contact| contact.address == at));
        });
    }
}
