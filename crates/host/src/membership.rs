//! A node's membership of an `invite` network: its certificate and its renewal, the revocations,
//! and, where the authority key is, the making of tickets and certificates.
//!
//! The core decides which nodes are admitted; this module does the work that needs a disk, a key or the
//! wall clock. It never blocks the drive loop: writes to the disk run in other threads and their result
//! comes back as an input.
//!
//! **Invariants:** the use of a ticket is on the disk before the answer to the enrolment is sent; a
//! certificate is used only after its signature and subject were checked; the newest list of revocations
//! is the one that the disk ends up with.

mod book;
mod enroll;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod issuer;
mod network_settings;
mod renewal;
mod resolve_id;
mod terms;
mod ticket_contacts;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use potluck_base::{Contact, Identity, PublicKey, UnixMillis};
use potluck_node::{Command, EnrolmentId, Input, Output, Reply};
use potluck_wire::{Certificate, Enroll, Refusal, Revoked, Ticket};
use tokio::sync::{mpsc, oneshot};

use crate::StartError;
use crate::addresses::Whereabouts;
use crate::clock::Clock;
use crate::folder::{DataFolder, NetworkInfo, read_authority, write_authority};
use crate::request::Request;
use crate::transport::AdmissionFilter;
use book::Book;
pub(crate) use enroll::Enrolment;
pub use error::MembershipError;
use issuer::Issuer;
use renewal::{Due, Renewal};
pub use terms::{InviteTerms, IssuedStats, TicketView};

/// The proofs with which a node starts as a member.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) certificate: Bytes,
    pub(crate) revocations: Vec<Bytes>,
    pub(crate) issuers: Vec<Contact>,
    pub(crate) authority: Option<Authority>,
}

/// The authority key with its book.
#[derive(Debug)]
pub(crate) struct Authority(Issuer);

impl Authority {
    /// Opens the book of `key`, in `folder` if there is one.
    pub(crate) fn open(
        key: Identity,
        network: &NetworkInfo,
        folder: Option<&DataFolder>,
        now: UnixMillis,
    ) -> Result<Self, MembershipError> {
        let book = match folder {
            Some(folder) => {
                Book::open(&folder.issued_path(), now).map_err(MembershipError::Book)?
            }
            None => Book::in_memory(),
        };
        let mut issuer = Issuer::new(key, network.clone(), book);
        if let Some(folder) = folder {
            issuer.set_revocations(&folder.revocations());
        }
        Ok(Self(issuer))
    }

    /// A certificate for this node.
    pub(crate) fn certify_own(
        &mut self,
        now: UnixMillis,
        own: PublicKey,
    ) -> Result<Bytes, MembershipError> {
        self.0.certify_own(now, own)
    }
}

/// Whether `certificate` lets `own` be a member of `network` at `now`.
pub(crate) fn holds(
    certificate: &Bytes,
    own: &PublicKey,
    network: &NetworkInfo,
    now: UnixMillis,
) -> bool {
    read(certificate, own, network).is_some_and(|certificate| certificate.expires > now)
}

fn read(bytes: &Bytes, own: &PublicKey, network: &NetworkInfo) -> Option<Certificate> {
    let certificate = Certificate::read(bytes, network.authority.as_ref()?, &network.id).ok()?;
    (certificate.subject == *own).then_some(certificate)
}

/// A running node's membership. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    own: PublicKey,
    whereabouts: Whereabouts,
    network: NetworkInfo,
    folder: Option<DataFolder>,
    clock: Clock,
    issuers: Vec<Contact>,
    filter: Arc<AdmissionFilter>,
    requests: mpsc::Sender<Request>,
    issuer: Mutex<Option<Issuer>>,
    /// The certificate in use, and the schedule of its renewal.
    renewal: Mutex<Renewal>,
    /// The newest list of revocations, with its number.
    revocations: Mutex<(u64, Vec<Bytes>)>,
    /// The number of the list on the disk.
    saved: Mutex<u64>,
    /// The newest settings of the network that are to be on the disk.
    settings: Mutex<Option<Bytes>>,
    /// Held while they are written.
    saving_settings: Mutex<()>,
}

