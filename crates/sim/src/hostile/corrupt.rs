//! A source that says it has all of a blob and sends other bytes.

use potluck_base::BlobId;
use potluck_wire::{Holding, Request, Response};

use super::{Deed, Heard, Manners, Me, Replica, Service};

/// It has every blob, of one size, and every granule of it is false.
#[derive(Debug)]
pub struct Corrupt {
    replica: Replica,
    size: u64,
}

impl Corrupt {
    /// It says of each blob that it has this size.
    #[must_use]
    pub const fn new(size: u64) -> Self {
        Self { replica: Replica::new(), size }
    }
}

impl Manners for Corrupt {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        if let Request::Have { .. } = heard.request {
            let holding = Holding { size: self.size, ..Holding::default() };
            return Deed::Answer(Response::Holding(holding));
        }
        self.replica.answer(me, heard)
    }

    fn serve(&mut self, _me: &Me<'_>, _blob: &BlobId) -> Service {
        Service::Corrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn it_claims_a_size_and_sends_what_is_false() {
        as_member(|me| {
            let (mut corrupt, blob) = (Corrupt::new(1 << 40), BlobId::of(b"file"));
            let answer = answer_of(corrupt.answer(me, &heard(&Request::Have { blob })));
            assert!(matches!(answer, Response::Holding(holding) if holding.size == 1 << 40));
            assert_eq!(corrupt.serve(me, &blob), Service::Corrupt);
        });
    }
}
