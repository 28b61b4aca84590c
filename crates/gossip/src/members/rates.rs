//! Rate limits of each peer: one token bucket for its requests, another for its suspect messages.

use potluck_base::{Instant, LruMap, PublicKey, Rate, TokenBucket};

/// Peers with remembered buckets. Only many members together can displace others from here.
const PEERS_MAX: usize = 4096;
/// Tokens of a peer, a second and burst: a ping costs 1, a healthy peer sends about one a second, and a
/// new member that pages through the list spends the burst at once.
const TOKENS: Rate = Rate::new(20, 200);
/// Price of a bad record in tokens: a peer that sends bad records is soon ignored.
pub(super) const BAD_RECORD: u32 = 20;
/// Suspect messages of a peer, a second and burst: half of a network of a hundred can crash at
/// once.
const SUSPECT_RATE: Rate = Rate::new(1, 64);

/// The token buckets of all peers.
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
    /// Takes tokens from a peer; false if it has too few.
    pub(super) fn charge(&mut self, now: Instant, peer: &PublicKey, tokens: u32) -> bool {
        take(&mut self.questions, now, peer, tokens, TOKENS)
    }

    /// Whether a peer has this many tokens.
    pub(super) fn affords(&self, now: Instant, peer: &PublicKey, tokens: u32) -> bool {
        self.questions.peek(peer).is_none_or(|bucket| bucket.has(now, tokens))
    }

    /// Takes a token for a suspect message of a peer.
    pub(super) fn takes_suspect(&mut self, now: Instant, peer: &PublicKey) -> bool {
        take(&mut self.suspects, now, peer, 1, SUSPECT_RATE)
    }

    /// Token buckets remembered.
    pub(super) fn len(&self) -> usize {
        self.questions.len() + self.suspects.len()
    }
}

fn take(
    buckets: &mut LruMap<PublicKey, TokenBucket>,
    now: Instant,
    peer: &PublicKey,
    tokens: u32,
    rate: Rate,
) -> bool {
    if let Some(bucket) = buckets.get_mut(peer) {
        return bucket.take(now, tokens);
    }
    let mut bucket = rate.bucket();
    let paid = bucket.take(now, tokens);
    buckets.insert(*peer, bucket);
    paid
}
