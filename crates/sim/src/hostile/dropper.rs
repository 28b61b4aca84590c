//! A member that does not answer a share of what it is asked.

use potluck_base::{BlobId, Rng};

use super::{Deed, Heard, Manners, Me, Service};

/// Answers as `inner` does, or not at all.
#[derive(Debug)]
pub struct Dropper<M> {
    inner: M,
    share: f64,
    rng: Rng,
}

impl<M: Manners> Dropper<M> {
    /// Drops this share of all requests but pings, which keep it in the tables of the others.
    #[must_use]
    pub fn new(inner: M, share: f64, seed: u64) -> Self {
        Self { inner, share, rng: Rng::from_number(seed) }
    }
}

impl<M: Manners> Manners for Dropper<M> {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        let deed = self.inner.answer(me, heard);
        let spared = matches!(heard.request, potluck_wire::Request::Ping);
        if !spared && self.rng.chance(self.share) { Deed::Silence } else { deed }
    }

    fn serve(&mut self, me: &Me<'_>, blob: &BlobId) -> Service {
        let service = self.inner.serve(me, blob);
        if self.rng.chance(self.share) { Service::Mute } else { service }
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Key;
    use potluck_wire::{Request, Want};

    use super::*;
    use crate::hostile::Replica;
    use crate::hostile::testing::{as_member, heard};

    #[test]
    fn it_drops_its_share_and_no_ping() {
        as_member(|me| {
            let mut dropper = Dropper::new(Replica::new(), 0.5, 1);
            let target = Key::from_bytes([1; 32]);
            let find = Request::FindNode { target, count: 16, want: Want::Nothing, parts: None };
            let mut silent = |request: &Request| {
                let mut silent = 0;
                for _ in 0..200 {
                    silent += usize::from(dropper.answer(me, &heard(request)) == Deed::Silence);
                }
                silent
            };
            let dropped = silent(&find);
            assert!((60..140).contains(&dropped), "{dropped} of 200");
            assert_eq!(silent(&Request::Ping), 0);
        });
    }
}
