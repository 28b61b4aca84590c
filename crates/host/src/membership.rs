//! A node's membership of an `invite` network: its certificate and its renewal, the revocations,
//! and, where the authority key is, the making of tickets and certificates.
//!
//! The core decides who is heard; here is what needs a disk, a key or the wall clock. Nothing of it
//! holds the drive loop up: what writes to the disk does so beside it and comes back as an input.
//!
//! **Invariants:** what an enrolment costs is on the disk before its answer goes out; a certificate
//! is used only after its signature and subject were checked; the newest list of revocations is what
//! ends up on the disk.

mod book;
mod enroll;
mod issuer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Identity, PublicKey, UnixMillis};
use potluck_link::RevocationError;
use potluck_node::{EnrolmentId, Input, Output};
use potluck_wire::{Certificate, Enroll, Refusal, Ticket};
use tokio::sync::mpsc;

use crate::StartError;
use crate::clock::Clock;
use crate::folder::{DataFolder, NetworkInfo, read_authority, write_authority};
use crate::handle::Request;
use crate::transport::Door;
use book::Book;
pub(crate) use enroll::Enrolment;
use issuer::Issuer;

/// How often a certificate past its half-life is asked for anew.
const RENEWAL_INTERVAL_MS: u64 = 10 * 60 * 1000;

/// What a ticket is to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteTerms {
    /// How many nodes it lets in; `None`: any number.
    pub uses: Option<u32>,
    /// How long it is good, at most a year.
    pub life: Duration,
    /// Labels of the certificates.
    pub labels: Vec<(String, String)>,
    /// Whether the certificates last a day instead of a year.
    pub ephemeral: bool,
}

impl Default for InviteTerms {
    /// One node, within a day.
    fn default() -> Self {
        let life = Duration::from_secs(24 * 60 * 60);
        Self { uses: Some(1), life, labels: Vec::new(), ephemeral: false }
    }
}

/// A ticket that was made here and has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketView {
    /// The ticket's public key.
    pub id: PublicKey,
    /// How many nodes it lets in; `None`: any number.
    pub uses: Option<u32>,
    /// How many it has let in.
    pub used: u32,
    /// When it was made.
    pub issued: UnixMillis,
    /// From when on it lets nobody in.
    pub expires: UnixMillis,
    /// Labels of the certificates.
    pub labels: Vec<(String, String)>,
    /// Whether the certificates last a day instead of a year.
    pub ephemeral: bool,
}

/// Why something about membership was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The network is no `invite` network.
    #[error("this network lets everybody in; tickets and revocations are for `invite` networks")]
    NotInvite,
    /// The authority key is elsewhere.
    #[error(
        "this node does not hold the network's authority key; do it on the one that made the \
         network, or bring the key here with `potluck network key export` there and `import` here"
    )]
    NotIssuer,
    /// A ticket of no use or too long a life.
    #[error("a ticket is for at least one use and for at most 365 days")]
    Terms,
    /// Labels that a certificate cannot have.
    #[error("labels: at most 8, each K=V with at most 64 bytes, no name twice, 200 bytes in all")]
    Labels,
    /// The book is full.
    #[error("too many tickets or certificates are valid at once")]
    TooManyTickets,
    /// The book cannot be written.
    #[error("cannot write down what was issued: {0}")]
    Book(std::io::Error),
    /// The system gave no random bytes.
    #[error("{0}")]
    Randomness(String),
    /// The file of an authority key.
    #[error("{0}")]
    KeyFile(String),
    /// The key is another network's.
    #[error("the key is that of another network, `{0}`")]
    OtherKey(String),
    /// There is no data folder to keep a key in.
    #[error("a node that keeps everything in memory cannot keep an authority key")]
    NoFolder,
    /// Nobody is meant, as far as this node knows.
    #[error("no member is known by `{0}`; give the first 8 digits or more of its id or public key")]
    Unknown(String),
    /// Several may be meant.
    #[error("`{0}` is the beginning of more than one member's id; give more of it")]
    Ambiguous(String),
    /// The node itself is meant.
    #[error("this node cannot put itself out; see `potluck leave`")]
    Own,
    /// The revocation was not taken over.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// What a node needs to be a member from its start on.
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

    /// A certificate for the own node.
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
    own: Contact,
    network: NetworkInfo,
    folder: Option<DataFolder>,
    clock: Clock,
    issuers: Vec<Contact>,
    door: Arc<Door>,
    requests: mpsc::Sender<Request>,
    issuer: Mutex<Option<Issuer>>,
    certificate: Mutex<Current>,
    /// The newest list, with its number; and the number of the one on the disk.
    revocations: Mutex<(u64, Vec<Bytes>)>,
    saved: Mutex<u64>,
}

