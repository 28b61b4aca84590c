//! The link's side of the door: which senders are let in, and when our own certificate is shown.
//!
//! In an `open` network the proof of the puzzles takes the place of the certificate, by the same rules.
//!
//! The certificate is shown to who may not remember it: with every request until the peer answered
//! one without a cookie (then it has a session for us), and again after every silence. Who shows it
//! is shown one in the answer. So in the steady state no datagram carries one.

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey, Salt, UnixMillis};
use potluck_wire::limits::{CERTIFICATE_BYTES_MAX, PUZZLE_PROOF_BYTES_MAX};
use potluck_wire::{Request, Revoked};

use crate::frame::certificate_overhead;
use crate::gatekeeper::{Gatekeeper, OwnTrouble, Pass, RevocationError};
use crate::link::{Link, RequestToken, canonical};
use crate::outputs::Output;
use crate::puzzle_gate::{Checked, PuzzleGate};

/// The rule by which a node decides which senders it answers.
#[derive(Debug)]
pub(crate) enum Door {
    /// In an `invite` network: certificates.
    Invite(Gatekeeper),
    /// In an `open` network: puzzles.
    Open(PuzzleGate),
}

impl Door {
    /// What this node shows.
    fn credential(&self) -> Option<&Bytes> {
        match self {
            Self::Invite(gatekeeper) => gatekeeper.certificate(),
            Self::Open(gate) => gate.proof(),
        }
    }

    /// The longest that others show.
    const fn credential_bytes_max(&self) -> usize {
        match self {
            Self::Invite(_) => CERTIFICATE_BYTES_MAX,
            Self::Open(_) => PUZZLE_PROOF_BYTES_MAX,
        }
    }

    fn holds(&self, sender: &PublicKey, pass: &Pass) -> bool {
        match self {
            Self::Invite(gatekeeper) => gatekeeper.holds(sender, pass),
            Self::Open(gate) => gate.holds(pass),
        }
    }
}

