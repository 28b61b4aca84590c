//! The broadcast queue: items for all members, collected into announcements.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Deadline, Instant, LruMap, PublicKey};
use potluck_wire::{Announcement, SuspectMessage};

/// How long the broadcast queue collects items before an announcement. A higher value sends fewer,
/// later announcements.
const BATCH_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of one announcement: with its signature and framing it fits in a datagram.
const ANNOUNCEMENT_BYTES: usize = 760;
/// Records in the broadcast queue. Dropped ones are found by anti-entropy.
const RECORDS_MAX: usize = 512;
/// Suspect messages in the broadcast queue.
const SUSPECTS_MAX: usize = 64;
/// Revocations in the broadcast queue.
const REVOCATIONS_MAX: usize = 256;
/// Bytes of a suspect message with its framing.
const SUSPECT_BYTES: usize = 52;
/// Recent record requests remembered, one for each member.
const REQUESTED_MAX: usize = 1024;

/// Items waiting to be announced to all members.
#[derive(Debug)]
pub(super) struct BroadcastQueue {
    records: VecDeque<(PublicKey, Bytes)>,
    /// Records to be announced unless another member announces them first.
    delayed: BTreeMap<(Instant, PublicKey), Bytes>,
    suspects: VecDeque<SuspectMessage>,
    revocations: VecDeque<Bytes>,
    /// The newest settings of the network.
    settings: Option<Bytes>,
    flush_at: Option<Instant>,
    requested: LruMap<PublicKey, Instant>,
}

impl Default for BroadcastQueue {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            delayed: BTreeMap::new(),
            suspects: VecDeque::new(),
            revocations: VecDeque::new(),
            settings: None,
            flush_at: None,
            requested: LruMap::new(REQUESTED_MAX),
        }
    }
}

impl BroadcastQueue {
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.delayed.len() + self.suspects.len() + self.revocations.len()
    }

    /// Whether the next announcement would be empty.
    fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.suspects.is_empty()
            && self.revocations.is_empty()
            && self.settings.is_none()
    }

    /// Queues a record to be announced at `at`, unless another member announces it before.
    pub(super) fn add_delayed(&mut self, at: Instant, key: PublicKey, record: Bytes) {
        self.on_announced_elsewhere(&key);
        if self.delayed.len() < RECORDS_MAX {
            self.delayed.insert((at, key), record);
        }
    }

    /// Another member announced this record.
    pub(super) fn on_announced_elsewhere(&mut self, key: &PublicKey) {
        self.delayed.retain(|(_, other), _| other != key);
    }

    /// Queues the delayed records that are due.
    pub(super) fn release_delayed(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            let (at, key) = *first.key();
            if at > now {
                return;
            }
            let record = first.remove();
            self.add_record(key, record);
        }
    }

    pub(super) fn add_record(&mut self, key: PublicKey, record: Bytes) {
        self.records.retain(|(other, _)| *other != key);
        if self.records.len() < RECORDS_MAX {
            self.records.push_back((key, record));
        }
    }

    pub(super) fn add_suspect(&mut self, suspect: SuspectMessage) {
        self.suspects.retain(|other| other.subject != suspect.subject);
        if self.suspects.len() < SUSPECTS_MAX {
            self.suspects.push_back(suspect);
        }
    }

    pub(super) fn add_revocation(&mut self, revocation: Bytes) {
        if self.revocations.len() < REVOCATIONS_MAX && !self.revocations.contains(&revocation) {
            self.revocations.push_back(revocation);
        }
    }

    pub(super) fn set_settings(&mut self, settings: Bytes) {
        self.settings = Some(settings);
    }

    pub(super) fn forget(&mut self, key: &PublicKey) {
        self.on_announced_elsewhere(key);
        self.records.retain(|(other, _)| other != key);
        self.suspects.retain(|suspect| suspect.subject != *key);
    }

    /// Whether an announcement is due; if so, its timer stops.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.flush_at.take_if(|at| *at <= now).is_some()
    }

    /// An announcement is sent now, even if its timer is not due.
    pub(super) const fn begin_flush(&mut self) {
        self.flush_at = None;
    }

    /// Whether the record of this member may be requested, since it was not within `pause`.
    pub(super) fn may_request(&self, now: Instant, key: &PublicKey, pause: Duration) -> bool {
        self.requested.peek(key).is_none_or(|at| now.since(*at) >= pause)
    }

    /// The record of this member is requested now.
    pub(super) fn note_requested(&mut self, now: Instant, key: PublicKey) {
        self.requested.insert(key, now);
    }

    /// Schedules the next announcement if items wait. Called after each input, with its time.
    pub(super) fn arm(&mut self, now: Instant) {
        if self.flush_at.is_none() && !self.is_empty() {
            self.flush_at = Some(now + BATCH_PAUSE);
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        Deadline::earliest([
            self.flush_at.map(|at| Deadline::new(at, "announce")),
            delayed.map(|at| Deadline::new(at, "news")),
        ])
    }

    /// As many items as fit into one announcement.
    pub(super) fn take(&mut self) -> Option<Announcement> {
        let mut announcement = Announcement::default();
        let mut room = ANNOUNCEMENT_BYTES;
        if let Some(settings) = self.settings.take() {
            room = room.saturating_sub(settings.len() + 3);
            announcement.settings = Some(settings);
        }
        while room >= SUSPECT_BYTES
            && announcement.suspects.len() < potluck_wire::limits::SUSPECTS_MAX
            && let Some(suspect) = self.suspects.pop_front()
        {
            room -= SUSPECT_BYTES;
            announcement.suspects.push(suspect);
        }
        // The first record always fits: one alone may be longer, and is sent as a larger message.
        while self.revocations.front().is_some_and(|bytes| bytes.len() + 3 <= room) {
            let Some(bytes) = self.revocations.pop_front() else { break };
            room -= bytes.len() + 3;
            announcement.revocations.push(bytes);
        }
        let empty = |announcement: &Announcement| {
            announcement.suspects.is_empty()
                && announcement.records.is_empty()
                && announcement.revocations.is_empty()
                && announcement.settings.is_none()
        };
        while let Some((_, bytes)) = self.records.front() {
            let needed = bytes.len() + 3;
            if needed > room && !empty(&announcement) {
                break;
            }
            room = room.saturating_sub(needed);
            let Some((_, bytes)) = self.records.pop_front() else { break };
            announcement.records.push(bytes);
        }
        (!empty(&announcement)).then_some(announcement)
    }
}
