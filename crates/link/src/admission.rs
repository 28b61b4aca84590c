//! The link's side of the door: which senders are let in, and when our own certificate is shown.
//!
//! The certificate is shown to who may not remember it: with every request until the peer answered
//! one without a cookie (then it has a session for us), and again after every silence. Who shows it
//! is shown one in the answer. So in the steady state no datagram carries one.

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey, Salt, UnixMillis};
use potluck_wire::limits::CERTIFICATE_BYTES_MAX;
use potluck_wire::{Request, Revoked};

use crate::frame::certificate_overhead;
use crate::gatekeeper::{Gatekeeper, Pass, RevocationError};
use crate::link::{Link, RequestToken, canonical};
use crate::outputs::Output;

/// Whether a sender may be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// There is no door.
    Open,
    /// It showed a certificate that holds, now or before.
    Admitted(Pass),
    /// It has none, but a ticket.
    Enrolling,
    /// It showed a certificate that does not hold.
    Refused,
    /// It showed nothing, and nothing of it is remembered.
    Unknown,
}

impl Link {
    /// Puts a door in: from now on only members are heard. For a new link.
    #[must_use]
    pub fn with_gatekeeper(mut self, gatekeeper: Gatekeeper) -> Self {
        self.gatekeeper = Some(gatekeeper);
        self
    }

    /// As [`with_gatekeeper`](Self::with_gatekeeper), for a link that is part of something.
    pub fn set_gatekeeper(&mut self, gatekeeper: Gatekeeper) {
        self.gatekeeper = Some(gatekeeper);
    }

    /// The door, in an `invite` network.
    #[must_use]
    pub const fn gatekeeper(&self) -> Option<&Gatekeeper> {
        self.gatekeeper.as_ref()
    }

    /// What the wall clock shows: the time by which certificates expire, and which answers carry.
    /// Until it is known, no node is admitted.
    pub fn set_wall_clock(&mut self, at: Instant, now: UnixMillis) {
        self.clock.set(at, now);
        if let Some(gatekeeper) = &mut self.gatekeeper {
            gatekeeper.set_wall_clock(now);
        }
    }

    /// This node's own certificate from now on.
    pub fn set_certificate(&mut self, certificate: Bytes) {
        if let Some(gatekeeper) = &mut self.gatekeeper {
            gatekeeper.set_certificate(certificate);
        }
        // The peers' memory is of the old one, which may expire soon.
        self.certificate_number += 1;
    }

    /// Takes a revocation over: nothing of a member that is out is heard any more, and nothing of
    /// it remembered. Gives what is out, or `None` if that was known.
    ///
    /// # Errors
    /// [`RevocationError`]
    pub fn admit_revocation(&mut self, bytes: &[u8]) -> Result<Option<Revoked>, RevocationError> {
        let gatekeeper = self.gatekeeper.as_mut().ok_or(RevocationError::NoAuthority)?;
        let out = gatekeeper.admit_revocation(bytes)?;
        if let Some(Revoked::Member(peer)) = &out {
            self.sessions.remove(peer);
        }
        Ok(out)
    }

    /// What this node's own id is salted with, as its certificate says.
    pub(crate) fn salt(&self) -> Option<Salt> {
        self.gatekeeper.as_ref().and_then(Gatekeeper::salt)
    }

    /// The revocations that this link knows, as signed bytes, to be told to others.
    pub fn revocations(&self) -> impl Iterator<Item = &Bytes> {
        self.gatekeeper.iter().flat_map(Gatekeeper::revocations)
    }

    /// Whether `peer` is known to be admitted now. True in networks without a door.
    #[must_use]
    pub fn is_admitted(&self, peer: &PublicKey) -> bool {
        self.gatekeeper.as_ref().is_none_or(|_| self.remembered(peer).is_some())
    }

    /// Until when `peer` is admitted, if it surely remembers us as a member at this address: it
    /// answered there without asking for a proof. Always in networks without a door.
    #[must_use]
    pub fn introduced_until(&self, peer: &Contact) -> Option<UnixMillis> {
        if self.gatekeeper.is_none() {
            return Some(UnixMillis(u64::MAX));
        }
        let session = self.sessions.peek(&peer.public_key)?;
        let known = session.introduced == Some(self.certificate_number);
        let pass = self.remembered(&peer.public_key)?;
        (known && session.is_at(canonical(peer.address))).then_some(pass.expires)
    }

