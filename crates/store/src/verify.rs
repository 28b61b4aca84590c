//! Checks the records of a data folder completely without changing it.
//!
//! Every envelope must be readable, be in its row and be signed for the network. The summaries, the expiry
//! index and the counters must agree with the envelopes. The expiry index is compared by a sum over its rows,
//! because ten million random reads would take minutes.

mod signatures;

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use potluck_base::{Key, NetworkId, PublicKey};
use potluck_record::{Envelope, Place};
use xxhash_rust::xxh3::xxh3_128;

use crate::backend::{Backend, BackendError};
use crate::disk::{DiskBackend, RECORDS};
use crate::error::OpenError;
use crate::folder::FolderLock;
use crate::heal;
use crate::ledger::Ledger;
use crate::quota::Share;
use crate::rows::{self, ExpiryEntry, Summary};
use crate::salvage::{Found, Salvage};
use crate::shadow::Shadow;
use crate::store::{META_LEDGER, check_meta};
use signatures::Signatures;

/// Most findings that are kept with their place. Further ones are only counted.
const FINDINGS_MAX: usize = 100;
/// Rows between two reports of progress.
const REPORT_EVERY: u64 = 2048;

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// A range of rows that the engine cannot read.
    Unreadable,
    /// A replica's envelope that cannot be decoded or is in a wrong row.
    Envelope,
    /// A replica's envelope with a wrong signature.
    Signature,
    /// An envelope of this node's own with one of these faults.
    Own,
    /// A summary of a key that differs from its envelopes.
    Summary,
    /// The expiry index differs from the envelopes.
    Expiry,
    /// The counters differ from the envelopes.
    Counters,
    /// A blob or its metadata.
    Blob,
}

/// One finding: the fault and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of the fault.
    pub wrong: Wrong,
    /// The place, in words.
    pub place: String,
}

/// Findings. The first ones are kept with their places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    first: Vec<Finding>,
    count: u64,
}

impl Findings {
    pub(crate) fn add(&mut self, wrong: Wrong, place: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < FINDINGS_MAX {
            self.first.push(Finding { wrong, place: place() });
        }
    }

    /// The first hundred findings.
    #[must_use]
    pub fn first(&self) -> &[Finding] {
        &self.first
    }

    /// The number of findings.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Adds the findings of another check.
    pub fn extend(&mut self, other: Self) {
        self.count += other.count;
        let room = FINDINGS_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// The result of the check: what was read, and the findings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifiedRecords {
    /// Keys held as replica.
    pub keys: u64,
    /// Envelopes held as replica.
    pub envelopes: u64,
    /// Envelopes of this node's own.
    pub own: u64,
    /// Bytes of all rows read.
    pub bytes: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// The faults that were found.
    pub findings: Findings,
}

/// The progress of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to read, as far as they are known.
    pub total: u64,
}

/// Options of a check of records.
pub struct VerifyOptions<'a> {
    /// The network that the folder belongs to.
    pub network: NetworkId,
    /// Whether to check signatures, which takes most of the time.
    pub signatures: bool,
    /// Called with the progress.
    pub progress: &'a mut dyn FnMut(Progress),
}

/// Checks all records in a locked folder. Returns the lock.
///
/// # Errors
/// [`OpenError`] if the engine's files are damaged or cannot be read.
pub fn verify_records(
    lock: FolderLock,
    options: &mut VerifyOptions<'_>,
) -> Result<(VerifiedRecords, FolderLock), OpenError> {
    let folder = lock.folder().to_owned();
    let records = folder.join(RECORDS);
    if !records.is_dir() {
        // The node was stopped before its first start was complete.
        return Ok((VerifiedRecords::default(), lock));
    }
    let io = |source| OpenError::Io { folder: folder.clone(), source };
    let shadow = Shadow::new().map_err(io)?;
    let copy = shadow.engine(&records, RECORDS).map_err(io)?;
    let backend = DiskBackend::open_copy(lock, &copy)?;
    check_meta(&backend, &folder, &options.network)?;
    let verified = verify(&backend, options).map_err(|error| failed(&folder, &error))?;
    Ok((verified, backend.lock().clone()))
}

