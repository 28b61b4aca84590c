//! The issuer's book: which tickets were made, and which certificates were signed.
//!
//! A line is appended and synced before what it says is told to anybody, so a ticket that has been
//! used up stays used up through a crash. What has expired is left out when the book is opened. A
//! last line that a crash cut off was never told to anybody and is dropped.
//!
//! ```text
//! potluck issued 1
//! ticket <key> <uses or -> <issued> <expires> <ephemeral 0|1> <labels in hex or ->
//! cancel <ticket key>
//! member <key> <ticket key or -> <serial> <issued> <expires>
//! ```
//!
//! A ticket that was cancelled stays in the book until it would have expired.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use potluck_base::{PublicKey, UnixMillis};

use super::IssuedStats;
use crate::folder::{Readers, append_to, read_text, replace};

const HEAD: &str = "potluck issued 1";
/// Most tickets that have not expired.
const TICKETS_MAX: usize = 4096;
/// Most certificates that have not expired; a guess far above what one network has.
const CERTIFICATES_MAX: usize = 65_536;
/// Longer than any book within the limits.
const BYTES_MAX: u64 = 64 << 20;

/// A ticket that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TicketEntry {
    pub(super) uses: Option<u32>,
    pub(super) issued: UnixMillis,
    pub(super) expires: UnixMillis,
    pub(super) ephemeral: bool,
    pub(super) labels: Vec<(String, String)>,
}

/// A certificate that was signed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CertificateEntry {
    pub(super) serial: u64,
    pub(super) issued: UnixMillis,
    pub(super) expires: UnixMillis,
}

/// For whom, and by which ticket; none for the issuer's own and for renewals.
type Reason = (Option<PublicKey>, PublicKey);

/// The book. `file` is none for a node that keeps everything in memory.
#[derive(Debug)]
pub(super) struct Book {
    file: Option<File>,
    tickets: BTreeMap<PublicKey, TicketEntry>,
    /// Of the tickets, those that let nobody in any more.
    cancelled: BTreeSet<PublicKey>,
    certificates: BTreeMap<Reason, CertificateEntry>,
}

impl Book {
    /// A book on no disk.
    pub(super) const fn in_memory() -> Self {
        Self {
            file: None,
            tickets: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            certificates: BTreeMap::new(),
        }
    }

