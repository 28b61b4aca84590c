//! A member that answers everything, late.

use std::time::Duration;

use potluck_base::BlobId;

use super::{Deed, Heard, Manners, Me, Service};

/// Answers as `inner` does, a while later.
#[derive(Debug)]
pub struct Delayer<M> {
    inner: M,
    by: Duration,
}

impl<M: Manners> Delayer<M> {
    /// Later by this much.
    #[must_use]
    pub const fn new(inner: M, by: Duration) -> Self {
        Self { inner, by }
    }
}

impl<M: Manners> Manners for Delayer<M> {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        match self.inner.answer(me, heard) {
            Deed::Answer(response) => Deed::Late(self.by, response),
            Deed::Late(by, response) => Deed::Late(by + self.by, response),
            other @ (Deed::Silence | Deed::Bytes(_)) => other,
        }
    }

    fn serve(&mut self, me: &Me<'_>, blob: &BlobId) -> Service {
        self.inner.serve(me, blob)
    }
}

#[cfg(test)]
mod tests {
    use potluck_wire::{Request, Response};

    use super::*;
    use crate::hostile::Replica;
    use crate::hostile::testing::{as_member, heard};

    #[test]
    fn delays_add_up() {
        as_member(|me| {
            let by = Duration::from_millis(300);
            let mut twice = Delayer::new(Delayer::new(Replica::new(), by), by);
            let deed = twice.answer(me, &heard(&Request::Ping));
            assert_eq!(deed, Deed::Late(2 * by, Response::Pong));
        });
    }
}