fn failed(folder: &Path, error: &BackendError) -> OpenError {
    let source = std::io::Error::other(error.to_string());
    OpenError::Io { folder: folder.to_owned(), source }
}

pub(crate) fn verify<B: Backend>(
    backend: &B,
    options: &mut VerifyOptions<'_>,
) -> Result<VerifiedRecords, BackendError> {
    let kept = backend.get(&rows::meta_row(META_LEDGER));
    let ledger = match kept {
        // Nothing was written yet.
        Ok(None) => Some(Ledger::default()),
        Ok(Some(row)) => Ledger::decode(&row),
        Err(BackendError::Corrupt(_)) => None,
        Err(broken) => return Err(broken),
    };
    // Summaries are read at the same time as the envelopes, all other rows once.
    let total = ledger.map_or(0, |ledger| ledger.row_bytes());
    let network = options.network;
    let mut pass = Pass {
        backend,
        read: VerifiedRecords::default(),
        counted: Ledger::default(),
        expiry: ExpirySum::default(),
        shares: ShareSum::default(),
        lost: BTreeSet::new(),
        rows: 0,
        total,
        progress: &mut *options.progress,
    };
    let signatures = options.signatures;
    std::thread::scope(|scope| {
        let mut signatures = signatures.then(|| Signatures::start(scope, network));
        let passed = pass.replicas(&mut signatures).and_then(|()| pass.own(&mut signatures));
        if let Some(signatures) = signatures {
            pass.read.signatures = signatures.end(&mut pass.read.findings);
        }
        passed
    })?;
    pass.expiry()?;
    // An older version did not count the usage of writers; the next start counts it.
    if ledger.is_none_or(|ledger| ledger.writers != Ledger::UNCOUNTED) {
        pass.shares()?;
    } else {
        pass.counted.writers = Ledger::UNCOUNTED;
    }
    pass.counters(ledger);
    Ok(pass.read)
}

/// Rows of the expiry index, compared by their count and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct ExpirySum {
    count: u64,
    sum: u128,
}

impl ExpirySum {
    fn add(&mut self, row: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(row));
    }
}

/// The usage of all writers: sums in which each writer has a weight that depends on its key, so that an error
/// in the counts of one writer cannot cancel an error in those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct ShareSum {
    records: u128,
    bytes: u128,
}

impl ShareSum {
    fn add(&mut self, writer: &PublicKey, records: u64, bytes: u64) {
        let weight = xxh3_128(writer.as_bytes());
        self.records = self.records.wrapping_add(weight.wrapping_mul(records.into()));
        self.bytes = self.bytes.wrapping_add(weight.wrapping_mul(bytes.into()));
    }
}

