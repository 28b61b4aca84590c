//! The counters of a store. They change with every change of rows and are written in the same batch.
//!
//! All arithmetic saturates. If a bad disk returns a huge counter or summary, the figures are wrong until a
//! recount, but the store does not stop.

use crate::rows::{EXPIRY_ROW_BYTES, OWN_KEY_BYTES, REPLICA_KEY_BYTES, SUMMARY_ROW_BYTES, Summary};

/// The counters and the first expiry. They are part of every commit, so they are right after any crash, and
/// opening a store reads one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Keys held as replica, without internal ones.
    pub(crate) records: u64,
    /// Internal keys held as replica.
    pub(crate) internal_records: u64,
    /// Envelopes held as replica.
    pub(crate) envelopes: u64,
    /// Envelopes that this node wrote.
    pub(crate) own: u64,
    /// Bytes of all envelopes.
    pub(crate) record_bytes: u64,
    /// Writers with envelopes held as replica. [`UNCOUNTED`](Self::UNCOUNTED) if an older version, which did
    /// not count them, wrote the counters.
    pub(crate) writers: u64,
    /// No envelope expires before this; `u64::MAX` if there is no envelope. Expiry starts its scan here, so
    /// it does not pass over rows that it deleted before.
    pub(crate) first_expiry: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            records: 0,
            internal_records: 0,
            envelopes: 0,
            own: 0,
            record_bytes: 0,
            writers: 0,
            first_expiry: u64::MAX,
        }
    }
}

impl Ledger {
    /// The value of `writers` if they are not counted yet.
    pub(crate) const UNCOUNTED: u64 = u64::MAX;

    /// Bytes of all rows, keys included.
    pub(crate) fn row_bytes(&self) -> u64 {
        let keys = self.records.saturating_add(self.internal_records);
        [
            self.envelopes.saturating_mul(REPLICA_KEY_BYTES + EXPIRY_ROW_BYTES),
            keys.saturating_mul(SUMMARY_ROW_BYTES),
            self.own.saturating_mul(OWN_KEY_BYTES + EXPIRY_ROW_BYTES),
        ]
        .into_iter()
        .fold(self.record_bytes, u64::saturating_add)
    }

    /// Adds the summary of a key.
    pub(crate) fn add(&mut self, summary: &Summary) {
        let keys = self.keys(summary.internal);
        *keys = keys.saturating_add(1);
        self.envelopes = self.envelopes.saturating_add(u64::from(summary.writers));
        self.record_bytes = self.record_bytes.saturating_add(summary.bytes);
    }

    /// Subtracts the summary of a key.
    pub(crate) fn subtract(&mut self, summary: &Summary) {
        let keys = self.keys(summary.internal);
        *keys = keys.saturating_sub(1);
        self.envelopes = self.envelopes.saturating_sub(u64::from(summary.writers));
        self.record_bytes = self.record_bytes.saturating_sub(summary.bytes);
    }

    /// Adds an own envelope.
    pub(crate) fn add_own(&mut self, bytes: usize) {
        self.own = self.own.saturating_add(1);
        self.record_bytes = self.record_bytes.saturating_add(bytes as u64);
    }

    /// Subtracts an own envelope.
    pub(crate) fn subtract_own(&mut self, bytes: usize) {
        self.own = self.own.saturating_sub(1);
        self.record_bytes = self.record_bytes.saturating_sub(bytes as u64);
    }

    fn keys(&mut self, internal: bool) -> &mut u64 {
        if internal { &mut self.internal_records } else { &mut self.records }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.fields().into_iter().flat_map(u64::to_be_bytes).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        let fields: Vec<u64> = chunks.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect();
        let (&[records, internal_records, envelopes, own, record_bytes, first_expiry], rest) =
            fields.split_first_chunk::<6>()?;
        let writers = match rest {
            [] => Self::UNCOUNTED,
            [writers] => *writers,
            _ => return None,
        };
        Some(Self {
            records,
            internal_records,
            envelopes,
            own,
            record_bytes,
            writers,
            first_expiry,
        })
    }

    const fn fields(&self) -> [u64; 7] {
        [
            self.records,
            self.internal_records,
            self.envelopes,
            self.own,
            self.record_bytes,
            self.first_expiry,
            self.writers,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_a_bad_disk_gave_back_overflow_nowhere() {
        let most = [u64::MAX; 7].into_iter().flat_map(u64::to_be_bytes).collect::<Vec<u8>>();
        let mut ledger = Ledger::decode(&most).expect("seven numbers");
        assert_eq!(ledger.row_bytes(), u64::MAX);
        let damaged = Summary {
            digest: potluck_record::StateDigest::EMPTY,
            writers: u16::MAX,
            internal: false,
            bytes: u64::MAX,
        };
        ledger.add(&damaged);
        ledger.add_own(usize::MAX);
        assert_eq!(
            (ledger.records, ledger.record_bytes, ledger.own),
            (u64::MAX, u64::MAX, u64::MAX)
        );
        ledger.subtract(&damaged);
        ledger.subtract_own(1);
        assert_eq!((ledger.records, ledger.record_bytes), (u64::MAX - 1, 0));
    }

    #[test]
    fn a_ledger_round_trips_and_another_length_is_refused() {
        let ledger =
            Ledger { records: 1, own: 7, writers: 3, first_expiry: 9, ..Ledger::default() };
        assert_eq!(Ledger::decode(&ledger.encode()), Some(ledger));
        assert_eq!(Ledger::decode(&ledger.encode()[1..]), None);
        assert_eq!(Ledger::decode(&[0; 40]), None);
        assert_eq!(Ledger::decode(&[0; 64]), None);
        let older = Ledger { writers: Ledger::UNCOUNTED, ..ledger };
        assert_eq!(Ledger::decode(&ledger.encode()[..48]), Some(older), "of an older version");
    }
}
