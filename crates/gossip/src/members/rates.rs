//! What each peer may cause: an income of tokens for its questions, another for its doubts.

use potluck_base::{Instant, LruMap, PublicKey, TokenBucket};

/// Peers whose rates are remembered. Whoever pushes others out of here is a member itself and can do
/// so only by being many.
const PEERS_MAX: usize = 4096;
/// Income of a peer a second: a probe costs 1, and a healthy peer sends about one.
const TOKENS_PER_SECOND: u32 = 20;
/// Savings of a peer: what a newcomer that pages through a list spends at once.
const TOKENS_BURST: u32 = 200;
/// The price of a record that is bad: whoever sends such is soon not heard any more.
pub(super) const BAD_RECORD: u32 = 20;
/// Doubts of a peer a second, and at once: half of a network of a hundred can die at a time.
const SUSPECT_RATE: (u32, u32) = (1, 64);

/// The rates of all peers.
#[derive(Debug)]
pub(super) struct Rates {
    questions: LruMap<PublicKey, TokenBucket>,
    suspects: LruMap<PublicKey, TokenBucket>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { questions: LruMap::new(PEERS_MAX), suspects: LruMap::new(PEERS_MAX) }
    }
}

impl Rates {
    /// Takes the price of something from a peer; false if it cannot pay.
    pub(super) fn charge(&mut self, now: Instant, peer: &PublicKey, tokens: u32) -> bool {
        take(&mut self.questions, now, peer, tokens, (TOKENS_PER_SECOND, TOKENS_BURST))
    }

    /// Whether a peer could pay a price.
    pub(super) fn affords(&self, now: Instant, peer: &PublicKey, tokens: u32) -> bool {
        self.questions.peek(peer).is_none_or(|bucket| bucket.has(now, tokens))
    }

    /// Takes a doubt of a peer from what it may doubt.
    pub(super) fn takes_suspect(&mut self, now: Instant, peer: &PublicKey) -> bool {
        take(&mut self.suspects, now, peer, 1, SUSPECT_RATE)
    }

    /// Peers remembered.
    pub(super) fn len(&self) -> usize {
        self.questions.len() + self.suspects.len()
    }
}

fn take(
    buckets: &mut LruMap<PublicKey, TokenBucket>,
    now: Instant,
    peer: &PublicKey,
    tokens: u32,
    (per_second, burst): (u32, u32),
) -> bool {
    if let Some(bucket) = buckets.get_mut(peer) {
        return bucket.take(now, tokens);
    }
    let mut bucket = TokenBucket::new(per_second, burst);
    let paid = bucket.take(now, tokens);
    buckets.insert(*peer, bucket);
    paid
}