/// The parts of a membership.
pub(crate) struct Parts {
    pub(crate) whereabouts: Whereabouts,
    pub(crate) network: NetworkInfo,
    pub(crate) folder: Option<DataFolder>,
    pub(crate) clock: Clock,
    pub(crate) admitted: Admitted,
    pub(crate) filter: Arc<AdmissionFilter>,
    /// Requests to the drive loop.
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Membership {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { whereabouts, network, folder, clock, admitted, filter, requests } = parts;
        let Admitted { certificate, revocations, issuers, authority } = admitted;
        let own = whereabouts.node().public_key;
        let read = read(&certificate, &own, &network);
        let (issued, expires) =
            read.map_or_else(Default::default, |read| (read.issued, read.expires));
        let shared = Shared {
            own,
            whereabouts,
            network,
            folder,
            clock,
            issuers,
            filter,
            requests,
            issuer: Mutex::new(authority.map(|authority| authority.0)),
            renewal: Mutex::new(Renewal::new(issued, expires)),
            revocations: Mutex::new((0, revocations)),
            saved: Mutex::new(0),
            settings: Mutex::new(None),
            saving_settings: Mutex::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether this node holds the authority key.
    #[must_use]
    pub fn is_issuer(&self) -> bool {
        self.shared.issuer.lock().is_some()
    }

    /// When the node's certificate expires.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.shared.renewal.lock().expires()
    }

    /// Why the node has not renewed its certificate, as a sentence. `None` if there is no trouble, and once
    /// the certificate has expired, which the node's status shows anyway.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.renewal.lock().trouble(self.shared.clock.wall())
    }

