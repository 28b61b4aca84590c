//! The newest versions that this node read, so that an older answer is noticed.
//!
//! A signature proves that a version is genuine, but not that it is the newest: nodes that surround a key can
//! answer with an old version for ever. So a reader remembers the newest dots of each key that it read, and an
//! answer that neither has nor covers them is older.
//!
//! **Invariant:** keys and dots are bounded. An older answer for a forgotten key is not noticed.

use std::time::Duration;

use potluck_base::{Instant, Key, LruMap, PublicKey, UnixMillis};
use potluck_record::{Dot, HasHead, State};

/// Keys whose versions are remembered. Raising it costs about 500 bytes of memory each.
const KEYS_MAX: usize = 4096;
/// Dots remembered of one key: those of its newest envelopes. An older envelope that is missing from an answer is
/// not noticed. Raising it notices more of them and costs memory.
const DOTS_MAX: usize = 8;
/// How long a version is remembered. If the network loses a record, reads of it are flagged as older for this
/// time. Raising it notices an older answer after a longer pause between two reads. A guess.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The dot of one envelope that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    writer: PublicKey,
    dot: Dot,
    expires: UnixMillis,
}

/// What was read of one key.
#[derive(Debug, Clone)]
struct Read {
    at: Instant,
    versions: Vec<Version>,
}

/// What this node read; see the module.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    keys: LruMap<Key, Read>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { keys: LruMap::new(KEYS_MAX) }
    }
}

impl Seen {
    /// Whether a state of `key` lacks a version that this node read and that has not expired.
    pub(crate) fn is_older<E: HasHead>(
        &self,
        key: &Key,
        state: &State<E>,
        now: Instant,
        wall: UnixMillis,
    ) -> bool {
        let Some(read) = self.keys.peek(key) else { return false };
        if now.since(read.at) > REMEMBERED {
            return false;
        }
        let lacks = |version: &Version| {
            let held = state.of(&version.writer).map(HasHead::signed_head);
            version.expires > wall && held.is_none_or(|held| held.dot() < version.dot)
        };
        let missing: Vec<&Version> = read.versions.iter().filter(|one| lacks(one)).collect();
        if missing.is_empty() {
            return false;
        }
        let covered = state.covered();
        missing.iter().any(|version| !covered.covers(&version.writer, version.dot))
    }

    /// Remembers a state that was read, but for the envelope of `me`: that one may be taken back, and this
    /// node's own store has it.
    pub(crate) fn note<E: HasHead>(
        &mut self,
        key: Key,
        state: &State<E>,
        me: &PublicKey,
        now: Instant,
    ) {
        let mut versions: Vec<Version> = state
            .iter()
            .map(HasHead::signed_head)
            .filter(|head| head.writer() != *me)
            .map(|head| Version { writer: head.writer(), dot: head.dot(), expires: head.expires() })
            .collect();
        if versions.is_empty() {
            return;
        }
        versions.sort_unstable_by_key(|version| std::cmp::Reverse(version.dot));
        versions.truncate(DOTS_MAX);
        self.keys.insert(key, Read { at: now, versions });
    }

    /// Forgets all: what a member that was put out wrote may be gone rightly.
    pub(crate) fn clear(&mut self) {
        self.keys = LruMap::new(KEYS_MAX);
    }

    /// Keys whose versions are remembered.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use potluck_base::{Admission, Identity, NetworkId};
    use potluck_record::{Context, Draft, Envelope, Kind, Name, Space};

    use super::*;

    const LATER: UnixMillis = UnixMillis(1_000_000);
    const WALL: UnixMillis = UnixMillis(1_000);

    fn envelope(writer: u8, dot: u64, context: Context, expires: UnixMillis) -> Envelope {
        let network = NetworkId::new("test", Admission::Lab, None);
        let draft = Draft {
            space: Space::Commons,
            name: Name::new("a").ok(),
            kind: Kind::Siblings,
            values: vec![(Dot::from_raw(dot), expires, Bytes::from_static(b"v"))],
            dot: Dot::from_raw(dot),
            context,
            expires,
            certificate: None,
        };
        Envelope::sign(&Identity::from_seed([writer; 32]), &network, draft).expect("good")
    }

    fn state(envelopes: &[&Envelope]) -> State {
        envelopes.iter().map(|one| (*one).clone()).collect()
    }

    fn me() -> PublicKey {
        Identity::from_seed([99; 32]).public_key()
    }

    fn key(number: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Key::from_bytes(bytes)
    }

    #[test]
    fn an_answer_is_older_if_it_neither_has_nor_covers_what_was_read() {
        let first = envelope(1, 10, Context::new(), LATER);
        let second = envelope(1, 20, Context::new(), LATER);
        let other = envelope(2, 15, Context::new(), LATER);
        let cover = envelope(
            2,
            30,
            [(second.head().writer(), second.head().dot())].into_iter().collect(),
            LATER,
        );
        let mut seen = Seen::default();
        let now = Instant::ZERO;
        let older = |seen: &Seen, envelopes: &[&Envelope]| {
            seen.is_older(&key(1), &state(envelopes), now, WALL)
        };
        assert!(!older(&seen, &[]), "nothing was read");
        seen.note(key(1), &state(&[&second]), &me(), now);
        assert!(older(&seen, &[]) && older(&seen, &[&first]) && older(&seen, &[&other]));
        assert!(!older(&seen, &[&second]) && !older(&seen, &[&second, &other]));
        assert!(!older(&seen, &[&cover]), "what is covered is superseded");
        assert!(!seen.is_older(&key(2), &state(&[&first]), now, WALL), "another key");
        seen.note(key(3), &state(&[&first]), &first.head().writer(), now);
        assert!(!seen.is_older(&key(3), &State::<Envelope>::new(), now, WALL), "its own");
        seen.clear();
        assert!(!older(&seen, &[]), "all is forgotten");
    }

    #[test]
    fn what_expired_or_was_read_long_ago_is_not_missed() {
        let short = envelope(1, 10, Context::new(), UnixMillis(2_000));
        let mut seen = Seen::default();
        seen.note(key(1), &state(&[&short]), &me(), Instant::ZERO);
        let older = |wall, after| {
            seen.is_older(&key(1), &State::<Envelope>::new(), Instant::ZERO + after, wall)
        };
        assert!(older(WALL, Duration::ZERO));
        assert!(!older(UnixMillis(2_000), Duration::ZERO), "it has expired");
        assert!(!older(WALL, REMEMBERED + Duration::from_secs(1)));
    }

    #[test]
    fn memory_is_bounded_in_keys_and_dots() {
        let mut seen = Seen::default();
        let many: Vec<Envelope> =
            (1..=20).map(|n| envelope(n, u64::from(n), Context::new(), LATER)).collect();
        let many: State = many.into_iter().collect();
        for number in 0..KEYS_MAX as u64 + 10 {
            seen.note(key(number), &many, &me(), Instant::ZERO);
        }
        assert_eq!(seen.len(), KEYS_MAX);
        let last = seen.keys.peek(&key(KEYS_MAX as u64)).expect("the last ones are kept");
        assert_eq!(last.versions.len(), DOTS_MAX);
        assert_eq!(last.versions[0].dot, Dot::from_raw(20), "the newest");
    }
}