/// The certificate in use.
#[derive(Debug)]
struct Current {
    issued: UnixMillis,
    expires: UnixMillis,
    asked: UnixMillis,
}

impl Membership {
    /// `requests` leads to the drive loop.
    pub(crate) fn new(
        own: Contact,
        network: NetworkInfo,
        folder: Option<DataFolder>,
        clock: Clock,
        admitted: Admitted,
        door: Arc<Door>,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        let Admitted { certificate, revocations, issuers, authority } = admitted;
        let read = read(&certificate, &own.public_key, &network);
        let (issued, expires) =
            read.map_or_else(Default::default, |read| (read.issued, read.expires));
        let current = Current { issued, expires, asked: UnixMillis(0) };
        let shared = Shared {
            own,
            network,
            folder,
            clock,
            issuers,
            door,
            requests,
            issuer: Mutex::new(authority.map(|authority| authority.0)),
            certificate: Mutex::new(current),
            revocations: Mutex::new((0, revocations)),
            saved: Mutex::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether this node holds the authority key.
    #[must_use]
    pub fn is_issuer(&self) -> bool {
        self.lock_issuer().is_some()
    }

    /// When the node's certificate expires.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        lock(&self.shared.certificate).expires
    }

    /// Makes a ticket.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn invite(&self, terms: InviteTerms) -> Result<Ticket, MembershipError> {
        let mut contacts = vec![self.shared.own];
        contacts.extend(
            self.shared
                .issuers
                .iter()
                .filter(|other| other.public_key != self.shared.own.public_key),
        );
        self.with_issuer(move |issuer, now| issuer.invite(now, terms, &contacts)).await
    }

    /// The tickets made here that have not expired.
    ///
    /// # Errors
    /// [`MembershipError::NotIssuer`]
    pub async fn tickets(&self) -> Result<Vec<TicketView>, MembershipError> {
        self.with_issuer(|issuer, now| Ok(issuer.tickets(now))).await
    }

    /// A signed revocation of the member whose node id or public key is, or begins with, `who`:
    /// among those who got a certificate here, and `known`.
    pub(crate) async fn revocation(
        &self,
        who: &str,
        known: Vec<PublicKey>,
    ) -> Result<(PublicKey, Bytes), MembershipError> {
        let (who, own) = (who.to_ascii_lowercase(), self.shared.own.public_key);
        let id = self.shared.network.id;
        self.with_issuer(move |issuer, now| {
            let mut meant = known;
            meant.extend(issuer.subjects());
            meant.push(own);
            meant.sort_unstable();
            meant.dedup();
            let begins = |key: &PublicKey| {
                key.to_string().starts_with(&who) || key.node_id(&id).to_string().starts_with(&who)
            };
            // Shorter ones are too easily mistyped into another's.
            meant.retain(|key| who.len() >= 8 && begins(key));
            match meant[..] {
                [key] if key == own => Err(MembershipError::Own),
                [key] => Ok((key, issuer.revoke(now, key))),
                [] => Err(MembershipError::Unknown(who)),
                _ => Err(MembershipError::Ambiguous(who)),
            }
        })
        .await
    }

    /// Writes the authority key to a new file for its owner's eyes only.
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

