//! Announcements of a node that shares more than it can hold in memory and announce.
//!
//! The node announces every root in turn, round after round. It also announces itself under one root that all
//! nodes know ([`many_root`]): a node that finds no provider of a link asks the nodes announced there. Blobs
//! that other nodes request are looked up on disk.
//!
//! **Invariant:** memory does not depend on the number of shared blobs.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{BlobId, Contact, Deadline, Instant, PublicKey};
use potluck_wire::{Holding, Refusal};

use crate::command::{Gone, Output, ServeId};
use crate::lost::hint_bytes;
use crate::machine::{CONTACT_BYTES, FRAME_BYTES, Swarm};

/// Roots that a node announces as often as their records need it. If it shares more, it announces them in
/// rounds. At 20 announcements a second this number takes 14 of the 20 minutes between two announcements of a
/// root.
pub const ANNOUNCED_MAX: usize = 16_384;
/// Roots in one request to the disk.
const ROOTS_MAX: usize = 64;
/// Questions of other nodes that are looked up on disk at once. Further ones are refused as busy.
const CHECKS_MAX: usize = 1024;
/// Questions of one peer among these, so that no peer uses up the places. A guess: a fetch asks a source for
/// one blob at a time, so 64 fetches of one peer can wait at once.
const CHECKS_PER_PEER_MAX: usize = 64;

/// The root under which nodes announce that they share more than they announce.
#[must_use]
pub fn many_root() -> BlobId {
    BlobId::of(b"potluck: this node shares more than it announces")
}

/// A round over all roots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    began: Instant,
    /// When more roots are requested, after the known ones were announced.
    more_at: Instant,
    asked: bool,
}

/// A question of another node that waits for the disk.
#[derive(Debug)]
pub(crate) enum Asker {
    Have { serve: ServeId, from: Contact, budget: usize },
    Fetch { serve: ServeId, from: PublicKey },
}

impl Asker {
    const fn peer(&self) -> PublicKey {
        match self {
            Self::Have { from, .. } => from.public_key,
            Self::Fetch { from, .. } => *from,
        }
    }
}

/// The waiting questions, by the requested blob.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    waiting: BTreeMap<BlobId, Vec<Asker>>,
    /// The number of questions of each peer.
    peers: BTreeMap<PublicKey, usize>,
    count: usize,
}

impl Checks {
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Counts a question. `false` if its peer, or all peers together, have too many.
    fn admit(&mut self, peer: PublicKey) -> bool {
        let of_peer = self.peers.get(&peer).copied().unwrap_or(0);
        if self.count >= CHECKS_MAX || of_peer >= CHECKS_PER_PEER_MAX {
            return false;
        }
        self.count += 1;
        self.peers.insert(peer, of_peer + 1);
        true
    }

    /// Removes the questions for a blob.
    fn take(&mut self, blob: &BlobId) -> Vec<Asker> {
        let askers = self.waiting.remove(blob).unwrap_or_default();
        self.count -= askers.len();
        for asker in &askers {
            let peer = asker.peer();
            let left = self.peers.remove(&peer).map_or(0, |count| count - 1);
            if left > 0 {
                self.peers.insert(peer, left);
            }
        }
        askers
    }
}

impl Swarm {
    /// Sets whether more is shared than the machine knows.
    pub(crate) fn on_elsewhere(&mut self, now: Instant, elsewhere: bool) {
        match (elsewhere, self.round.is_some()) {
            (true, false) => {
                self.round = Some(Round { began: now, more_at: now, asked: false });
                self.announcements.set(many_root(), now);
            }
            (false, true) => {
                self.round = None;
                self.announcements.remove(&many_root());
            }
            _ => {}
        }
    }

    /// Whether an announced root is announced again without a round.
    pub(crate) fn comes_again(&self, root: &BlobId) -> bool {
        self.round.is_none()
            || *root == many_root()
            || self.fetches.values().any(|fetch| fetch.root == *root)
            || self.is_part(root)
    }

    /// Requests the next roots of the round after the last ones were announced.
    pub(crate) fn go_round(&mut self, now: Instant) {
        let idle = self.announcements.is_idle(now);
        let Some(round) = self.round.as_mut().filter(|round| !round.asked && round.more_at <= now)
        else {
            return;
        };
        // After the due announcements, if there are any.
        round.more_at = now;
        if idle {
            round.asked = true;
            self.outbox.push_back(Output::MoreRoots { max: ROOTS_MAX });
        }
    }

