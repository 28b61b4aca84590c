//! The issuer's book: which tickets were made, and which certificates were signed.
//!
//! A line is appended and synced before its content leaves this node, so a ticket that has been
//! used up stays used up through a crash. What has expired is left out when the book is opened. A
//! last line that a crash cut off never left this node and is dropped; any other line that makes
//! no sense is left out and told, and a copy of the book as it was found is kept.
//!
//! The clock of one start may be wrong. A file that forgot what had expired by it would let tickets be
//! used again that were used up, so the file forgets only what had expired by [`cutoff`].
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
use crate::folder::{Readers, append_to, read_bytes, replace};

const HEAD: &str = "potluck issued 1";
/// Most unexpired tickets; further ones are refused.
const TICKETS_MAX: usize = 4096;
/// Most unexpired certificates. A guess, far above what one network has.
const CERTIFICATES_MAX: usize = 65_536;
/// Most bytes of the file that are read: more than any book within the limits has.
const BYTES_MAX: u64 = 64 << 20;
/// Size in bytes from which the file is rewritten, when it has doubled since the last time.
const REWRITE_BYTES: u64 = 8 << 20;
/// An issuer that wrote nothing for longer, and then does, may have another clock: a guess far above
/// the pause of one that is at work, which renews its own certificate each quarter of a year.
const LEAP_MS: u64 = 120 * 86_400_000;
/// Milliseconds after its expiry when an entry is dropped by any clock: longer than tickets and
/// certificates live.
const FORGOTTEN_AFTER_MS: u64 = 2 * 365 * 86_400_000;
/// The beginnings of lines.
const KINDS: [&str; 3] = ["ticket ", "cancel ", "member "];
/// Suffix of the copy of a book with unreadable lines.
const DAMAGED: &str = "damaged";

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

/// The subject, and the ticket; no ticket for the issuer's own certificates and for renewals.
type Reason = (Option<PublicKey>, PublicKey);

/// The file of a book, open to be appended to.
#[derive(Debug)]
struct Pages {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines. What is behind them, of a line that could not be written, goes first.
    length: u64,
    /// Bytes when it was written anew.
    anew: u64,
}

/// The book. `pages` is none for a node that keeps everything in memory.
#[derive(Debug)]
pub(super) struct Book {
    pages: Option<Pages>,
    tickets: BTreeMap<PublicKey, TicketEntry>,
    /// The cancelled ones among the tickets.
    cancelled: BTreeSet<PublicKey>,
    certificates: BTreeMap<Reason, CertificateEntry>,
}

impl Book {
    /// A book on no disk.
    pub(super) const fn in_memory() -> Self {
        Self {
            pages: None,
            tickets: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            certificates: BTreeMap::new(),
        }
    }

    /// The book at `path`, without what has expired; an empty one if there is none.
    pub(super) fn open(path: &Path, now: UnixMillis) -> io::Result<Self> {
        let mut book = Self::in_memory();
        if let Some(bytes) = read_bytes(path, BYTES_MAX)?
            && book.read(path, &bytes)? > 0
        {
            let mut aside = path.as_os_str().to_owned();
            aside.push(format!(".{DAMAGED}"));
            replace(Path::new(&aside), &bytes, Readers::Owner)?;
        }
        book.pages = Some(book.write_anew(path, now)?);
        book.forget(now);
        Ok(book)
    }

