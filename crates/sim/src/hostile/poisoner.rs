//! A member that answers each lookup with its accomplices only, and keeps nothing.

use std::sync::Arc;

use potluck_base::Peer;
use potluck_record::StateDigest;
use potluck_wire::{Found, RecordAnswer, Request, Response, Want};

use super::{Deed, Heard, Manners, Me, Replica};
use crate::check::closest;

/// Bytes of a datagram's answer that framing takes, and those of one contact.
const FRAME_BYTES: usize = 160;
const CONTACT_BYTES: usize = 64;

/// It names accomplices, says that no record is there, and drops what is to be stored or loaded. For all else it
/// does what an honest member does, so that it stays in the tables and views of the others.
#[derive(Debug)]
pub struct Poisoner {
    accomplices: Arc<Vec<Peer>>,
    replica: Replica,
}

impl Poisoner {
    /// One of these accomplices. Some of them may be in no table.
    #[must_use]
    pub const fn new(accomplices: Arc<Vec<Peer>>) -> Self {
        Self { accomplices, replica: Replica::new() }
    }
}

impl Manners for Poisoner {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        match heard.request {
            Request::FindNode { target, count, want, .. } => {
                let room = heard.budget.saturating_sub(FRAME_BYTES) / CONTACT_BYTES;
                let most = usize::from(*count).min(room);
                let named = closest(&self.accomplices, target, most + 1);
                let others =
                    named.iter().filter(|it| it.contact.public_key != me.contact.public_key);
                let contacts = others.take(most).map(|peer| peer.contact).collect();
                let absent =
                    RecordAnswer { digest: StateDigest::EMPTY, parts: Vec::new(), complete: true };
                let record = (*want != Want::Nothing).then_some(absent);
                Deed::Answer(Response::Found(Found { contacts, record, part: None }))
            }
            Request::Store { .. } | Request::Load(_) | Request::Offer { .. } => Deed::Silence,
            _ => self.replica.answer(me, heard),
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Contact, Identity, Key, NetworkId};

    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn it_names_accomplices_next_to_the_target_and_no_record() {
        let network = NetworkId::new("test", Admission::Lab, None);
        let peer = |number| {
            let key = Identity::from_seed([number; 32]).public_key();
            Contact::new(key, ([198, 19, 1, number], 4_000).into()).in_network(&network)
        };
        let all: Vec<Peer> = (1..40).map(peer).collect();
        let target = Key::from_bytes([5; 32]);
        as_member(|me| {
            let mut poisoner = Poisoner::new(Arc::new(all.clone()));
            let find = Request::FindNode { target, count: 8, want: Want::Heads, parts: None };
            let Response::Found(found) = answer_of(poisoner.answer(me, &heard(&find))) else {
                panic!("no answer to a lookup");
            };
            let nearest: Vec<Contact> =
                closest(&all, &target, 8).iter().map(|peer| peer.contact).collect();
            assert_eq!(found.contacts, nearest);
            assert_eq!(found.record.map(|record| record.digest), Some(StateDigest::EMPTY));
            let store = Request::Store { envelopes: Vec::new(), certificates: Vec::new() };
            assert_eq!(poisoner.answer(me, &heard(&store)), Deed::Silence);
            assert_eq!(answer_of(poisoner.answer(me, &heard(&Request::Ping))), Response::Pong);
        });
    }
}