    pub(crate) fn on_roots(&mut self, now: Instant, roots: Vec<BlobId>, over: bool) {
        let Some(round) = &mut self.round else { return };
        round.asked = false;
        round.more_at = now;
        if over {
            self.stats.round_seconds = now.since(round.began).as_secs();
            round.began = now.max(round.began + self.config.announce_interval);
            round.more_at = round.began;
        }
        for root in roots.into_iter().take(ROOTS_MAX) {
            if !self.announcements.contains(&root) {
                self.announcements.set(root, now);
            }
        }
    }

    pub(crate) fn round_deadline(&self) -> Option<Deadline> {
        let round = self.round.as_ref().filter(|round| !round.asked)?;
        let idle = self.announcements.is_idle(round.more_at);
        idle.then_some(Deadline::new(round.more_at, "go round"))
    }

    /// Looks up on disk a blob that another node asks for. Returns a refusal if no lookup is started:
    /// `NotHeld` if the machine knows all blobs, `Busy` if there are too many lookups, because then the
    /// answer is unknown.
    pub(crate) fn check(&mut self, blob: BlobId, asker: Asker) -> Option<Refusal> {
        if self.round.is_none() {
            return Some(Refusal::NotHeld);
        }
        if !self.checks.admit(asker.peer()) {
            return Some(Refusal::Busy);
        }
        let waiting = self.checks.waiting.entry(blob).or_default();
        if waiting.is_empty() {
            self.outbox.push_back(Output::Check { blob });
        }
        waiting.push(asker);
        None
    }

    /// The disk has a blob with this size, or does not have it.
    pub(crate) fn on_checked(&mut self, now: Instant, blob: BlobId, size: Option<u64>) {
        let askers = self.checks.take(&blob);
        let why = self.lost.wholly(&blob);
        if why.is_some() && size.is_some() {
            // The blob is shared again.
            self.lost.forget(&blob);
        }
        let reason = why.map_or(Refusal::NotHeld, Gone::refusal);
        for asker in askers {
            match (asker, size) {
                (Asker::Have { serve, from, budget }, Some(size)) => {
                    let answer = Ok(self.whole(now, from, blob, size, budget));
                    self.outbox.push_back(Output::Holding { serve, answer });
                }
                (Asker::Fetch { serve, from }, Some(_)) => self.serve(serve, from),
                (Asker::Have { serve, .. }, None) => {
                    self.stats.refused += 1;
                    let answer = Err(reason);
                    self.outbox.push_back(Output::Holding { serve, answer });
                }
                (Asker::Fetch { serve, .. }, None) => {
                    self.stats.refused += 1;
                    self.outbox.push_back(Output::Refuse { serve, reason });
                }
            }
        }
    }

