//! The ids of seen messages: a window of sequence numbers for each publisher.
//!
//! A window costs nothing while messages arrive in order, and one bit a message while they do not,
//! so that a message repaired late is neither lost nor delivered twice. Messages below a window
//! count as seen.
//!
//! **Invariant:** only messages with a verified signature enter a window; otherwise any node could
//! suppress another publisher's messages.

use std::collections::VecDeque;

use potluck_base::{Instant, LruMap, PublicKey, TokenBucket};

use crate::message::MessageId;

/// Bits in a word of a window.
const WORD_BITS: u64 = 64;
/// Window size in messages for the first publishers of a topic: how many may be missing behind the
/// newest one. Three seconds of repair at 20,000 messages a second. A guess.
const WIDE_BITS: u64 = 65_536;
/// Window size in messages for further publishers, so that 4096 of them cost at most 4 MiB.
const NARROW_BITS: u64 = 4_096;
/// Publishers with a wide window.
const WIDE_PUBLISHERS: usize = 256;
/// How many messages before a publisher's first received one may still be missing.
const BACKFILL: u64 = 1_024;
/// Incarnations of one publisher with a window; messages of older ones count as seen.
const INCARNATIONS_MAX: usize = 2;

/// The seen messages of one incarnation of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Everything up to here counts as seen. A multiple of 64.
    floor: u64,
    /// The seen messages above `floor`, lowest bit first.
    words: VecDeque<u64>,
}

impl Window {
    fn new(first: u64) -> Self {
        let floor = first.saturating_sub(BACKFILL + 1) / WORD_BITS * WORD_BITS;
        Self { floor, words: VecDeque::new() }
    }

    /// Everything up to here counts as seen.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    fn place(&self, sequence: u64) -> Option<(u64, u32)> {
        let offset = sequence.checked_sub(self.floor + 1)?;
        Some((offset / WORD_BITS, (offset % WORD_BITS) as u32))
    }

    pub(super) fn contains(&self, sequence: u64) -> bool {
        let Some((word, bit)) = (sequence > self.floor).then(|| self.place(sequence)).flatten()
        else {
            return true;
        };
        let word = usize::try_from(word).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Records a message; `bits_max` is a multiple of 64. False if it was seen before.
    fn insert(&mut self, sequence: u64, bits_max: u64) -> bool {
        if self.contains(sequence) {
            return false;
        }
        let Some((word, _)) = self.place(sequence) else { return false };
        let surplus = (word + 1).saturating_sub(bits_max / WORD_BITS);
        self.floor += surplus * WORD_BITS;
        let dropped = usize::try_from(surplus).unwrap_or(usize::MAX).min(self.words.len());
        self.words.drain(..dropped);
        let Some((word, bit)) = self.place(sequence) else { return false };
        let word = word as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.floor += WORD_BITS;
        }
        true
    }
}

/// The state of one publisher.
#[derive(Debug, Clone)]
struct Publisher {
    /// By incarnation, oldest first.
    windows: Vec<(u64, Window)>,
    rate: TokenBucket,
}

/// Whether a message is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It is new.
    New,
    /// It was seen before.
    Seen,
    /// It is new, and its publisher exceeds its rate.
    OverRate,
}

/// The publishers of one topic.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    publishers: LruMap<PublicKey, Publisher>,
}

impl Seen {
    pub(super) fn new(publishers_max: usize) -> Self {
        Self { publishers: LruMap::new(publishers_max.max(1)) }
    }

    pub(super) fn publishers(&self) -> usize {
        self.publishers.len()
    }

    /// Whether a message counts as seen.
    pub(super) fn contains(&self, id: &MessageId) -> bool {
        let Some(publisher) = self.publishers.peek(&id.publisher) else { return false };
        match publisher.windows.iter().find(|(incarnation, _)| *incarnation == id.incarnation) {
            Some((_, window)) => window.contains(id.sequence),
            None => publisher.is_past(id.incarnation),
        }
    }

    /// All messages of this incarnation up to this number count as seen.
    pub(super) fn floor(&self, publisher: &PublicKey, incarnation: u64) -> u64 {
        let Some(known) = self.publishers.peek(publisher) else { return 0 };
        match known.windows.iter().find(|(known, _)| *known == incarnation) {
            Some((_, window)) => window.floor(),
            None if known.is_past(incarnation) => u64::MAX,
            None => 0,
        }
    }

    /// Sets the rate of every publisher.
    pub(super) fn set_rate(&mut self, rate: TokenBucket) {
        let publishers: Vec<PublicKey> = self.publishers.iter().map(|(key, _)| *key).collect();
        for publisher in publishers {
            if let Some(known) = self.publishers.get_mut(&publisher) {
                known.rate = rate;
            }
        }
    }

    /// Whether a publisher has used up most of its burst. A fifth is reserved, since other nodes
    /// receive its messages in bursts.
    pub(super) fn is_at_limit(&self, now: Instant, publisher: &PublicKey, burst: u32) -> bool {
        let known = self.publishers.peek(publisher);
        known.is_some_and(|publisher| !publisher.rate.has(now, burst.div_ceil(5)))
    }

    /// Records a message whose signature was verified.
    pub(super) fn insert(&mut self, now: Instant, id: &MessageId, rate: TokenBucket) -> Novelty {
        let bits_max =
            if self.publishers.len() <= WIDE_PUBLISHERS { WIDE_BITS } else { NARROW_BITS };
        if self.publishers.peek(&id.publisher).is_none() {
            self.publishers.insert(id.publisher, Publisher { windows: Vec::new(), rate });
        }
        let Some(publisher) = self.publishers.get_mut(&id.publisher) else { return Novelty::Seen };
        let Some(window) = publisher.window(id) else { return Novelty::Seen };
        if !window.insert(id.sequence, bits_max) {
            return Novelty::Seen;
        }
        if publisher.rate.take(now, 1) { Novelty::New } else { Novelty::OverRate }
    }
}