    /// Takes the authority key from a file that `export_key` wrote: from now on this node issues.
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
        let mut issuer = self.lock_issuer();
        if issuer.is_some() {
            return Ok(());
        }
        folder.save_authority(&shared.network, &key).map_err(|error| key_file(&error))?;
        let now = shared.clock.wall();
        *issuer = Some(Authority::open(key, &shared.network, Some(folder), now)?.0);
        Ok(())
    }

    /// What the core wants of it; gives back what is not for it.
    pub(crate) fn carry_out(&self, output: Output) {
        match output {
            Output::Admitted { public_key, address, until } => {
                self.shared.door.admit(Contact { public_key, address }, until);
            }
            Output::Expelled { public_key } => self.shared.door.expel(&public_key),
            Output::Enroll { id, from, enroll } => self.enroll(id, from, enroll),
            Output::Renewed { certificate } => self.take_certificate(certificate),
            Output::SaveRevocations { revocations } => self.save_revocations(revocations),
            _ => {}
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
                tracing::info!(member = %from, "admitted");
            }
            this.tell(Input::Enrolled { id, result }).await;
        });
    }

    /// Called about once a second.
    pub(crate) fn tick(&self, now: UnixMillis) {
        {
            let mut current = lock(&self.shared.certificate);
            let half = current.issued.0 + current.expires.0.saturating_sub(current.issued.0) / 2;
            if now.0 < half || now.0 < current.asked.0.saturating_add(RENEWAL_INTERVAL_MS) {
                return;
            }
            current.asked = now;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let own = this.shared.own.public_key;
            match this.with_issuer(move |issuer, now| issuer.certify_own(now, own)).await {
                Ok(certificate) => this.take_certificate(certificate),
                Err(MembershipError::NotIssuer) => {
                    let contacts = this.shared.issuers.clone();
                    this.tell(Input::Renew { contacts }).await;
                }
                Err(error) => tracing::warn!(%error, "cannot renew the certificate"),
            }
        });
    }

    /// A new certificate, if it is one and newer.
    fn take_certificate(&self, certificate: Bytes) {
        let shared = &self.shared;
        let Some(read) = read(&certificate, &shared.own.public_key, &shared.network) else {
            return;
        };
        {
            let mut current = lock(&shared.certificate);
            if read.expires <= current.expires {
                return;
            }
            current.issued = read.issued;
            current.expires = read.expires;
        }
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Some(folder) = &this.shared.folder
                && let Err(error) = folder.save_certificate(&certificate)
            {
                tracing::warn!(%error, "cannot save the new certificate");
            }
            // Good for this run in any case.
            let input = Request::Admission(Input::Certificate { certificate });
            let _ = this.shared.requests.blocking_send(input);
        });
    }

    fn save_revocations(&self, revocations: Vec<Bytes>) {
        let number = {
            let mut newest = lock(&self.shared.revocations);
            newest.0 += 1;
            newest.1 = revocations;
            newest.0
        };
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut saved = lock(&this.shared.saved);
            let (newest, revocations) = lock(&this.shared.revocations).clone();
            if *saved >= number {
                return;
            }
            if let Some(issuer) = &mut *this.lock_issuer() {
                issuer.set_revocations(&revocations);
            }
            match this.shared.folder.as_ref().map(|folder| folder.save_revocations(&revocations)) {
                Some(Err(error)) => tracing::warn!(%error, "cannot save the revocations"),
                _ => *saved = newest,
            }
        });
    }

    async fn tell(&self, input: Input) {
        // If the node has stopped, nobody waits for it.
        let _ = self.shared.requests.send(Request::Admission(input)).await;
    }

    async fn with_issuer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Issuer, UnixMillis) -> Result<T, MembershipError> + Send + 'static,
    ) -> Result<T, MembershipError> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let now = this.shared.clock.wall();
            let mut issuer = this.lock_issuer();
            work(issuer.as_mut().ok_or(MembershipError::NotIssuer)?, now)
        });
        done.await.map_err(|_| MembershipError::Stopped)?
    }

    fn lock_issuer(&self) -> MutexGuard<'_, Option<Issuer>> {
        lock(&self.shared.issuer)
    }
}

/// Nothing under these locks can leave them half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_file(error: &StartError) -> MembershipError {
    MembershipError::KeyFile(error.to_string())
}