    /// The answer about a blob of which this node has, or had, all granules.
    pub(crate) fn whole(
        &mut self,
        now: Instant,
        from: Contact,
        blob: BlobId,
        size: u64,
        budget: usize,
    ) -> Holding {
        let mut room = budget.saturating_sub(FRAME_BYTES);
        let mut neighbours = self.askers.of(now, &blob, &from.public_key);
        self.askers.note(now, blob, from);
        let hint = self.hints.of(&blob);
        room = room.saturating_sub(hint_bytes(hint.as_ref()));
        let left = self.lost.left(&blob);
        let lost = left.as_ref().map(|(why, _)| why.refusal());
        let fits = |bytes: Bytes| if bytes.len() <= room { bytes } else { Bytes::new() };
        let granules = left.map(|(_, bytes)| fits(bytes));
        room -= granules.as_ref().map_or(0, Bytes::len);
        neighbours.truncate(room / CONTACT_BYTES);
        Holding { size, granules, neighbours, hint, lost }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use potluck_base::machine::{check_timer_contract, drain};
    use potluck_base::{Machine as _, Rng};

    use super::*;
    use crate::command::{Begin, FetchError, FetchId, Input};
    use crate::config::Config;
    use crate::testing::contact;

    fn swarm() -> Swarm {
        Swarm::new(contact(999).public_key, Config::default(), Rng::from_number(1))
    }

    fn root(number: u64) -> BlobId {
        BlobId::of(&number.to_be_bytes())
    }

    /// Runs a node that shares `total` roots for a time. Returns when each was announced, and the most roots
    /// that were in memory.
    fn run(total: u64, time: Duration) -> (Swarm, Vec<(Instant, BlobId)>, usize) {
        let (mut swarm, mut now) = (swarm(), Instant::ZERO);
        let (mut cursor, mut announced, mut most) = (0, Vec::new(), 0);
        let end = now + time;
        swarm.handle(now, Input::Elsewhere(true));
        while now < end {
            let mut outputs = drain(&mut swarm);
            while let Some(output) = outputs.pop() {
                match output {
                    Output::Announce { root, .. } => {
                        announced.push((now, root));
                        swarm.handle(now, Input::Announced { root, done: true });
                    }
                    Output::MoreRoots { max } => {
                        let next = (cursor + max as u64).min(total);
                        let roots = (cursor..next).map(root).collect();
                        let over = next - cursor < max as u64;
                        cursor = if over { 0 } else { next };
                        swarm.handle(now, Input::Roots { roots, over });
                    }
                    _ => panic!("{output:?}"),
                }
                outputs.extend(drain(&mut swarm));
            }
            most = most.max(swarm.stats().announcing);
            let Some(deadline) = swarm.poll_timeout() else { break };
            assert!(deadline.at > now || now == Instant::ZERO, "{deadline:?}");
            now = deadline.at;
            swarm.handle(now, Input::Timeout);
        }
        (swarm, announced, most)
    }

    #[test]
    fn the_root_of_those_that_share_very_much_is_frozen() {
        let hex = "a62c21060114bac9beb3e958a9c1d82f4541070a0e258d05abee0f72a733375a";
        assert_eq!(many_root().to_string(), hex);
    }

    #[test]
    fn ten_million_roots_are_announced_in_turn_at_a_bounded_rate_in_little_memory() {
        let (swarm, announced, most) = run(10_000_000, Duration::from_secs(3600));
        assert!(most <= 2 * ROOTS_MAX, "{most} roots in memory");
        // 20 a second.
        assert!((70_000..=72_001).contains(&announced.len()), "{}", announced.len());
        let many = announced.iter().filter(|(_, root)| *root == many_root());
        assert!((3..=4).contains(&many.count()));
        let different: BTreeSet<BlobId> = announced.iter().map(|(_, root)| *root).collect();
        assert!(different.len() + 4 >= announced.len(), "each once");
        assert_eq!(swarm.stats().round_seconds, 0, "no round is over");
    }

    #[test]
    fn a_round_that_is_over_early_rests_until_records_need_it() {
        let total = 4_000;
        let (mut swarm, announced, _) = run(total, Duration::from_secs(3600));
        let rounds = announced.iter().filter(|(_, announced)| *announced == root(0)).count();
        assert_eq!(rounds, 3);
        assert!((195..=205).contains(&swarm.stats().round_seconds), "20 a second");
        // Drops the outputs of the first hour.
        drain(&mut swarm);
        check_timer_contract(&mut swarm, announced[announced.len() - 1].0, || Input::Timeout);
    }

    #[test]
    fn what_others_ask_for_is_looked_up_once_and_answered() {
        let (mut swarm, now) = (swarm(), Instant::ZERO);
        swarm.handle(now, Input::Elsewhere(true));
        drain(&mut swarm);
        let (here, gone) = (root(1), root(2));
        let have = |serve, blob| {
            let (serve, from) = (ServeId(serve), contact(1));
            Input::AskedHave { serve, from, blob, budget: 1000 }
        };
        let stream = |serve, blob| {
            let from = contact(1).public_key;
            Input::AskedFetch { serve: ServeId(serve), from, blob }
        };
        for input in [have(1, here), stream(2, here), have(3, gone), stream(4, gone)] {
            swarm.handle(now, input);
        }
        let checks = [Output::Check { blob: here }, Output::Check { blob: gone }];
        assert_eq!(drain(&mut swarm), checks);
        assert_eq!(swarm.stats().checking, 4);
        swarm.handle(now, Input::Checked { blob: here, size: Some(7) });
        let outputs = drain(&mut swarm);
        let [Output::Holding { serve: ServeId(1), answer: Ok(holding) }, Output::Serve { .. }] =
            outputs.as_slice()
        else {
            panic!("{outputs:?}");
        };
        assert_eq!((holding.size, &holding.granules), (7, &None));
        swarm.handle(now, Input::Checked { blob: gone, size: None });
        let answer = Err(Refusal::NotHeld);
        let refused = [
            Output::Holding { serve: ServeId(3), answer },
            Output::Refuse { serve: ServeId(4), reason: Refusal::NotHeld },
        ];
        assert_eq!(drain(&mut swarm), refused);
        assert_eq!((swarm.stats().checking, swarm.stats().refused), (0, 2));
        // One peer uses up its share of the places, and the places are free again after the answer.
        for number in 0..200 {
            swarm.handle(now, have(number, root(number)));
        }
        assert_eq!(swarm.stats().checking, CHECKS_PER_PEER_MAX);
        for number in 0..200 {
            swarm.handle(now, Input::Checked { blob: root(number), size: None });
        }
        assert_eq!((swarm.stats().checking, swarm.checks.peers.len()), (0, 0));
        drain(&mut swarm);
        for number in 0..3_000 {
            let (serve, from) = (ServeId(number), contact((number % 60) as u16));
            let blob = root(number);
            swarm.handle(now, Input::AskedHave { serve, from, blob, budget: 1000 });
        }
        assert_eq!(swarm.stats().checking, CHECKS_MAX);
        // The answers to the others are unknown, so they are refused as busy.
        let outputs = drain(&mut swarm);
        let busy =
            |output: &&Output| matches!(output, Output::Holding { answer: Err(Refusal::Busy), .. });
        assert_eq!(outputs.iter().filter(busy).count(), 3_000 - CHECKS_MAX);
        assert_eq!(outputs.len(), 3_000);
        swarm.handle(now, stream(3_000, root(3_000)));
        let reason = Refusal::Busy;
        assert_eq!(drain(&mut swarm), [Output::Refuse { serve: ServeId(3_000), reason }]);
        // When the machine knows all blobs again, it answers at once.
        swarm.handle(now, Input::Elsewhere(false));
        drain(&mut swarm);
        swarm.handle(now, have(9, root(9_999)));
        assert!(matches!(drain(&mut swarm)[..], [Output::Holding { answer: Err(_), .. }]));
    }

    /// Fetches a blob that is not announced, while the nodes that share many roots give this answer. Returns
    /// the error of the fetch, the number of lookups of providers, and whether the fetch ended before its
    /// time without sources.
    fn unannounced(answer: Refusal) -> (FetchError, usize, bool) {
        let (mut swarm, mut now) = (swarm(), Instant::ZERO);
        let (fetch, blob) = (FetchId(1), root(1));
        let (sources, size) = (Vec::new(), None);
        swarm.handle(now, Input::Begin(Begin { fetch, blob, root: blob, sources, size }));
        let mut looked = 0;
        loop {
            for output in drain(&mut swarm) {
                match output {
                    Output::FindProviders { .. } => {
                        looked += 1;
                        let contacts = vec![contact(1), contact(2)];
                        let input = Input::Providers { fetch, contacts, absent: true };
                        swarm.handle(now, input);
                    }
                    Output::AskHave { ask, .. } => {
                        let (holding, round_trip) = (Err(answer), None);
                        swarm.handle(now, Input::Holds { ask, holding, round_trip });
                    }
                    Output::Failed { error, .. } => {
                        let early = now < Instant::ZERO + Config::default().patience;
                        return (error, looked, early);
                    }
                    _ => panic!("{output:?}"),
                }
            }
            if let Some(deadline) = swarm.poll_timeout() {
                now = now.max(deadline.at);
            }
            swarm.handle(now, Input::Timeout);
        }
    }

    #[test]
    fn an_unannounced_blob_that_all_deny_is_unknown_before_the_timeout() {
        assert_eq!(unannounced(Refusal::NotHeld), (FetchError::Unknown, 5, true));
        // A busy node may have it.
        let (error, _, early) = unannounced(Refusal::Busy);
        assert_eq!((error, early), (FetchError::NoSource, false));
    }
}