    /// The book at `path`, without what has expired; an empty one if there is none.
    pub(super) fn open(path: &Path, now: UnixMillis) -> io::Result<Self> {
        let mut book = Self::in_memory();
        if let Some(text) = read_text(path, BYTES_MAX)? {
            book.read(&text).ok_or_else(|| {
                let path: PathBuf = path.to_owned();
                io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()))
            })?;
        }
        book.forget_tickets(now);
        book.forget_certificates(now);
        replace(path, book.text().as_bytes(), Readers::Owner, true)?;
        book.file = Some(append_to(path)?);
        Ok(book)
    }

    fn read(&mut self, text: &str) -> Option<()> {
        // What stands behind the last line break was cut off.
        let whole = &text[..text.rfind('\n')? + 1];
        let mut lines = whole.lines();
        if lines.next()? != HEAD {
            return None;
        }
        lines.try_for_each(|line| self.read_line(line))
    }

    fn forget_tickets(&mut self, now: UnixMillis) {
        self.tickets.retain(|_, ticket| ticket.expires > now);
        let tickets = &self.tickets;
        self.cancelled.retain(|key| tickets.contains_key(key));
    }

    /// Forgets certificates that have expired. Those of a ticket that has not are kept: they are its
    /// uses.
    fn forget_certificates(&mut self, now: UnixMillis) {
        let tickets = &self.tickets;
        self.certificates.retain(|(ticket, _), certificate| {
            certificate.expires > now || ticket.is_some_and(|ticket| tickets.contains_key(&ticket))
        });
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        match words.next()? {
            "ticket" => {
                let key = words.next()?.parse().ok()?;
                let uses = match words.next()? {
                    "-" => None,
                    uses => Some(uses.parse().ok()?),
                };
                let issued = UnixMillis(words.next()?.parse().ok()?);
                let expires = UnixMillis(words.next()?.parse().ok()?);
                let ephemeral = words.next()? == "1";
                let labels = read_labels(words.next()?)?;
                let entry = TicketEntry { uses, issued, expires, ephemeral, labels };
                self.tickets.insert(key, entry);
            }
            "cancel" => {
                self.cancelled.insert(words.next()?.parse().ok()?);
            }
            "member" => {
                let subject = words.next()?.parse().ok()?;
                let ticket = match words.next()? {
                    "-" => None,
                    key => Some(key.parse().ok()?),
                };
                let serial = words.next()?.parse().ok()?;
                let issued = UnixMillis(words.next()?.parse().ok()?);
                let expires = UnixMillis(words.next()?.parse().ok()?);
                let entry = CertificateEntry { serial, issued, expires };
                self.certificates.insert((ticket, subject), entry);
            }
            _ => return None,
        }
        words.next().is_none().then_some(())
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for (key, ticket) in &self.tickets {
            text.push_str(&ticket_line(key, ticket));
        }
        for key in &self.cancelled {
            text.push_str(&cancel_line(key));
        }
        for (reason, entry) in &self.certificates {
            text.push_str(&member_line(reason, entry));
        }
        text
    }

    /// Enters a ticket; false if there is no room.
    pub(super) fn add_ticket(
        &mut self,
        key: PublicKey,
        ticket: TicketEntry,
        now: UnixMillis,
    ) -> io::Result<bool> {
        self.forget_tickets(now);
        if self.tickets.len() >= TICKETS_MAX {
            return Ok(false);
        }
        self.write(&ticket_line(&key, &ticket))?;
        self.tickets.insert(key, ticket);
        Ok(true)
    }

    /// How full it is.
    pub(super) fn stats(&self) -> IssuedStats {
        IssuedStats {
            tickets: self.tickets.len(),
            tickets_cancelled: self.cancelled.len(),
            certificates: self.certificates.len(),
        }
    }

    /// Enters that a ticket of this book lets nobody in any more.
    pub(super) fn cancel_ticket(&mut self, key: PublicKey) -> io::Result<()> {
        if self.tickets.contains_key(&key) && !self.cancelled.contains(&key) {
            self.write(&cancel_line(&key))?;
            self.cancelled.insert(key);
        }
        Ok(())
    }

    /// Whether a ticket was cancelled here.
    pub(super) fn is_cancelled(&self, ticket: &PublicKey) -> bool {
        self.cancelled.contains(ticket)
    }

    /// Enters a certificate; false if there is no room.
    pub(super) fn add_certificate(
        &mut self,
        ticket: Option<PublicKey>,
        subject: PublicKey,
        entry: CertificateEntry,
        now: UnixMillis,
    ) -> io::Result<bool> {
        if self.certificates.len() >= CERTIFICATES_MAX {
            self.forget_certificates(now);
        }
        if self.certificates.len() >= CERTIFICATES_MAX {
            return Ok(false);
        }
        let reason = (ticket, subject);
        self.write(&member_line(&reason, &entry))?;
        self.certificates.insert(reason, entry);
        Ok(true)
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(line.as_bytes())?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// The certificate that `subject` got by `ticket`, or by renewal.
    pub(super) fn certificate(
        &self,
        ticket: Option<PublicKey>,
        subject: PublicKey,
    ) -> Option<CertificateEntry> {
        self.certificates.get(&(ticket, subject)).copied()
    }

    /// How many nodes got in by `ticket`.
    pub(super) fn used(&self, ticket: &PublicKey) -> u32 {
        let first = (Some(*ticket), PublicKey::from_bytes([0; 32]));
        let last = (Some(*ticket), PublicKey::from_bytes([0xff; 32]));
        u32::try_from(self.certificates.range(first..=last).count()).unwrap_or(u32::MAX)
    }

    /// The tickets that were not cancelled, in the order of their keys.
    pub(super) fn tickets(&self) -> impl Iterator<Item = (&PublicKey, &TicketEntry)> {
        self.tickets.iter().filter(|(key, _)| !self.cancelled.contains(key))
    }

    /// Everybody who got a certificate here that may hold still, some more than once.
    pub(super) fn subjects(&self) -> impl Iterator<Item = PublicKey> {
        self.certificates.keys().map(|(_, subject)| *subject)
    }
}

fn ticket_line(key: &PublicKey, ticket: &TicketEntry) -> String {
    let TicketEntry { uses, issued, expires, ephemeral, labels } = ticket;
    let uses = uses.map_or_else(|| "-".to_owned(), |uses| uses.to_string());
    let labels = write_labels(labels);
    let ephemeral = u8::from(*ephemeral);
    format!("ticket {key} {uses} {} {} {ephemeral} {labels}\n", issued.0, expires.0)
}

fn cancel_line(key: &PublicKey) -> String {
    format!("cancel {key}\n")
}

fn member_line((ticket, subject): &Reason, entry: &CertificateEntry) -> String {
    let ticket = ticket.map_or_else(|| "-".to_owned(), |ticket| ticket.to_string());
    let CertificateEntry { serial, issued, expires } = entry;
    format!("member {subject} {ticket} {serial} {} {}\n", issued.0, expires.0)
}

/// Names and values have no control characters, so a line break parts them.
fn write_labels(labels: &[(String, String)]) -> String {
    let lines: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}\n{value}")).collect();
    if lines.is_empty() { "-".to_owned() } else { HEXLOWER.encode(lines.join("\n").as_bytes()) }
}