    /// Issues a ticket.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn invite(&self, terms: InviteTerms) -> Result<Ticket, MembershipError> {
        let nodes =
            ticket_contacts::of_ticket(self.shared.whereabouts.node(), self.issuers_now().await);
        self.with_issuer(move |issuer, now| issuer.invite(now, terms, &nodes)).await
    }

    /// The tickets of this node that have not expired and were not cancelled.
    ///
    /// # Errors
    /// [`MembershipError::NotIssuer`]
    pub async fn tickets(&self) -> Result<Vec<TicketView>, MembershipError> {
        self.with_issuer(|issuer, now| Ok(issuer.tickets(now))).await
    }

    /// How full the book of tickets and certificates is.
    ///
    /// # Errors
    /// [`MembershipError::NotIssuer`]
    pub async fn issued(&self) -> Result<IssuedStats, MembershipError> {
        self.with_issuer(|issuer, _| Ok(issuer.stats())).await
    }

    /// A signed revocation of the member whose node id or public key is, or begins with, `who`. Searches the
    /// members with a certificate from this node, and `known`.
    pub(crate) async fn revocation(
        &self,
        who: &str,
        known: Vec<PublicKey>,
    ) -> Result<(PublicKey, Bytes), MembershipError> {
        let (who, own, id) = (who.to_owned(), self.shared.own, self.shared.network.id);
        self.with_issuer(move |issuer, now| {
            let mut members = known;
            members.extend(issuer.subjects());
            members.push(own);
            match resolve_id::member(&who, &members, &ticket_ids(issuer, now), &id)? {
                key if key == own => Err(MembershipError::Own),
                key => Ok((key, issuer.revoke(now, Revoked::Member(key)))),
            }
        })
        .await
    }

    /// Cancels the ticket whose id is, or begins with, `who`: from now on it admits no node here, also
    /// after a restart. Returns a signed revocation of the ticket, which revokes all members that it
    /// admitted.
    pub(crate) async fn cancellation(
        &self,
        who: &str,
    ) -> Result<(PublicKey, Bytes), MembershipError> {
        let who = who.to_owned();
        self.with_issuer(move |issuer, now| {
            let key = resolve_id::ticket(&who, &ticket_ids(issuer, now))?;
            Ok((key, issuer.cancel(now, key)?))
        })
        .await
    }

    /// Writes the authority key to a new file that only its owner can read.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn export_key(&self, path: &Path) -> Result<(), MembershipError> {
        let (path, name) = (path.to_owned(), self.shared.network.name.clone());
        self.with_issuer(move |issuer, _| {
            write_authority(&path, &name, issuer.authority()).map_err(|error| key_file(&error))
        })
        .await
    }

    /// Takes the authority key from a file that `export_key` wrote: from now on this node issues
    /// certificates.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn import_key(&self, path: &Path) -> Result<(), MembershipError> {
        let (path, this) = (path.to_owned(), self.clone());
        let work = tokio::task::spawn_blocking(move || this.import(&path));
        work.await.map_err(|_| MembershipError::Stopped)?
    }

    fn import(&self, path: &Path) -> Result<(), MembershipError> {
        let shared = &self.shared;
        let folder = shared.folder.as_ref().ok_or(MembershipError::NoFolder)?;
        let (name, key) = read_authority(path).map_err(|error| key_file(&error))?;
        if Some(key.public_key()) != shared.network.authority {
            return Err(MembershipError::OtherKey(name));
        }
        let mut issuer = self.shared.issuer.lock();
        if issuer.is_some() {
            return Ok(());
        }
        folder.save_authority(&shared.network, &key).map_err(|error| key_file(&error))?;
        let now = shared.clock.wall();
        *issuer = Some(Authority::open(key, &shared.network, Some(folder), now)?.0);
        Ok(())
    }

    /// Carries out an output of the core about admission.
    pub(crate) fn carry_out(&self, output: Output) {
        match output {
            Output::Admitted { public_key, address, until } => {
                if self.shared.issuers.iter().any(|issuer| issuer.public_key == public_key) {
                    self.shared.renewal.lock().issuer_heard();
                }
                self.shared.filter.admit(Contact::new(public_key, address), until);
            }
            Output::Expelled { public_key } => self.shared.filter.expel(&public_key),
            Output::Enroll { id, from, enroll } => self.enroll(id, from, enroll),
            Output::Renewed { certificate } => self.take_certificate(certificate),
            Output::SaveSettings { settings } => self.save_settings(settings),
            Output::SaveRevocations { revocations } => self.save_revocations(revocations),
            Output::Transmit { .. }
            | Output::Storage { .. }
            | Output::Call { .. }
            | Output::AnswerCall { .. }
            | Output::RefuseCall { .. }
            | Output::Ignore { .. }
            | Output::Resolve { .. }
            | Output::Addresses { .. }
            | Output::SaveContacts { .. }
            | Output::Reply { .. }
            | Output::Swarm(_)
            | Output::LookForNames { .. }
            | Output::Message(_)
            | Output::Missed { .. }
            | Output::Changed(_)
            | Output::WatchEnded(_)
            | Output::Event(_) => tracing::error!(
                code = "internal.output",
                "an output of the core is not about admission"
            ),
        }
    }

    fn enroll(&self, id: EnrolmentId, from: PublicKey, enroll: Enroll) {
        let this = self.clone();
        tokio::spawn(async move {
            let decide = this.with_issuer(move |issuer, now| Ok(issuer.enroll(now, from, &enroll)));
            let result = match decide.await {
                Ok(result) => result,
                Err(MembershipError::NotIssuer) => Err(Refusal::NotIssuer),
                Err(_) => Err(Refusal::Busy),
            };
            if result.is_ok() {
                tracing::info!(code = "admission.admitted", member = %from, "admitted");
            }
            this.tell(Input::Enrolled { id, result }).await;
        });
    }

    /// Requests a new certificate when it is due. Called about once a second.
    pub(crate) fn tick(&self, now: UnixMillis) {
        let due = self.shared.renewal.lock().due(now);
        match due {
            Due::No => return,
            Due::Ask => {}
            Due::AskAndTell => {
                let trouble = self.trouble().unwrap_or_else(|| "it has expired".to_owned());
                tracing::warn!(code = "certificate.none", %trouble, "no new certificate yet; going on asking");
            }
        }
        let this = self.clone();
        tokio::spawn(async move {
            let own = this.shared.own;
            match this.with_issuer(move |issuer, now| issuer.certify_own(now, own)).await {
                Ok(certificate) => this.take_certificate(certificate),
                Err(MembershipError::NotIssuer) => {
                    let contacts = this.issuers_now().await;
                    this.tell(Input::Renew { contacts }).await;
                }
                Err(error) => {
                    tracing::warn!(code = "certificate.renew", %error, "cannot renew the certificate");
                }
            }
        });
    }

    /// The nodes that may sign the next certificate: at their addresses in the member list, and at those
    /// where this node was admitted.
    async fn issuers_now(&self) -> Vec<Contact> {
        let issuers = &self.shared.issuers;
        let (reply, answer) = oneshot::channel();
        let request = Request::Command { command: Command::Members, reply };
        if self.shared.requests.send(request).await.is_err() {
            // The node has stopped.
            return Vec::new();
        }
        let mut contacts: Vec<Contact> = match answer.await {
            Ok(Reply::Members(view)) => {
                let known = view.members.iter().map(|member| member.peer.contact);
                known
                    .filter(|contact| {
                        issuers.iter().any(|issuer| issuer.public_key == contact.public_key)
                    })
                    .collect()
            }
            _ => Vec::new(),
        };
        let elsewhere: Vec<Contact> =
            issuers.iter().filter(|issuer| !contacts.contains(issuer)).copied().collect();
        contacts.extend(elsewhere);
        contacts
    }

    /// Takes a new certificate, if it is valid and newer.
    fn take_certificate(&self, certificate: Bytes) {
        let shared = &self.shared;
        let Some(read) = read(&certificate, &shared.own, &shared.network) else {
            return;
        };
        if !shared.renewal.lock().renewed(read.issued, read.expires) {
            return;
        }
        tracing::info!(code = "certificate.renewed", "the certificate was renewed");
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Some(folder) = &this.shared.folder
                && let Err(error) = folder.save_certificate(&certificate)
            {
                tracing::warn!(code = "certificate.save", %error, "cannot save the new certificate");
            }
            // It is valid for this run even if it cannot be saved.
            let input = Request::Admission(Input::Certificate { certificate });
            let _ = this.shared.requests.blocking_send(input);
        });
    }

    fn save_revocations(&self, revocations: Vec<Bytes>) {
        let number = {
            let mut newest = self.shared.revocations.lock();
            newest.0 += 1;
            newest.1 = revocations;
            newest.0
        };
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut saved = this.shared.saved.lock();
            let (newest, revocations) = this.shared.revocations.lock().clone();
            if *saved >= number {
                return;
            }
            if let Some(issuer) = &mut *this.shared.issuer.lock() {
                issuer.set_revocations(&revocations);
            }
            match this.shared.folder.as_ref().map(|folder| folder.save_revocations(&revocations)) {
                Some(Err(error)) => {
                    tracing::warn!(code = "revocations.save", %error, "cannot save the revocations");
                }
                _ => *saved = newest,
            }
        });
    }

    async fn tell(&self, input: Input) {
        // If the node has stopped, the receiver is gone.
        let _ = self.shared.requests.send(Request::Admission(input)).await;
    }

    async fn with_issuer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Issuer, UnixMillis) -> Result<T, MembershipError> + Send + 'static,
    ) -> Result<T, MembershipError> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let now = this.shared.clock.wall();
            let mut issuer = this.shared.issuer.lock();
            work(issuer.as_mut().ok_or(MembershipError::NotIssuer)?, now)
        });
        done.await.map_err(|_| MembershipError::Stopped)?
    }
}

fn ticket_ids(issuer: &Issuer, now: UnixMillis) -> Vec<PublicKey> {
    issuer.tickets(now).into_iter().map(|ticket| ticket.id).collect()
}

fn key_file(error: &StartError) -> MembershipError {
    MembershipError::KeyFile(error.to_string())
}
