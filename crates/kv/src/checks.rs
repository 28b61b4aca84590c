//! Signatures of store requests, checked before anything of a request is stored: in portions, so that
//! other inputs are handled between, and up to the first that is bad.
//!
//! A store request may carry a thousand envelopes. Checked in one transition they would occupy the node
//! for tens of milliseconds. So a request is checked [`PORTION`] signatures at a time, requests take turns,
//! and the request is carried out when all of them are good. Good results are remembered by the
//! [`Core`], so that carrying out checks nothing twice.
//!
//! **Invariant:** at most [`WAITING_MAX`] requests wait, and at most [`WAITING_PER_PEER`] of one peer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, NodeId, PublicKey};
use potluck_record::Envelope;
use potluck_wire::{Refusal, Request, Response, StoreOutcome};

use crate::core::Core;
use crate::event::{Output, PeerRequest, ServeId};

/// Signatures checked in one transition: about a millisecond. Raising it answers large requests sooner and
/// delays other inputs.
const PORTION: usize = 32;
/// Pause between two portions. While requests wait, at most [`PORTION`] signatures are checked in this
/// time, for all peers together.
const PAUSE: Duration = Duration::from_millis(1);
/// Requests that wait for their next portion; further ones are refused as busy. Each is as large as a call
/// at most, so this bounds their memory to 16 MiB.
const WAITING_MAX: usize = 64;
/// The same of one peer: one peer can not use up the places of the others.
const WAITING_PER_PEER: usize = 8;
/// Envelopes of all requests that wait, and of those of one peer. It must stay below the good results that
/// the core remembers (4,096): results that are forgotten before their request is carried out are checked
/// again, all in one transition. One request of a peer may have more than its share.
const ENVELOPES_MAX: usize = 3072;
const ENVELOPES_PER_PEER: usize = 1024;

/// A store request whose first envelopes are checked.
#[derive(Debug, Clone)]
struct Waiting {
    serve: ServeId,
    asked: PeerRequest,
    /// How many of its envelopes are checked.
    checked: usize,
}

/// The requests that are being checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    waiting: VecDeque<Waiting>,
    next: Option<Instant>,
}

/// How far a portion got.
enum Portion {
    /// All envelopes are checked.
    Done,
    /// This many are.
    Upto(usize),
    /// One has a bad signature.
    Bad,
}

impl Checks {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the next portion is due.
    pub(crate) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Gives the request back if it may be carried out now. Else it waits, or was answered.
    pub(crate) fn take(
        &mut self,
        core: &mut Core,
        now: Instant,
        serve: ServeId,
        asked: PeerRequest,
    ) -> Option<PeerRequest> {
        let Request::Store { envelopes, .. } = &asked.request else { return Some(asked) };
        if !core.config.defences.priced_peers || !core.serves || !asked.proven {
            return Some(asked);
        }
        if envelopes.len() > PORTION && !self.has_room(&asked.from.id, envelopes.len()) {
            core.stats.requests_busy += 1;
            core.respond(serve, Response::refused(Refusal::Busy));
            return None;
        }
        let from = asked.from.contact.public_key;
        match check(core, &from, envelopes, 0) {
            Portion::Done => Some(asked),
            Portion::Bad => {
                refuse(core, serve, envelopes.len());
                None
            }
            Portion::Upto(checked) => {
                self.waiting.push_back(Waiting { serve, asked, checked });
                self.next.get_or_insert(now + PAUSE);
                None
            }
        }
    }

    /// Whether a request of this many envelopes may wait.
    fn has_room(&self, from: &NodeId, envelopes: usize) -> bool {
        let (mut all, mut own, mut of_peer) = (0, 0, 0);
        for waiting in &self.waiting {
            let Request::Store { envelopes, .. } = &waiting.asked.request else { continue };
            all += envelopes.len();
            if waiting.asked.from.id == *from {
                own += envelopes.len();
                of_peer += 1;
            }
        }
        let fits = of_peer == 0 || own + envelopes <= ENVELOPES_PER_PEER;
        let places = of_peer < WAITING_PER_PEER && self.waiting.len() < WAITING_MAX;
        fits && places && all + envelopes <= ENVELOPES_MAX
    }

    /// Checks the next portion of the request whose turn it is. Gives the request back if it may be
    /// carried out.
    pub(crate) fn on_timeout(
        &mut self,
        core: &mut Core,
        now: Instant,
    ) -> Option<(ServeId, PeerRequest)> {
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        let done = self.waiting.pop_front().and_then(|mut waiting| {
            let Request::Store { envelopes, .. } = &waiting.asked.request else { return None };
            let from = waiting.asked.from.contact.public_key;
            match check(core, &from, envelopes, waiting.checked) {
                Portion::Done => return Some((waiting.serve, waiting.asked)),
                Portion::Bad => refuse(core, waiting.serve, envelopes.len()),
                Portion::Upto(checked) => {
                    waiting.checked = checked;
                    self.waiting.push_back(waiting);
                }
            }
            None
        });
        self.next = (!self.waiting.is_empty()).then_some(now + PAUSE);
        done
    }
}

/// Checks up to [`PORTION`] signatures from envelope `first` on, and bills the peer for them.
fn check(core: &mut Core, from: &PublicKey, envelopes: &[Bytes], first: usize) -> Portion {
    let before = core.stats.signatures_checked;
    let spent = |core: &Core| core.stats.signatures_checked - before;
    let mut portion = Portion::Done;
    for (index, part) in envelopes.iter().enumerate().skip(first) {
        if spent(core) >= PORTION as u64 {
            portion = Portion::Upto(index);
            break;
        }
        // Bytes that are no envelope are refused when the request is carried out.
        if let Ok(envelope) = Envelope::decode(part)
            && !core.is_genuine(envelope.head())
        {
            portion = Portion::Bad;
            break;
        }
    }
    bill(core, *from, before, matches!(portion, Portion::Bad));
    portion
}

/// Tells the node what the checks since `before` were for.
pub(crate) fn bill(core: &mut Core, peer: PublicKey, before: u64, bad: bool) {
    let signatures = core.stats.signatures_checked - before;
    if signatures > 0 {
        let signatures = u32::try_from(signatures).unwrap_or(u32::MAX);
        core.outbox.push_back(Output::Checked { peer, signatures, bad });
    }
}

/// Nothing of the request is stored: a node that sends an envelope with a bad signature did not check what
/// it passes on, or made it.
fn refuse(core: &mut Core, serve: ServeId, envelopes: usize) {
    core.stats.envelopes_refused += envelopes as u64;
    let outcomes = vec![StoreOutcome::Refused(Refusal::BadEnvelope); envelopes];
    core.respond(serve, Response::Stored { outcomes });
}