fn read_labels(word: &str) -> Option<Vec<(String, String)>> {
    if word == "-" {
        return Some(Vec::new());
    }
    let text = String::from_utf8(HEXLOWER.decode(word.as_bytes()).ok()?).ok()?;
    let parts: Vec<&str> = text.split('\n').collect();
    let pairs = parts.chunks(2);
    pairs
        .map(|pair| match pair {
            [name, value] => Some(((*name).to_owned(), (*value).to_owned())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn ticket(expires: u64) -> TicketEntry {
        TicketEntry {
            uses: Some(2),
            issued: UnixMillis(1),
            expires: UnixMillis(expires),
            ephemeral: true,
            labels: vec![("a b".into(), "c=d".into()), ("e".into(), String::new())],
        }
    }

    fn entry(serial: u64) -> CertificateEntry {
        CertificateEntry { serial, issued: UnixMillis(1), expires: UnixMillis(100) }
    }

    #[test]
    fn what_was_entered_is_there_after_a_restart_and_what_expired_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued");
        let now = UnixMillis(5);
        let mut book = Book::open(&path, now).unwrap();
        assert!(book.add_ticket(key(1), ticket(50), now).unwrap());
        assert!(book.add_ticket(key(2), ticket(9), now).unwrap());
        assert!(book.add_certificate(Some(key(1)), key(7), entry(u64::MAX), now).unwrap());
        assert!(book.add_certificate(None, key(7), entry(4), now).unwrap());
        drop(book);
        let book = Book::open(&path, UnixMillis(10)).unwrap();
        assert_eq!(book.tickets().collect::<Vec<_>>(), [(&key(1), &ticket(50))]);
        assert_eq!((book.used(&key(1)), book.used(&key(2))), (1, 0));
        assert_eq!(book.certificate(Some(key(1)), key(7)), Some(entry(u64::MAX)));
        assert_eq!(book.certificate(None, key(7)), Some(entry(4)));
        assert_eq!(Book::open(&path, UnixMillis(200)).unwrap().subjects().count(), 0);
    }

    #[test]
    fn a_cancelled_ticket_stays_so_through_restarts_until_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued");
        let now = UnixMillis(5);
        let mut book = Book::open(&path, now).unwrap();
        assert!(book.add_ticket(key(1), ticket(50), now).unwrap());
        assert!(book.add_ticket(key(2), ticket(50), now).unwrap());
        book.cancel_ticket(key(1)).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        book.cancel_ticket(key(1)).unwrap();
        book.cancel_ticket(key(9)).unwrap();
        let again = std::fs::metadata(&path).unwrap().len();
        assert_eq!(again, length, "neither a second time nor an unknown one takes room");
        // Once from the line that was appended, once from the book as it was written anew.
        for _ in 0..2 {
            let book = Book::open(&path, UnixMillis(10)).unwrap();
            assert!(book.is_cancelled(&key(1)) && !book.is_cancelled(&key(2)));
            assert_eq!(book.tickets().map(|(key, _)| *key).collect::<Vec<_>>(), [key(2)]);
        }
        drop(Book::open(&path, UnixMillis(50)).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEAD}\n"), "forgotten");
    }

    #[test]
    fn cancelled_tickets_count_among_the_most_that_are_kept() {
        let mut book = Book::in_memory();
        let many = |number: usize| {
            let mut bytes = [1; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            PublicKey::from_bytes(bytes)
        };
        for number in 0..TICKETS_MAX {
            assert!(book.add_ticket(many(number), ticket(50), UnixMillis(5)).unwrap());
            book.cancel_ticket(many(number)).unwrap();
        }
        assert!(!book.add_ticket(key(9), ticket(50), UnixMillis(49)).unwrap(), "full");
        assert!(book.add_ticket(key(9), ticket(90), UnixMillis(50)).unwrap(), "all expired");
        let stats = IssuedStats { tickets: 1, tickets_cancelled: 0, certificates: 0 };
        assert_eq!(book.stats(), stats);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_dropped_and_other_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued");
        let now = UnixMillis(5);
        let mut book = Book::open(&path, now).unwrap();
        assert!(book.add_certificate(Some(key(1)), key(7), entry(1), now).unwrap());
        assert!(book.add_certificate(Some(key(1)), key(8), entry(2), now).unwrap());
        drop(book);
        let whole = std::fs::read(&path).unwrap();
        for cut in whole.len() - 100..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let book = Book::open(&path, now).unwrap();
            assert_eq!(book.used(&key(1)), 1, "cut at {cut}");
        }
        std::fs::write(&path, b"potluck issued 1\nnonsense\n").unwrap();
        assert_eq!(Book::open(&path, now).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