/// One pass over all rows.
struct Pass<'a, B> {
    backend: &'a B,
    read: VerifiedRecords,
    counted: Ledger,
    /// The rows that the expiry index must have, according to the envelopes.
    expiry: ExpirySum,
    /// The usage of writers, according to the envelopes.
    shares: ShareSum,
    /// Keys of own envelopes that an earlier healing recorded as lost.
    lost: BTreeSet<Key>,
    rows: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a, B: Backend> Pass<'a, B> {
    fn note(&mut self, row: &[u8], value: &[u8]) {
        self.rows += 1;
        self.read.bytes += (row.len() + value.len()) as u64;
        if self.rows.is_multiple_of(REPORT_EVERY) {
            let done = self.read.bytes;
            (self.progress)(Progress { done, total: self.total.max(done) });
        }
    }

    fn replicas(&mut self, signatures: &mut Option<Signatures>) -> Result<(), BackendError> {
        let backend = self.backend;
        let mut summaries = Summaries::over(backend);
        let mut under: Option<(Key, Option<Summary>)> = None;
        for found in Salvage::over(backend, rows::replica_rows()) {
            let (row, value) = match found? {
                Found::Row(row, value) => (row, value),
                Found::Gap(_) => {
                    let after = under.as_ref().map(|(key, _)| *key);
                    self.read.findings.add(Wrong::Unreadable, || gap("replicas", after));
                    continue;
                }
            };
            self.note(&row, &value);
            if let Some(writer) = rows::envelope_writer(&row) {
                self.shares.add(&writer, 1, value.len() as u64);
            }
            let Some(key) = rows::envelope_key(&row) else { continue };
            if under.as_ref().is_none_or(|(now, _)| *now != key) {
                self.end_key(under.take(), &mut summaries)?;
                under = Some((key, None));
            }
            let Some(envelope) = rows::decode_envelope(&row, Place::Replica, &value) else {
                self.read.findings.add(Wrong::Envelope, || format!("key {key}"));
                continue;
            };
            let head = envelope.head();
            self.read.envelopes += 1;
            self.expiry.add(&ExpiryEntry::of(Place::Replica, head).row());
            if let Some((_, summary)) = &mut under {
                let before = summary.unwrap_or_else(|| Summary::empty(head));
                *summary = Some(before.with(head, value.len()));
            }
            if let Some(signatures) = signatures {
                signatures.check(Place::Replica, envelope, &mut self.read.findings);
            }
        }
        self.end_key(under, &mut summaries)?;
        while let Some((key, summary)) = summaries.next(None, self)? {
            self.summary_alone(key, summary);
        }
        Ok(())
    }

    /// Compares the summary of a key with its envelopes, and reports summaries of keys before it, which have
    /// no envelopes.
    fn end_key(
        &mut self,
        key: Option<(Key, Option<Summary>)>,
        summaries: &mut Summaries<'a, B>,
    ) -> Result<(), BackendError> {
        let Some((key, counted)) = key else { return Ok(()) };
        self.read.keys += u64::from(counted.is_some());
        if let Some(counted) = &counted {
            self.counted.add(counted);
        }
        let mut said = None;
        while let Some((at, summary)) = summaries.next(Some(&key), self)? {
            if at == key {
                said = Some(summary);
            } else {
                self.summary_alone(at, summary);
            }
        }
        if said.flatten() != counted {
            self.read.findings.add(Wrong::Summary, || format!("key {key}"));
        }
        Ok(())
    }

    fn summary_alone(&mut self, key: Key, _: Option<Summary>) {
        self.read.findings.add(Wrong::Summary, || format!("key {key}, which has no record"));
    }

    fn own(&mut self, signatures: &mut Option<Signatures>) -> Result<(), BackendError> {
        let mut last = None;
        for found in Salvage::over(self.backend, rows::own_rows()) {
            let (row, value) = match found? {
                Found::Row(row, value) => (row, value),
                Found::Gap(_) => {
                    self.read.findings.add(Wrong::Own, || gap("own records", last));
                    continue;
                }
            };
            self.note(&row, &value);
            last = rows::envelope_key(&row);
            self.counted.add_own(value.len());
            match rows::decode_envelope(&row, Place::Own, &value) {
                Some(envelope) => self.own_envelope(envelope, signatures),
                None => {
                    if value == heal::LOST && self.lost.len() < FINDINGS_MAX {
                        self.lost.extend(last);
                    }
                    self.read.findings.add(Wrong::Own, || in_words(last));
                }
            }
        }
        Ok(())
    }

    fn own_envelope(&mut self, envelope: Envelope, signatures: &mut Option<Signatures>) {
        self.read.own += 1;
        self.expiry.add(&ExpiryEntry::of(Place::Own, envelope.head()).row());
        if let Some(signatures) = signatures {
            signatures.check(Place::Own, envelope, &mut self.read.findings);
        }
    }

    fn expiry(&mut self) -> Result<(), BackendError> {
        let mut found = ExpirySum::default();
        for row in Salvage::over(self.backend, ExpiryEntry::rows_from(0)) {
            match row? {
                Found::Gap(_) => {
                    self.read.findings.add(Wrong::Unreadable, || gap("expiry index", None));
                }
                Found::Row(row, value) => {
                    self.note(&row, &value);
                    match ExpiryEntry::decode(&row) {
                        Some(entry) if found.count == 0 => {
                            self.counted.first_expiry = entry.expires.0;
                        }
                        _ => {}
                    }
                    let of_lost = |entry: &ExpiryEntry| {
                        entry.place == Place::Own && self.lost.contains(&entry.key)
                    };
                    // The expiry of a lost envelope is only in the index.
                    if !ExpiryEntry::decode(&row).as_ref().is_some_and(of_lost) {
                        found.add(&row);
                    }
                }
            }
        }
        if found != self.expiry {
            let (says, holds) = (found.count, self.expiry.count);
            self.read.findings.add(Wrong::Expiry, || {
                format!("it lists {says} envelopes, and {holds} are held; or their times differ")
            });
        }
        Ok(())
    }

    fn shares(&mut self) -> Result<(), BackendError> {
        let mut found = ShareSum::default();
        for row in Salvage::over(self.backend, rows::share_rows()) {
            match row? {
                Found::Gap(_) => {
                    self.read.findings.add(Wrong::Unreadable, || gap("shares of writers", None));
                }
                Found::Row(row, value) => {
                    self.note(&row, &value);
                    self.counted.writers += 1;
                    let writer = row.get(1..).and_then(|writer| writer.try_into().ok());
                    if let (Some(writer), Some(share)) = (writer, Share::decode(&value)) {
                        found.add(&PublicKey::from_bytes(writer), share.records, share.bytes);
                    }
                }
            }
        }
        if found != self.shares {
            self.read.findings.add(Wrong::Counters, || {
                "what the writers have is not what their envelopes say".to_owned()
            });
        }
        Ok(())
    }

    fn counters(&mut self, kept: Option<Ledger>) {
        let Some(kept) = kept else {
            self.read.findings.add(Wrong::Counters, || "they cannot be read".to_owned());
            return;
        };
        // The stored first expiry may be too early, because it is not updated at every change.
        let late = kept.first_expiry > self.counted.first_expiry;
        let first_expiry = self.counted.first_expiry;
        if late || (Ledger { first_expiry, ..kept }) != self.counted {
            let (says, holds) = (kept.envelopes, self.counted.envelopes);
            self.read.findings.add(Wrong::Counters, || {
                format!("they say {says} envelopes of replicas, and {holds} can be read")
            });
        }
    }
}

