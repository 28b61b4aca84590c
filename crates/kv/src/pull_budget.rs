//! What one source may send in pulls.
//!
//! A source names the digest of each record that it offers, so what it sends can be compared with it. A
//! record whose envelopes sum up to the digest is complete, however many pages its source goes on to have.
//! Bytes of a record that never reaches its digest are not proven; a source has a budget of them that grows
//! slowly. An honest source needs little of it: only a record that changed between its offer and its pull has
//! another digest.

use std::collections::BTreeMap;

use potluck_base::{Instant, Key, LruMap, NodeId, Rate, TokenBucket};
use potluck_record::limits::STATE_BYTES_MAX;
use potluck_record::{SignedHead, StateDigest};

/// Most pages of one record: twice what the bytes of [`RECORD_BYTES_MAX`] fill, of which each page has at least
/// half a call. Raising it lets a source that deviates send more of one record.
const RECORD_PAGES_MAX: u16 = 128;
/// Most bytes of one record: twice what writers can make a record at one replica, for replicas that diverged.
const RECORD_BYTES_MAX: u64 = 2 * STATE_BYTES_MAX;
/// Kilobytes of records without their digests that a source may send: two of the largest records at once, then
/// 64 a second. A guess. Raising it wastes more on a source that deviates; lowering it delays the repair of
/// records that change all the time.
const UNPROVEN: Rate = Rate::new(64, UNPROVEN_MOST);
const UNPROVEN_MOST: u32 = 2 * (RECORD_BYTES_MAX / 1024) as u32;
/// Sources whose budgets are remembered. Raising it costs about a hundred bytes each.
const SOURCES_MAX: usize = 1024;

/// What a source has sent of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    digest: StateDigest,
    pages: u16,
    bytes: u64,
}

impl Sent {
    /// Counts an envelope.
    pub(crate) fn add(&mut self, head: &SignedHead, bytes: usize) {
        self.digest = self.digest.with(head);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Counts what a page has of the record.
    pub(crate) fn add_page(&mut self, page: &Self) {
        self.digest = self.digest.plus(page.digest);
        self.bytes = self.bytes.saturating_add(page.bytes);
        self.pages = self.pages.saturating_add(1);
    }

    /// Whether it is all that was offered.
    pub(crate) fn is_all_of(&self, offered: StateDigest) -> bool {
        self.digest == offered
    }

    /// Whether the source has sent as much of the record as it may.
    pub(crate) const fn is_over(&self) -> bool {
        self.pages >= RECORD_PAGES_MAX || self.bytes >= RECORD_BYTES_MAX
    }

    /// Its bytes that no digest proves.
    pub(crate) fn unproven(&self, offered: StateDigest) -> u64 {
        // A key that is healed was offered by no node.
        if self.is_all_of(offered) || offered == StateDigest::EMPTY { 0 } else { self.bytes }
    }
}

/// What a page has of each key.
pub(crate) type Page = BTreeMap<Key, Sent>;

/// The budgets of all sources.
#[derive(Debug, Clone)]
pub(crate) struct PullBudgets {
    sources: LruMap<NodeId, TokenBucket>,
}

impl Default for PullBudgets {
    fn default() -> Self {
        Self { sources: LruMap::new(SOURCES_MAX) }
    }
}

impl PullBudgets {
    /// Takes unproven bytes from the budget of a source. Returns whether it had them.
    pub(crate) fn spend(&mut self, now: Instant, source: NodeId, bytes: u64) -> bool {
        let tokens = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        if tokens == 0 {
            return true;
        }
        let mut bucket = self.sources.peek(&source).copied().unwrap_or_else(|| UNPROVEN.bucket());
        let had = bucket.take(now, tokens);
        if !had {
            // What is left is spent as well: a source that is over sends nothing for a while.
            bucket = UNPROVEN.bucket();
            bucket.take(now, UNPROVEN_MOST);
        }
        self.sources.insert(source, bucket);
        had
    }

    /// Whether a source has any budget left, so that it may offer records.
    pub(crate) fn has_some(&self, now: Instant, source: &NodeId) -> bool {
        let least = (STATE_BYTES_MAX / 1024) as u32;
        self.sources.peek(source).is_none_or(|bucket| bucket.has(now, least))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_that_sends_what_it_does_not_offer_may_offer_nothing_for_a_minute() {
        let (mut budgets, now) = (PullBudgets::default(), Instant::ZERO);
        let (one, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        assert!(budgets.spend(now, one, RECORD_BYTES_MAX) && budgets.has_some(now, &one));
        assert!(budgets.spend(now, one, RECORD_BYTES_MAX));
        assert!(!budgets.has_some(now, &one) && budgets.has_some(now, &other));
        assert!(!budgets.spend(now, one, 1), "nothing is left");
        let later = now + Duration::from_secs(STATE_BYTES_MAX / (64 * 1024) + 1);
        assert!(budgets.has_some(later, &one));
    }

    #[test]
    fn what_is_left_of_a_budget_is_spent_by_the_record_that_goes_over_it() {
        let (mut budgets, now) = (PullBudgets::default(), Instant::ZERO);
        let one = NodeId::from_bytes([1; 32]);
        assert!(budgets.spend(now, one, 3 * STATE_BYTES_MAX));
        assert!(!budgets.spend(now, one, 2 * STATE_BYTES_MAX));
        assert!(!budgets.has_some(now, &one));
    }

    #[test]
    fn a_record_is_over_at_its_last_page_and_its_last_byte() {
        let page = |bytes| Sent { bytes, ..Sent::default() };
        let mut sent = Sent::default();
        for _ in 1..RECORD_PAGES_MAX {
            sent.add_page(&page(1));
        }
        assert!(!sent.is_over());
        sent.add_page(&page(1));
        assert!(sent.is_over());
        let mut sent = Sent::default();
        sent.add_page(&page(RECORD_BYTES_MAX - 1));
        assert!(!sent.is_over());
        sent.add_page(&page(1));
        assert!(sent.is_over());
        let offered = StateDigest::from_bytes([1; 16]);
        assert_eq!(sent.unproven(offered), RECORD_BYTES_MAX);
        assert_eq!((sent.unproven(StateDigest::EMPTY), page(9).unproven(offered)), (0, 9));
    }
}
