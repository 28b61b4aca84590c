//! A member that takes and gives nothing: it reads, and refuses every store, load and fetch.

use potluck_wire::{Refusal, Request, Response};

use super::{Deed, Heard, Manners, Me};

/// Answers as `inner` does where that keeps it in the network, and is busy for all else.
#[derive(Debug)]
pub struct FreeRider<M> {
    inner: M,
}

impl<M: Manners> FreeRider<M> {
    /// One that stays in the network as `inner` would.
    #[must_use]
    pub const fn new(inner: M) -> Self {
        Self { inner }
    }
}

impl<M: Manners> Manners for FreeRider<M> {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        match heard.request {
            Request::Store { .. }
            | Request::Load(_)
            | Request::Offer { .. }
            | Request::Have { .. }
            | Request::Names(_)
            | Request::Apply(_)
            | Request::Watch(_) => Deed::Answer(Response::refused(Refusal::Busy)),
            _ => self.inner.answer(me, heard),
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::BlobId;

    use super::*;
    use crate::hostile::Replica;
    use crate::hostile::testing::{answer_of, as_member, heard};

    #[test]
    fn it_is_there_and_gives_nothing() {
        as_member(|me| {
            let mut rider = FreeRider::new(Replica::new());
            assert_eq!(answer_of(rider.answer(me, &heard(&Request::Ping))), Response::Pong);
            let have = Request::Have { blob: BlobId::of(b"file") };
            let busy = Response::refused(Refusal::Busy);
            assert_eq!(answer_of(rider.answer(me, &heard(&have))), busy);
        });
    }
}