fn in_words(key: Option<Key>) -> String {
    key.map_or_else(|| "a row without a key".to_owned(), |key| format!("key {key}"))
}

fn gap(what: &str, after: Option<Key>) -> String {
    match after {
        Some(key) => format!("{what} behind key {key}"),
        None => format!("the first of the {what}"),
    }
}

/// The summaries in order, read at the same time as the envelopes.
struct Summaries<'a, B> {
    rows: Salvage<'a, B>,
    waiting: Option<(Key, Option<Summary>)>,
}

impl<'a, B: Backend> Summaries<'a, B> {
    fn over(backend: &'a B) -> Self {
        Self { rows: Salvage::over(backend, rows::summary_rows()), waiting: None }
    }

    /// The next summary if its key is at most `to`. Without `to`, the next summary of any key.
    fn next(
        &mut self,
        to: Option<&Key>,
        pass: &mut Pass<'a, B>,
    ) -> Result<Option<(Key, Option<Summary>)>, BackendError> {
        while self.waiting.is_none() {
            let (row, value): (Bytes, Bytes) = match self.rows.next().transpose()? {
                None => return Ok(None),
                Some(Found::Row(row, value)) => (row, value),
                Some(Found::Gap(_)) => {
                    pass.read.findings.add(Wrong::Unreadable, || gap("summaries", None));
                    continue;
                }
            };
            pass.note(&row, &value);
            match rows::summary_key(&row) {
                Some(key) => self.waiting = Some((key, Summary::decode(&value))),
                None => pass.read.findings.add(Wrong::Summary, || in_words(None)),
            }
        }
        let is_due = |(key, _): &mut (Key, Option<Summary>)| to.is_none_or(|to| *key <= *to);
        Ok(self.waiting.take_if(is_due))
    }
}