    /// The certificate to show to `peer` and the room to leave for the one it will show; nothing if
    /// both know each other.
    pub(crate) fn to_show(&self, peer: &PublicKey) -> (Option<Bytes>, usize) {
        let Some(gatekeeper) = &self.gatekeeper else { return (None, 0) };
        let introduced = self
            .sessions
            .peek(peer)
            .is_some_and(|session| session.introduced == Some(self.certificate_number));
        if introduced && self.remembered(peer).is_some() {
            return (None, 0);
        }
        (gatekeeper.certificate().cloned(), certificate_overhead(CERTIFICATE_BYTES_MAX))
    }

    /// Our certificate, if an answer is to show it.
    pub(crate) fn shown_in_answer(&self, shows: bool) -> Option<Bytes> {
        self.gatekeeper.as_ref().filter(|_| shows)?.certificate().cloned()
    }

    /// What is remembered of a certificate of `peer`, if it holds.
    fn remembered(&self, peer: &PublicKey) -> Option<Pass> {
        let gatekeeper = self.gatekeeper.as_ref()?;
        let pass = **self.sessions.peek(peer)?.pass.as_ref()?;
        gatekeeper.holds(peer, &pass).then_some(pass)
    }

    /// Whether what came sealed from `sender` may be heard. Costs at most one check of a signature,
    /// and two for an enrolment.
    pub(crate) fn entry(
        &mut self,
        sender: &PublicKey,
        shown: Option<&[u8]>,
        request: Option<&Request>,
    ) -> Entry {
        let remembered = self.remembered(sender);
        let Some(gatekeeper) = &self.gatekeeper else { return Entry::Open };
        let entry = match (shown, remembered) {
            // Nothing new is shown.
            (Some(shown), Some(pass)) if pass.is_of(shown) => Entry::Admitted(pass),
            (None, Some(pass)) => Entry::Admitted(pass),
            (Some(shown), _) => {
                self.stats.certificates_checked += 1;
                gatekeeper.check(sender, shown).map_or(Entry::Refused, Entry::Admitted)
            }
            (None, None) => Entry::Unknown,
        };
        match (entry, request) {
            (Entry::Refused | Entry::Unknown, Some(Request::Enroll(enroll)))
                if gatekeeper.may_enroll(sender, enroll) =>
            {
                Entry::Enrolling
            }
            (entry, _) => entry,
        }
    }

    /// Notes that `peer`, whose address is proven, is admitted, and tells it once.
    pub(crate) fn note_admitted(&mut self, peer: Contact, pass: Pass) {
        let Some(session) = self.sessions.get_mut(&peer.public_key) else { return };
        session.pass = Some(Box::new(pass));
        let news = (peer.address, pass.expires);
        if session.announced.as_deref() == Some(&news) {
            return;
        }
        if self.push(Output::Admitted { contact: peer, until: pass.expires })
            && let Some(session) = self.sessions.get_mut(&peer.public_key)
        {
            session.announced = Some(Box::new(news));
        }
    }

    /// A request to `peer` got no answer in time: it may have forgotten who we are.
    pub(crate) fn note_silence(&mut self, peer: &PublicKey) {
        if let Some(session) = self.sessions.get_mut(peer) {
            session.introduced = None;
        }
    }

    /// Whether a datagram without any session behind it is worth a key agreement.
    pub(crate) fn is_marked(&self, sender: &PublicKey, boot: &[u8; 16]) -> bool {
        self.gatekeeper.is_none() || self.marks.is_boot_of(sender, boot)
    }

    /// An answer to an introduction: the request itself can go now, or the introduction once more
    /// with the cookie that the answer brought.
    pub(crate) fn go_on_after_introduction(&mut self, now: Instant, token: RequestToken) {
        if self.requests.introduced(token) {
            self.transmit_try(now, token);
        }
    }
}