    /// Takes in what the file says. Returns how many lines made no sense.
    pub(super) fn read(&mut self, path: &Path, bytes: &[u8]) -> io::Result<usize> {
        let path = path.display();
        // What stands behind the last line break was cut off.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end < bytes.len() {
            tracing::warn!(code = "issuer.bookCut", %path, bytes = bytes.len() - end, "a line that was cut off is dropped");
        }
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = text.lines();
        match lines.next() {
            None | Some(HEAD) => {}
            Some(_) => {
                let why = format!("{path} is no book of tickets and certificates");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        let damaged = lines.filter(|line| !self.read_somehow(line)).count();
        if damaged > 0 {
            tracing::warn!(
                code = "issuer.bookDamaged",
                %path, lines = damaged,
                "lines that make no sense are left out; tickets that they told of may let in once more"
            );
        }
        Ok(damaged)
    }

    /// Reads a line; of one that begins with half another, what follows that. Returns whether all of it
    /// was read.
    fn read_somehow(&mut self, line: &str) -> bool {
        if self.read_line(line).is_some() {
            return true;
        }
        let begins = |at: &usize| {
            line.get(*at..).is_some_and(|rest| KINDS.iter().any(|kind| rest.starts_with(kind)))
        };
        // The last one: what stands before it was cut off.
        if let Some(at) = (1..line.len()).rev().find(begins) {
            self.read_line(&line[at..]);
        }
        false
    }

    /// Writes a file with all that had not expired by [`cutoff`].
    fn write_anew(&self, path: &Path, now: UnixMillis) -> io::Result<Pages> {
        let issued = self.tickets.values().map(|ticket| ticket.issued);
        let issued = issued.chain(self.certificates.values().map(|entry| entry.issued)).collect();
        let mut kept = Self {
            pages: None,
            tickets: self.tickets.clone(),
            cancelled: self.cancelled.clone(),
            certificates: self.certificates.clone(),
        };
        kept.forget(cutoff(issued, now));
        let text = kept.text();
        replace(path, text.as_bytes(), Readers::Owner)?;
        let length = text.len() as u64;
        Ok(Pages { file: append_to(path)?, path: path.to_owned(), length, anew: length })
    }

    fn forget(&mut self, now: UnixMillis) {
        self.forget_tickets(now);
        self.forget_certificates(now);
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

    pub(super) fn text(&self) -> String {
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

    /// Records that a ticket of this book is cancelled.
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
        let Some(pages) = &mut self.pages else { return Ok(()) };
        pages.append(line)?;
        if pages.length > REWRITE_BYTES.max(pages.anew.saturating_mul(2)) {
            let path = pages.path.clone();
            // All of it: what this run has forgotten, its clock may be wrong about.
            let mut all = Self::in_memory();
            if let Some(bytes) = read_bytes(&path, BYTES_MAX)? {
                all.read(&path, &bytes)?;
            }
            self.pages = Some(all.write_anew(&path, UnixMillis(0))?);
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

    /// The number of nodes that `ticket` admitted.
    pub(super) fn used(&self, ticket: &PublicKey) -> u32 {
        let first = (Some(*ticket), PublicKey::from_bytes([0; 32]));
        let last = (Some(*ticket), PublicKey::from_bytes([0xff; 32]));
        u32::try_from(self.certificates.range(first..=last).count()).unwrap_or(u32::MAX)
    }

    /// The tickets that were not cancelled, in the order of their keys.
    pub(super) fn tickets(&self) -> impl Iterator<Item = (&PublicKey, &TicketEntry)> {
        self.tickets.iter().filter(|(key, _)| !self.cancelled.contains(key))
    }

    /// The holders of certificates signed here that may still be valid, some more than once.
    pub(super) fn subjects(&self) -> impl Iterator<Item = PublicKey> {
        self.certificates.keys().map(|(_, subject)| *subject)
    }
}

impl Pages {
    /// Appends a line and waits for the disk. If it fails the file is as it was.
    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.file.metadata()?.len() != self.length {
            // Half a line would spoil this one.
            self.file.set_len(self.length)?;
        }
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += line.len() as u64,
            // If this fails as well, the next line sees to it.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }
}

/// By which time a file may forget what has expired, if these are the times at which its lines were
/// written and the clock says `now`: the last of them behind which there is no leap. `now` itself, if there
/// is none.
fn cutoff(mut issued: Vec<UnixMillis>, now: UnixMillis) -> UnixMillis {
    issued.sort_unstable();
    let newest = issued.last().copied().unwrap_or(now);
    issued.push(now);
    let mut steady = issued[0];
    for time in issued {
        if time.0.saturating_sub(steady.0) > LEAP_MS {
            break;
        }
        steady = steady.max(time);
    }
    let sure = UnixMillis(newest.min(now).0.saturating_sub(FORGOTTEN_AFTER_MS));
    steady.min(now).max(sure)
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
    fn a_line_that_a_crash_cut_off_is_dropped_and_other_damage_costs_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued");
        let now = UnixMillis(5);
        let mut book = Book::open(&path, now).unwrap();
        assert!(book.add_certificate(Some(key(1)), key(7), entry(1), now).unwrap());
        assert!(book.add_certificate(Some(key(1)), key(8), entry(2), now).unwrap());
        drop(book);
        let whole = std::fs::read(&path).unwrap();
        let aside = folder.path().join("issued.damaged");
        for cut in whole.len() - 100..whole.len() {
            let zeros = [&whole[..cut], &[0; 40]].concat();
            for torn in [&whole[..cut], &zeros] {
                std::fs::write(&path, torn).unwrap();
                let book = Book::open(&path, now).unwrap();
                assert_eq!(book.used(&key(1)), 1, "cut at {cut}");
            }
        }
        for cut in 0..HEAD.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Book::open(&path, now).unwrap().subjects().count(), 0, "cut at {cut}");
        }
        assert!(aside.symlink_metadata().is_err(), "nothing was damaged");

        // Half a line, and one that an earlier version wrote behind it.
        let third = member_line(&(Some(key(1)), key(9)), &entry(3));
        for cut in whole.len() - 100..whole.len() {
            let spoilt = [&whole[..cut], third.as_bytes()].concat();
            std::fs::write(&path, &spoilt).unwrap();
            let book = Book::open(&path, now).unwrap();
            assert_eq!(book.used(&key(1)), 2, "cut at {cut}");
            assert_eq!(book.certificate(Some(key(1)), key(9)), Some(entry(3)), "cut at {cut}");
            assert_eq!(std::fs::read(&aside).unwrap(), spoilt, "kept as it was found");
        }
        std::fs::write(&path, b"potluck issued 1\nnonsense\n\xff\xfe\n").unwrap();
        assert_eq!(Book::open(&path, now).unwrap().subjects().count(), 0);
        std::fs::write(&path, b"something else\nnonsense\n").unwrap();
        assert_eq!(Book::open(&path, now).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_line_that_could_not_be_written_spoils_none_that_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued");
        let now = UnixMillis(5);
        let mut book = Book::open(&path, now).unwrap();
        assert!(book.add_certificate(Some(key(1)), key(7), entry(1), now).unwrap());
        // As a disk leaves it that was full in the middle of a line.
        append_to(&path).unwrap().write_all(b"member 0707").unwrap();
        assert!(book.add_certificate(Some(key(1)), key(8), entry(2), now).unwrap());
        drop(book);
        let book = Book::open(&path, now).unwrap();
        assert_eq!(book.used(&key(1)), 2);
        assert!(folder.path().join("issued.damaged").symlink_metadata().is_err());
    }

    #[test]
    fn a_book_opened_under_a_clock_that_leapt_forgets_nothing() {
        const DAY: u64 = 86_400_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued");
        let now = UnixMillis(20_000 * DAY);
        let at = |days: u64| UnixMillis(now.0 + days * DAY);
        let issued = |days: u64, life: u64| CertificateEntry {
            serial: days,
            issued: at(days),
            expires: at(days + life),
        };
        let mut book = Book::open(&path, now).unwrap();
        let week = TicketEntry { issued: now, expires: at(7), ..ticket(0) };
        assert!(book.add_ticket(key(1), week.clone(), now).unwrap());
        assert!(book.add_ticket(key(2), week, now).unwrap());
        assert!(book.add_certificate(Some(key(1)), key(7), issued(0, 365), now).unwrap());
        book.cancel_ticket(key(2)).unwrap();
        drop(book);
        drop(Book::open(&path, at(1)).unwrap());
        let whole = std::fs::read(&path).unwrap();
        // A year ahead, twice; the second time with a line that was written by that clock.
        let mut book = Book::open(&path, at(400)).unwrap();
        assert_eq!((book.stats().tickets, book.used(&key(1))), (0, 0), "expired by that clock");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert!(book.add_certificate(None, key(9), issued(400, 1), at(400)).unwrap());
        drop(book);
        drop(Book::open(&path, at(402)).unwrap());
        // Right again.
        let book = Book::open(&path, at(1)).unwrap();
        assert_eq!((book.stats().tickets, book.used(&key(1))), (2, 1));
        assert!(book.is_cancelled(&key(2)));
        drop(book);
        // Time that passed at work is no leap.
        std::fs::write(&path, &whole).unwrap();
        for day in [90, 180, 270, 360, 450] {
            let mut book = Book::open(&path, at(day)).unwrap();
            assert!(book.add_certificate(None, key(7), issued(day, 365), at(day)).unwrap());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("ticket") && !text.contains("cancel"), "{text}");
    }

    #[test]
    fn a_book_that_grew_long_is_written_anew_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued");
        let now = UnixMillis(5);
        let mut book = Book::open(&path, now).unwrap();
        assert!(book.add_ticket(key(1), ticket(50), now).unwrap());
        // The same renewed over and over.
        let line = member_line(&(None, key(7)), &entry(4));
        let many = line.repeat(REWRITE_BYTES as usize / line.len() + 1);
        append_to(&path).unwrap().write_all(many.as_bytes()).unwrap();
        if let Some(pages) = &mut book.pages {
            pages.length += many.len() as u64;
        }
        assert!(book.add_certificate(None, key(8), entry(5), now).unwrap());
        assert!(std::fs::metadata(&path).unwrap().len() < 1024);
        assert!(book.add_certificate(None, key(9), entry(6), now).unwrap());
        drop(book);
        let book = Book::open(&path, now).unwrap();
        assert_eq!((book.stats().tickets, book.subjects().count()), (1, 3));
    }
}
