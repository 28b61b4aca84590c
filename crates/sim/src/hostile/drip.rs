//! A source that says it has all of a blob and sends a few bytes now and then.

use potluck_base::BlobId;
use potluck_wire::{Holding, Request, Response};

use super::{Deed, Heard, Manners, Me, Replica, Service};

/// It has every blob, of one size, and drips.
#[derive(Debug)]
pub struct Drip {
    replica: Replica,
    size: u64,
}

impl Drip {
    /// It says of each blob that it has this size.
    #[must_use]
    pub const fn new(size: u64) -> Self {
        Self { replica: Replica::new(), size }
    }
}

impl Manners for Drip {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        if let Request::Have { .. } = heard.request {
            let holding = Holding { size: self.size, ..Holding::default() };
            return Deed::Answer(Response::Holding(holding));
        }
        self.replica.answer(me, heard)
    }

    fn serve(&mut self, _me: &Me<'_>, _blob: &BlobId) -> Service {
        Service::Drip
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn it_claims_all_and_drips() {
        as_member(|me| {
            let (mut drip, blob) = (Drip::new(7), BlobId::of(b"file"));
            let have = Request::Have { blob };
            let holding = Holding { size: 7, ..Holding::default() };
            assert_eq!(answer_of(drip.answer(me, &heard(&have))), Response::Holding(holding));
            assert_eq!(drip.serve(me, &blob), Service::Drip);
        });
    }
}
