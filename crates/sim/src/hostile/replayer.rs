//! A member that answers with what it answered before.

use potluck_wire::Response;

use super::{Deed, Heard, Manners, Me};

/// The first answer of each kind of request, again and again.
#[derive(Debug)]
pub struct Replayer<M> {
    inner: M,
    first: Vec<(std::mem::Discriminant<potluck_wire::Request>, Response)>,
}

impl<M: Manners> Replayer<M> {
    /// Replays the answers of `inner`.
    #[must_use]
    pub const fn new(inner: M) -> Self {
        Self { inner, first: Vec::new() }
    }
}

impl<M: Manners> Manners for Replayer<M> {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        let kind = std::mem::discriminant(heard.request);
        // It goes on taking in what it is told.
        let deed = self.inner.answer(me, heard);
        match self.first.iter().find(|(of, _)| *of == kind) {
            Some((_, response)) => Deed::Answer(response.clone()),
            None => {
                if let Deed::Answer(response) = &deed {
                    // One entry a kind of request.
                    self.first.push((kind, response.clone()));
                }
                deed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_wire::{Load, Request};

    use super::*;
    use crate::hostile::Replica;
    use crate::hostile::forge::Forger;
    use crate::hostile::testing::{as_member, heard};

    #[test]
    fn the_first_load_is_given_again_after_more_was_stored() {
        as_member(|me| {
            let mut replayer = Replayer::new(Replica::new());
            let mut forger = Forger::new(1);
            let envelope = forger.stranger(me, "name", 10);
            let keys = vec![envelope.head().key()];
            let load = Request::Load(Load { keys, after: None, certificates: Vec::new() });
            let before = replayer.answer(me, &heard(&load));
            let envelopes = vec![envelope.encode()];
            let store = Request::Store { envelopes, certificates: Vec::new() };
            replayer.answer(me, &heard(&store));
            assert_eq!(replayer.answer(me, &heard(&load)), before);
        });
    }
}
