//! Manners of hostile members: what a member that turned answers and how it serves, each in a file of its
//! own.
//!
//! A manner is a value with a method, so that a scenario composes them: most wrap a [`Replica`], which does
//! what an honest holder does, and deviate in one point. A closure is a manner too.

mod colluder;
mod corrupt;
mod delayer;
mod drip;
mod dropper;
mod equivocator;
pub mod forge;
mod free_rider;
mod inflator;
mod liar;
mod poisoner;
mod reflector;
mod replayer;
mod replica;
mod stuffer;

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{BlobId, Contact, Identity, Instant, NetworkId, Peer, UnixMillis};
use potluck_record::CertificateHash;
use potluck_wire::{Request, Response};

pub use colluder::Colluder;
pub use corrupt::Corrupt;
pub use delayer::Delayer;
pub use drip::Drip;
pub use dropper::Dropper;
pub use equivocator::Equivocator;
pub use free_rider::FreeRider;
pub use inflator::Inflator;
pub use liar::{Liar, Lie};
pub use poisoner::Poisoner;
pub use reflector::Reflector;
pub use replayer::Replayer;
pub use replica::Replica;
pub use stuffer::Stuffer;

/// A hostile member as its manners see it.
#[derive(Debug, Clone, Copy)]
pub struct Me<'a> {
    /// Its key pair.
    pub identity: &'a Identity,
    /// Its key and address.
    pub contact: Contact,
    /// Its network.
    pub network: &'a NetworkId,
    /// Names its certificate, in `invite` networks.
    pub certificate: Option<CertificateHash>,
    /// Virtual time.
    pub now: Instant,
    /// What an exact wall clock shows.
    pub wall: UnixMillis,
    /// The members that it knows: what it was told by [`World::hostile_joins`](crate::World::hostile_joins).
    pub knows: &'a [Peer],
}

/// A request of a node.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Who asks, and from where.
    pub from: Contact,
    /// What.
    pub request: &'a Request,
    /// Longest encoded answer that reaches the asker, in bytes.
    pub budget: usize,
    /// Whether it came in a call.
    pub in_call: bool,
}

/// What a hostile member does with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Nothing: the asker waits for its time-out.
    Silence,
    /// It answers at once. An answer to a datagram that is over the budget is not sent.
    Answer(Response),
    /// It answers after a while.
    Late(Duration, Response),
    /// It answers a call with these bytes, whatever they are. In a datagram: nothing.
    Bytes(Bytes),
}

/// How a hostile member serves a stream of granules of a blob.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Service {
    /// It says that it has nothing of the blob.
    Refuse,
    /// It takes the stream and says nothing in it.
    Mute,
    /// A few bytes every half second, and never the end of a granule.
    Drip,
    /// A granule whose bytes are not those of the blob.
    Corrupt,
}

/// What a hostile member answers to requests, and how it serves fetches.
pub trait Manners: Send {
    /// What it does with a request of a node.
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed;

    /// How it serves the blob to a node that fetches from it.
    fn serve(&mut self, _me: &Me<'_>, _blob: &BlobId) -> Service {
        Service::Refuse
    }
}

impl<F: FnMut(&Me<'_>, &Heard<'_>) -> Deed + Send> Manners for F {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        self(me, heard)
    }
}

impl Manners for Box<dyn Manners> {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        (**self).answer(me, heard)
    }

    fn serve(&mut self, me: &Me<'_>, blob: &BlobId) -> Service {
        (**self).serve(me, blob)
    }
}

/// Answers pings, so that it may be taken for a node, and nothing else.
pub(crate) fn pong(_: &Me<'_>, heard: &Heard<'_>) -> Deed {
    match heard.request {
        Request::Ping => Deed::Answer(Response::Pong),
        _ => Deed::Silence,
    }
}

/// Something hostile members under test answer to.
#[cfg(test)]
pub(crate) mod testing {
    use potluck_base::Admission;

    use super::*;

    /// Runs `test` as a hostile member that knows no other node.
    pub(crate) fn as_member<T>(test: impl FnOnce(&Me<'_>) -> T) -> T {
        let identity = Identity::from_seed([66; 32]);
        let network = NetworkId::new("test", Admission::Lab, None);
        let contact = Contact::new(identity.public_key(), ([198, 19, 0, 1], 4_000).into());
        test(&Me {
            identity: &identity,
            contact,
            network: &network,
            certificate: None,
            now: Instant::ZERO,
            wall: UnixMillis(1_800_000_000_000),
            knows: &[],
        })
    }

    /// A request in a call by a node.
    pub(crate) fn heard(request: &Request) -> Heard<'_> {
        let from = Contact::new(
            Identity::from_seed([67; 32]).public_key(),
            ([10, 0, 0, 1], 12_345).into(),
        );
        Heard { from, request, budget: potluck_wire::limits::CALL_BYTES_MAX, in_call: true }
    }

    /// The answer in a deed.
    pub(crate) fn answer_of(deed: Deed) -> Response {
        match deed {
            Deed::Answer(response) | Deed::Late(_, response) => response,
            other => panic!("no answer: {other:?}"),
        }
    }
}