/// What a sender showed, and how it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) credential: Option<&'a [u8]>,
    /// Whether its address is proven, or it was asked.
    pub(crate) proven: bool,
}

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
        self.set_gatekeeper(gatekeeper);
        self
    }

    /// As [`with_gatekeeper`](Self::with_gatekeeper), for a link that is part of something.
    pub fn set_gatekeeper(&mut self, gatekeeper: Gatekeeper) {
        self.door = Some(Door::Invite(gatekeeper));
    }

    /// Puts the door of an `open` network in. For a new link.
    pub fn set_puzzle_gate(&mut self, gate: PuzzleGate) {
        self.door = Some(Door::Open(gate));
    }

    /// The door, in an `invite` network.
    #[must_use]
    pub const fn gatekeeper(&self) -> Option<&Gatekeeper> {
        match &self.door {
            Some(Door::Invite(gatekeeper)) => Some(gatekeeper),
            Some(Door::Open(_)) | None => None,
        }
    }

    fn gatekeeper_mut(&mut self) -> Option<&mut Gatekeeper> {
        match &mut self.door {
            Some(Door::Invite(gatekeeper)) => Some(gatekeeper),
            Some(Door::Open(_)) | None => None,
        }
    }

    /// The door, in an `open` network.
    #[must_use]
    pub const fn puzzle_gate(&self) -> Option<&PuzzleGate> {
        match &self.door {
            Some(Door::Open(gate)) => Some(gate),
            Some(Door::Invite(_)) | None => None,
        }
    }

    /// Why the others do not hear this node any more, as far as it knows. In an `invite` network this
    /// costs a check of a signature.
    #[must_use]
    pub fn own_trouble(&self) -> Option<OwnTrouble> {
        match self.door.as_ref()? {
            Door::Invite(gatekeeper) => gatekeeper.own_trouble(),
            Door::Open(gate) => gate.own_trouble(),
        }
    }

    /// What the wall clock shows: the time by which certificates expire, and which answers carry.
    /// Until it is known, no node is admitted.
    pub fn set_wall_clock(&mut self, at: Instant, now: UnixMillis) {
        self.clock.set(at, now);
        match &mut self.door {
            Some(Door::Invite(gatekeeper)) => gatekeeper.set_wall_clock(now),
            Some(Door::Open(gate)) => gate.set_wall_clock(now),
            None => {}
        }
    }

    /// This node's own certificate, or proof of its puzzles, from now on.
    pub fn set_certificate(&mut self, certificate: Bytes) {
        match &mut self.door {
            Some(Door::Invite(gatekeeper)) => gatekeeper.set_certificate(certificate),
            Some(Door::Open(gate)) => gate.set_proof(certificate),
            None => {}
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
        let gatekeeper = self.gatekeeper_mut().ok_or(RevocationError::NoAuthority)?;
        let out = gatekeeper.admit_revocation(bytes)?;
        if let Some(Revoked::Member(peer)) = &out {
            self.sessions.remove(peer);
        }
        Ok(out)
    }

    /// What this node's own id is salted with, as its certificate says.
    pub(crate) fn salt(&self) -> Option<Salt> {
        self.gatekeeper().and_then(Gatekeeper::salt)
    }

    /// The revocations that this link knows, as signed bytes, to be told to others.
    pub fn revocations(&self) -> impl Iterator<Item = &Bytes> {
        self.gatekeeper().into_iter().flat_map(Gatekeeper::revocations)
    }

    /// Whether `peer` is known to be admitted now. True in networks without a door.
    #[must_use]
    pub fn is_admitted(&self, peer: &PublicKey) -> bool {
        self.door.as_ref().is_none_or(|_| self.remembered(peer).is_some())
    }

    /// Until when `peer` is admitted, if it surely remembers us as a member at this address: it
    /// answered there without asking for a proof. Always in networks without a door.
    #[must_use]
    pub fn introduced_until(&self, peer: &Contact) -> Option<UnixMillis> {
        if self.door.is_none() {
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
        let Some(door) = &self.door else { return (None, 0) };
        let introduced = self
            .sessions
            .peek(peer)
            .is_some_and(|session| session.introduced == Some(self.certificate_number));
        if introduced && self.remembered(peer).is_some() {
            return (None, 0);
        }
        (door.credential().cloned(), certificate_overhead(door.credential_bytes_max()))
    }

    /// Our certificate, if an answer is to show it.
    pub(crate) fn shown_in_answer(&self, shows: bool) -> Option<Bytes> {
        self.door.as_ref().filter(|_| shows)?.credential().cloned()
    }

    /// What is remembered of a certificate of `peer`, if it holds.
    fn remembered(&self, peer: &PublicKey) -> Option<Pass> {
        let door = self.door.as_ref()?;
        let pass = **self.sessions.peek(peer)?.pass.as_ref()?;
        door.holds(peer, &pass).then_some(pass)
    }

    /// Whether what came sealed from `sender` may be heard. Costs at most one check of a signature,
    /// and two for an enrolment; in an `open` network a few hashes.
    pub(crate) fn entry(
        &mut self,
        now: Instant,
        sender: &PublicKey,
        shown: Shown<'_>,
        request: Option<&Request>,
    ) -> Entry {
        let remembered = self.remembered(sender);
        let Some(door) = &mut self.door else { return Entry::Open };
        let credential = match (shown.credential, remembered) {
            // Nothing new is shown.
            (Some(credential), Some(pass)) if pass.is_of(credential) => {
                return Entry::Admitted(pass);
            }
            (None, Some(pass)) => return Entry::Admitted(pass),
            (Some(credential), _) => Some(credential),
            (None, None) => None,
        };
        match door {
            Door::Invite(gatekeeper) => {
                let entry = credential.map_or(Entry::Unknown, |certificate| {
                    self.stats.certificates_checked += 1;
                    gatekeeper.check(sender, certificate).map_or(Entry::Refused, Entry::Admitted)
                });
                match (entry, request) {
                    (Entry::Refused | Entry::Unknown, Some(Request::Enroll(enroll)))
                        if gatekeeper.may_enroll(sender, enroll) =>
                    {
                        Entry::Enrolling
                    }
                    (entry, _) => entry,
                }
            }
            Door::Open(gate) => {
                let Some(proof) = credential else { return Entry::Unknown };
                match gate.check(now, sender, proof, shown.proven) {
                    Checked::Holds(pass) => {
                        self.stats.puzzles_checked += 1;
                        Entry::Admitted(pass)
                    }
                    Checked::Wrong => {
                        self.stats.puzzles_refused += 1;
                        Entry::Refused
                    }
                    Checked::Deferred => {
                        self.stats.puzzles_deferred += 1;
                        Entry::Unknown
                    }
                }
            }
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
        let (until, ticket) = (pass.expires, pass.ticket);
        if self.push(Output::Admitted { contact: peer, until, ticket })
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
        self.door.is_none() || self.marks.is_boot_of(sender, boot)
    }

    /// An answer to an introduction: the request itself can go now, or the introduction once more
    /// with the cookie that the answer brought.
    pub(crate) fn go_on_after_introduction(&mut self, now: Instant, token: RequestToken) {
        if self.requests.introduced(token) {
            self.transmit_try(now, token);
        }
    }
}