impl Publisher {
    fn is_past(&self, incarnation: u64) -> bool {
        self.windows.len() >= INCARNATIONS_MAX
            && self.windows.first().is_some_and(|(oldest, _)| incarnation < *oldest)
    }

    fn window(&mut self, id: &MessageId) -> Option<&mut Window> {
        let at = match self.windows.binary_search_by_key(&id.incarnation, |(known, _)| *known) {
            Ok(at) => at,
            Err(_) if self.is_past(id.incarnation) => return None,
            Err(mut at) => {
                if self.windows.len() >= INCARNATIONS_MAX {
                    self.windows.remove(0);
                    at -= 1;
                }
                self.windows.reserve_exact(1);
                self.windows.insert(at, (id.incarnation, Window::new(id.sequence)));
                at
            }
        };
        self.windows.get_mut(at).map(|(_, window)| window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::{Identity, Rate};

    fn id(publisher: u8, incarnation: u64, sequence: u64) -> MessageId {
        let publisher = Identity::from_seed([publisher; 32]).public_key();
        MessageId { publisher, incarnation, sequence }
    }

    fn note(seen: &mut Seen, id: &MessageId) -> Novelty {
        seen.insert(Instant::ZERO, id, Rate::new(1_000_000, 1_000_000).bucket())
    }

    #[test]
    fn each_message_is_new_once_in_any_order() {
        let mut rng = potluck_base::Rng::from_number(1);
        let mut sequences: Vec<u64> = (1..=5_000).collect();
        for block in sequences.chunks_mut(700) {
            rng.shuffle(block);
        }
        let mut seen = Seen::new(4);
        for sequence in &sequences {
            assert!(!seen.contains(&id(1, 1, *sequence)));
            assert_eq!(note(&mut seen, &id(1, 1, *sequence)), Novelty::New);
            assert_eq!(note(&mut seen, &id(1, 1, *sequence)), Novelty::Seen);
        }
        assert_eq!(seen.floor(&id(1, 1, 1).publisher, 1), 5_000 / 64 * 64);
    }

    #[test]
    fn messages_below_the_window_count_as_seen() {
        let mut window = Window::new(1);
        assert!(window.insert(1, 128) && window.insert(1_000, 128));
        assert!(window.contains(2) && !window.contains(999));
        assert!(!window.insert(2, 128) && window.words.len() <= 2);
        assert!(window.insert(u64::MAX, 128) && window.contains(1_001));
        assert!(window.insert(u64::MAX - 1, 128) && !window.insert(u64::MAX, 128));
    }

    #[test]
    fn a_late_listener_may_still_miss_the_last_thousand() {
        let mut seen = Seen::new(4);
        note(&mut seen, &id(1, 1, 1_000_000));
        assert!(!seen.contains(&id(1, 1, 999_000)) && seen.contains(&id(1, 1, 900_000)));
        assert!(seen.contains(&id(1, 1, 998_000)));
    }

    #[test]
    fn windows_are_wide_for_few_publishers_and_narrow_for_many() {
        let late = |publishers: u8, rest: u64| {
            let mut seen = Seen::new(1_024);
            for number in 0..=publishers {
                note(&mut seen, &id(number, 1, 1));
            }
            let key = |number: u64| {
                let mut seed = [9; 32];
                seed[..8].copy_from_slice(&number.to_le_bytes());
                Identity::from_seed(seed).public_key()
            };
            for number in 0..rest {
                let publisher = key(number);
                note(&mut seen, &MessageId { publisher, incarnation: 1, sequence: 1 });
            }
            note(&mut seen, &id(0, 1, 4_000));
            assert!(!seen.contains(&id(0, 1, 2)));
            note(&mut seen, &id(0, 1, 60_000));
            note(&mut seen, &id(0, 1, 2))
        };
        assert_eq!(late(0, 0), Novelty::New);
        assert_eq!(late(255, 1), Novelty::Seen, "many publishers get a narrow window each");
    }

    #[test]
    fn incarnations_before_the_last_two_count_as_seen() {
        let mut seen = Seen::new(4);
        for incarnation in [1, 3, 2] {
            assert_eq!(note(&mut seen, &id(1, incarnation, 1)), Novelty::New);
        }
        assert!(seen.contains(&id(1, 1, 9)) && !seen.contains(&id(1, 2, 9)));
        assert_eq!(note(&mut seen, &id(1, 1, 9)), Novelty::Seen);
        let publisher = id(1, 1, 1).publisher;
        let floors = [1, 2, 4].map(|incarnation| seen.floor(&publisher, incarnation));
        assert_eq!(floors, [u64::MAX, 0, 0], "no message of them is processed");
    }

    #[test]
    fn publishers_beyond_the_limit_push_the_idlest_out() {
        let mut seen = Seen::new(8);
        (0..100).for_each(|number| {
            note(&mut seen, &id(number, 1, 1));
        });
        assert_eq!(seen.publishers(), 8);
    }

    #[test]
    fn a_publisher_over_its_rate_is_reported() {
        let mut seen = Seen::new(8);
        let rate = Rate::new(10, 2).bucket();
        let noted: Vec<Novelty> =
            (1..=3).map(|number| seen.insert(Instant::ZERO, &id(1, 1, number), rate)).collect();
        assert_eq!(noted, [Novelty::New, Novelty::New, Novelty::OverRate]);
        assert!(seen.contains(&id(1, 1, 3)));
    }
}
