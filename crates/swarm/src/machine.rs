//! The machine: running fetches, served blobs, and announcements.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{
    BlobId, Contact, Deadline, Division, GranuleSet, Instant, Machine, PublicKey, Rng,
};
use potluck_wire::limits::NEIGHBOURS_MAX;
use potluck_wire::{Holding, Refusal};

use crate::command::{
    AskId, Begin, FetchError, FetchId, FetchReport, FetchView, Gone, Input, Output, ServeId,
    TransferEnd, TransferId,
};
use crate::config::Config;
use crate::fetch::{Fetch, Numbers, World};
use crate::holdings::{Announcements, Askers, Serves};
use crate::lost::{Hints, Lost, hint_bytes};
use crate::many::{Asker, Checks, Round};
use crate::shunned::Shunned;

/// Largest encoded contact, in bytes.
pub(crate) const CONTACT_BYTES: usize = 64;
/// Bytes reserved for the framing of an answer.
pub(crate) const FRAME_BYTES: usize = 64;

potluck_base::statistics! {
    /// Gauges and counters.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Stats in "files" {
        /// Fetches under way.
        gauge fetches: usize,
        /// Blobs served completely.
        gauge holdings: usize,
        /// Roots that wait for their first or next announcement.
        gauge announcing: usize,
        /// Questions of other nodes that wait for the disk now.
        gauge checking: usize,
        /// Seconds that the last round over all roots took, if more is shared than can be announced every 20
        /// minutes. An announced record lives for 3600 s.
        gauge round_seconds: u64,
        /// Announcements made.
        counter announced: u64,
        /// Streams served now.
        gauge serving: usize,
        /// Streams that wait for their turn.
        gauge waiting: usize,
        /// Fetches completed.
        counter completed: u64,
        /// Fetches that failed.
        counter failed: u64,
        /// Granules received and verified.
        counter granules: u64,
        /// Bytes that were received twice.
        counter(Bytes) duplicate_bytes: u64,
        /// Sources that sent data that did not verify.
        counter corrupt_sources: u64,
        /// Times that a source was replaced because others are faster.
        counter slow_sources: u64,
        /// Refused questions and streams of other nodes.
        counter refused: u64,
    }
}

/// Most blobs of which a part is served.
const PARTS_MAX: usize = 256;

/// A part of a blob that an earlier fetch brought.
#[derive(Debug)]
struct HeldPart {
    root: BlobId,
    size: u64,
    have: GranuleSet,
}

/// Fetching and serving of one node. See [`crate`].
#[derive(Debug)]
pub struct Swarm {
    me: PublicKey,
    pub(crate) config: Config,
    rng: Rng,
    numbers: Numbers,
    shunned: Shunned,
    pub(crate) fetches: BTreeMap<FetchId, Fetch>,
    transfers: BTreeMap<TransferId, FetchId>,
    holdings: BTreeMap<BlobId, u64>,
    pub(crate) hints: Hints,
    pub(crate) lost: Lost,
    /// Parts of blobs from fetches that have ended without all granules.
    parts: BTreeMap<BlobId, HeldPart>,
    pub(crate) askers: Askers,
    serves: Serves,
    pub(crate) announcements: Announcements,
    /// Present while more is shared than the machine knows.
    pub(crate) round: Option<Round>,
    pub(crate) checks: Checks,
    pub(crate) stats: Stats,
    pub(crate) outbox: VecDeque<Output>,
}

impl Swarm {
    /// A node without blobs.
    #[must_use]
    pub fn new(me: PublicKey, config: Config, rng: Rng) -> Self {
        Self {
            me,
            config,
            rng,
            numbers: Numbers::default(),
            shunned: Shunned::default(),
            fetches: BTreeMap::new(),
            transfers: BTreeMap::new(),
            holdings: BTreeMap::new(),
            hints: Hints::default(),
            lost: Lost::default(),
            parts: BTreeMap::new(),
            askers: Askers::default(),
            serves: Serves::default(),
            announcements: Announcements::default(),
            round: None,
            checks: Checks::default(),
            stats: Stats::default(),
            outbox: VecDeque::new(),
        }
    }

    /// Gauges and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            fetches: self.fetches.len(),
            holdings: self.holdings.len(),
            announcing: self.announcements.len(),
            checking: self.checks.len(),
            serving: self.serves.active(),
            waiting: self.serves.waiting(),
            ..self.stats
        }
    }

    /// The state of a running fetch.
    #[must_use]
    pub fn fetch_view(&self, fetch: FetchId) -> Option<FetchView> {
        self.fetches.get(&fetch).map(Fetch::view)
    }

    // --- fetching ---

    fn begin(&mut self, now: Instant, begin: Begin) {
        let fetch = begin.fetch;
        if self.fetches.len() >= self.config.fetches_max || self.fetches.contains_key(&fetch) {
            let (error, report) = (FetchError::Busy, FetchReport::default());
            self.stats.failed += 1;
            self.outbox.push_back(Output::Failed { fetch, error, report });
            return;
        }
        let salt = self.rng.next_u64();
        // The fetch reports the stored granules from the first one on.
        self.parts.remove(&begin.blob);
        self.fetches.insert(fetch, Fetch::new(now, &self.config, &begin, salt));
        self.with(now, fetch, |fetch, world| {
            begin.sources.into_iter().for_each(|contact| fetch.hear_of(world, contact));
        });
    }

    /// Passes an event to a fetch, and carries out its next actions.
    fn with(&mut self, now: Instant, id: FetchId, tell: impl FnOnce(&mut Fetch, &mut World<'_>)) {
        let Some(fetch) = self.fetches.get_mut(&id) else { return };
        let mut out = Vec::new();
        let mut world = World {
            now,
            config: &self.config,
            me: self.me,
            numbers: &mut self.numbers,
            shunned: &mut self.shunned,
            out: &mut out,
        };
        tell(fetch, &mut world);
        let complete = fetch.is_complete();
        let failed = if complete { None } else { fetch.drive(&mut world) };
        let (root, begun) = (fetch.root, !fetch.have.is_empty());
        if complete || failed.is_some() {
            fetch.stop(&mut out);
        }
        self.note(id, out);
        if complete {
            self.complete(now, id);
        } else if let Some(error) = failed {
            self.fail(id, error);
        } else if begun && !self.announcements.contains(&root) {
            self.announcements.set(root, now);
        }
    }

    fn note(&mut self, fetch: FetchId, out: Vec<Output>) {
        for output in out {
            if let Output::Transfer { transfer, .. } = &output {
                self.transfers.insert(*transfer, fetch);
            } else if let Output::CancelTransfer { transfer } = &output {
                self.transfers.remove(transfer);
            }
            self.outbox.push_back(output);
        }
    }

    fn complete(&mut self, now: Instant, id: FetchId) {
        let Some(fetch) = self.fetches.remove(&id) else { return };
        self.count(&fetch);
        self.stats.completed += 1;
        // From now on the announcement says that the blob is complete.
        self.announcements.set(fetch.root, now);
        if let Some(size) = fetch.view().size
            && self.holdings.len() < self.config.holdings_max
        {
            self.holdings.insert(fetch.blob, size);
            self.lost.forget(&fetch.blob);
        }
        self.outbox.push_back(Output::Completed { fetch: id, report: fetch.report() });
    }

    fn fail(&mut self, id: FetchId, error: FetchError) {
        let Some(fetch) = self.fetches.remove(&id) else { return };
        self.count(&fetch);
        self.stats.failed += 1;
        if let Some(size) = fetch.size().filter(|_| error != FetchError::NoPlace) {
            let (root, have) = (fetch.root, fetch.have.clone());
            self.hold_part(fetch.blob, HeldPart { root, size, have });
        }
        if !self.is_provided(&fetch.root) {
            self.announcements.remove(&fetch.root);
        }
        self.outbox.push_back(Output::Failed { fetch: id, error, report: fetch.report() });
    }

    fn is_provided(&self, root: &BlobId) -> bool {
        let part = || self.is_part(root);
        let fetched = || self.fetches.values().any(|fetch| fetch.root == *root);
        self.holdings.contains_key(root) || fetched() || part()
    }

    /// Whether this node has a part of the blob with this root.
    pub(crate) fn is_part(&self, root: &BlobId) -> bool {
        self.parts.values().any(|part| part.root == *root)
    }

    /// Serves a part of a blob that an earlier fetch stored, in this run or before.
    fn hold_part(&mut self, blob: BlobId, part: HeldPart) -> bool {
        let length = part.have.length();
        let fits = Division::of(part.size).is_some_and(|division| division.count() == length);
        let taken = fits
            && !part.have.is_empty()
            && self.parts.len() < PARTS_MAX
            && !self.holdings.contains_key(&blob)
            && !self.fetches.values().any(|fetch| fetch.blob == blob);
        if taken {
            self.lost.forget(&blob);
            self.parts.insert(blob, part);
        }
        taken
    }

    fn count(&mut self, fetch: &Fetch) {
        let report = fetch.report();
        self.stats.duplicate_bytes += report.duplicate_bytes;
        self.stats.corrupt_sources += report.corrupt_sources as u64;
        self.stats.slow_sources += report.slow_sources as u64;
    }

    fn on_moved(&mut self, now: Instant, transfer: TransferId) {
        let fetch = self.transfers.get(&transfer);
        if let Some(fetch) = fetch.and_then(|fetch| self.fetches.get_mut(fetch)) {
            fetch.on_moved(now, transfer);
        }
    }

    fn on_granule(&mut self, now: Instant, transfer: TransferId, granule: u32) {
        let Some(fetch) = self.transfers.get(&transfer).copied() else { return };
        self.stats.granules += 1;
        self.with(now, fetch, |fetch, world| fetch.on_granule(world, transfer, granule));
    }

    fn on_ended(&mut self, now: Instant, transfer: TransferId, end: TransferEnd) {
        let Some(fetch) = self.transfers.remove(&transfer) else { return };
        self.with(now, fetch, |fetch, world| fetch.on_ended(world, transfer, end));
    }

    /// The fetch that waits for the answer to a question.
    fn asker(&self, ask: AskId) -> Option<FetchId> {
        self.fetches.values().find(|fetch| fetch.awaits(ask)).map(|fetch| fetch.id)
    }

    fn on_holds(
        &mut self,
        now: Instant,
        ask: AskId,
        holding: Result<Holding, Refusal>,
        round_trip: Option<Duration>,
    ) {
        let Some(fetch) = self.asker(ask) else { return };
        self.with(now, fetch, |fetch, world| fetch.on_holds(world, ask, holding, round_trip));
    }

    fn on_ask_failed(&mut self, now: Instant, ask: AskId) {
        let Some(fetch) = self.asker(ask) else { return };
        self.with(now, fetch, |fetch, _| fetch.on_ask_failed(now, ask));
    }

    fn on_peer_gone(&mut self, now: Instant, key: &PublicKey) {
        let fetches: Vec<FetchId> = self.fetches.keys().copied().collect();
        for fetch in fetches {
            self.with(now, fetch, |fetch, world| fetch.on_gone(world, key));
        }
    }

    fn on_announced(&mut self, now: Instant, root: BlobId, done: bool) {
        let pause = self.rng.jitter(self.config.announce_interval, 0.2);
        self.stats.announced += u64::from(done);
        let again = self.comes_again(&root);
        self.announcements.on_announced(now, root, done, pause);
        if done && !again {
            self.announcements.remove(&root);
        }
    }

    // --- serving ---

    fn on_asked_have(
        &mut self,
        now: Instant,
        from: Contact,
        blob: BlobId,
        budget: usize,
    ) -> Result<Holding, Refusal> {
        if let Some(size) = self.holdings.get(&blob).copied() {
            return Ok(self.whole(now, from, blob, size, budget));
        }
        let mut room = budget.saturating_sub(FRAME_BYTES);
        let mut neighbours = self.askers.of(now, &blob, &from.public_key);
        let why = self.lost.wholly(&blob);
        let fetch =
            self.fetches.values().find(|fetch| fetch.blob == blob && fetch.size().is_some());
        let Some((fetch, size)) = fetch.and_then(|fetch| Some((fetch, fetch.size()?))) else {
            if let Some(part) = self.parts.get(&blob) {
                let granules = part.have.to_bytes();
                let granules = if granules.len() <= room { granules } else { Bytes::new() };
                let size = part.size;
                neighbours.truncate((room - granules.len()) / CONTACT_BYTES);
                self.askers.note(now, blob, from);
                let granules = Some(granules);
                return Ok(Holding { size, granules, neighbours, hint: None, lost: None });
            }
            return Err(why.map_or(Refusal::NotHeld, Gone::refusal));
        };
        let id = fetch.id;
        let granules = fetch.have.to_bytes();
        let hint = fetch.hint(Some(size));
        room = room.saturating_sub(hint_bytes(hint.as_ref()));
        // If the bitmap does not fit, it is left out, and the asking node repeats the question by a call.
        let granules = if granules.len() <= room { granules } else { Bytes::new() };
        neighbours
            .extend(fetch.neighbours().filter(|contact| contact.public_key != from.public_key));
        neighbours.truncate(NEIGHBOURS_MAX.min((room - granules.len()) / CONTACT_BYTES));
        self.askers.note(now, blob, from);
        // The asking node has a part of the blob too, or will have one.
        self.with(now, id, |fetch, world| fetch.hear_of(world, from));
        Ok(Holding { size, granules: Some(granules), neighbours, hint, lost: None })
    }

    fn lose(&mut self, blob: BlobId, granules: Option<GranuleSet>, why: Gone) {
        if granules.is_none() {
            self.release(&blob);
        }
        self.lost.insert(blob, granules, why);
    }

    fn release(&mut self, blob: &BlobId) {
        self.holdings.remove(blob);
        self.hints.remove(blob);
        let root = self.parts.remove(blob).map(|part| part.root);
        if let Some(root) = root.filter(|root| !self.is_provided(root)) {
            self.announcements.remove(&root);
        }
        if !self.is_provided(blob) {
            self.announcements.remove(blob);
        }
    }

    fn gives(&self, blob: &BlobId) -> bool {
        self.holdings.contains_key(blob)
            || self.parts.contains_key(blob)
            || self.fetches.values().any(|fetch| fetch.blob == *blob && !fetch.have.is_empty())
    }

    /// Answers which granules of a blob this node has. A blob that the machine does not know is looked up on
    /// disk first.
    fn answer_have(
        &mut self,
        serve: ServeId,
        from: Contact,
        blob: BlobId,
        budget: usize,
        answer: Result<Holding, Refusal>,
    ) {
        let answer = match answer {
            Ok(holding) => Ok(holding),
            Err(why) => match self.check(blob, Asker::Have { serve, from, budget }) {
                None => return,
                Some(Refusal::Busy) => Err(Refusal::Busy),
                Some(_) => Err(why),
            },
        };
        self.stats.refused += u64::from(answer.is_err());
        self.outbox.push_back(Output::Holding { serve, answer });
    }

    fn on_asked_fetch(&mut self, serve: ServeId, from: PublicKey, blob: BlobId) {
        if self.gives(&blob) {
            return self.serve(serve, from);
        }
        let Some(reason) = self.check(blob, Asker::Fetch { serve, from }) else { return };
        let lost = self.lost.wholly(&blob).filter(|_| reason == Refusal::NotHeld);
        let reason = lost.map_or(reason, Gone::refusal);
        self.stats.refused += 1;
        self.outbox.push_back(Output::Refuse { serve, reason });
    }

    /// Serves a stream, or queues it.
    pub(crate) fn serve(&mut self, serve: ServeId, from: PublicKey) {
        let mut out = Vec::new();
        self.serves.add(&self.config, serve, from, &mut out);
        let refused = |output: &&Output| matches!(output, Output::Refuse { .. });
        self.stats.refused += out.iter().filter(refused).count() as u64;
        self.outbox.extend(out);
    }

    fn announce(&mut self, now: Instant) {
        self.go_round(now);
        while let Some(root) = self.announcements.take(now) {
            let fetched = self.fetches.values().any(|fetch| fetch.root == root);
            let complete = !fetched && !self.is_part(&root);
            self.outbox.push_back(Output::Announce { root, complete });
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        let due: Vec<FetchId> = self
            .fetches
            .values()
            .filter(|fetch| fetch.wake(&self.config).is_some_and(|at| at <= now))
            .map(|fetch| fetch.id)
            .collect();
        for id in due {
            self.with(now, id, |_, _| {});
        }
    }

    // --- reports of the shell ---

    fn on_held(&mut self, now: Instant, blob: BlobId, size: u64, announce: bool) {
        self.lost.forget(&blob);
        self.parts.remove(&blob);
        if self.round.is_none() && self.holdings.len() < self.config.holdings_max {
            self.holdings.insert(blob, size);
        }
        if announce && !self.announcements.contains(&blob) {
            self.announcements.set(blob, now);
        }
    }

    fn on_held_part(&mut self, now: Instant, blob: BlobId, part: HeldPart) {
        let root = part.root;
        let taken = self.hold_part(blob, part);
        if taken && !self.announcements.contains(&root) {
            self.announcements.set(root, now);
        }
    }

    fn on_checking(&mut self, fetch: FetchId, granules: GranuleSet) {
        if let Some(fetch) = self.fetches.get_mut(&fetch) {
            fetch.on_checking(granules);
        }
    }

    fn on_no_place(&mut self, now: Instant, fetch: FetchId) {
        let over = self.fetches.get_mut(&fetch).is_some_and(Fetch::on_no_place);
        if over {
            self.fail(fetch, FetchError::NoPlace);
        } else {
            self.with(now, fetch, |_, _| {});
        }
    }

    fn cancel(&mut self, id: FetchId) {
        if let Some(fetch) = self.fetches.get_mut(&id) {
            let mut out = Vec::new();
            fetch.stop(&mut out);
            self.note(id, out);
            self.fail(id, FetchError::Cancelled);
        }
    }

    fn on_served(&mut self, serve: ServeId) {
        let mut out = Vec::new();
        self.serves.over(&self.config, serve, &mut out);
        self.outbox.extend(out);
    }
}

impl Machine for Swarm {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Held { blob, size, announce } => self.on_held(now, blob, size, announce),
            Input::HeldPart { blob, root, size, have } => {
                self.on_held_part(now, blob, HeldPart { root, size, have });
            }
            Input::Named { blob, hint } => self.hints.insert(blob, hint),
            Input::Elsewhere(elsewhere) => self.on_elsewhere(now, elsewhere),
            Input::Roots { roots, over } => self.on_roots(now, roots, over),
            Input::Checked { blob, size } => self.on_checked(now, blob, size),
            Input::Lost { blob, granules, why } => self.lose(blob, granules, why),
            Input::Released { blob } => self.release(&blob),
            Input::Begin(begin) => self.begin(now, begin),
            Input::Opened { fetch, have } => {
                self.with(now, fetch, |fetch, _| fetch.on_opened(have));
            }
            Input::Checking { fetch, granules } => self.on_checking(fetch, granules),
            Input::Compared { fetch, granules, found } => {
                self.with(now, fetch, |fetch, world| fetch.on_compared(world, &granules, &found));
            }
            Input::NoPlace { fetch } => self.on_no_place(now, fetch),
            Input::Wanted { fetch, granules } => {
                self.with(now, fetch, |fetch, _| fetch.want(granules));
            }
            Input::Cancel { fetch } => self.cancel(fetch),
            Input::Providers { fetch, contacts, absent } => {
                self.with(now, fetch, |fetch, world| fetch.on_providers(world, contacts, absent));
            }
            Input::Relocated => self.announcements.again(now),
            Input::Announced { root, done } => self.on_announced(now, root, done),
            Input::Holds { ask, holding, round_trip } => {
                self.on_holds(now, ask, holding, round_trip);
            }
            Input::AskFailed { ask } => self.on_ask_failed(now, ask),
            Input::Moved { transfer } => self.on_moved(now, transfer),
            Input::Granule { transfer, granule } => self.on_granule(now, transfer, granule),
            Input::Ended { transfer, end } => self.on_ended(now, transfer, end),
            Input::PeerGone(key) => self.on_peer_gone(now, &key),
            Input::AskedHave { serve, from, blob, budget } => {
                let answer = self.on_asked_have(now, from, blob, budget);
                self.answer_have(serve, from, blob, budget, answer);
            }
            Input::AskedFetch { serve, from, blob } => self.on_asked_fetch(serve, from, blob),
            Input::Served { serve } => self.on_served(serve),
            Input::Timeout => self.on_timeout(now),
        }
        self.announce(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let fetches = self.fetches.values().filter_map(|fetch| fetch.wake(&self.config)).min();
        Deadline::earliest([
            fetches.map(|at| Deadline::new(at, "fetch")),
            self.announcements.wake().map(|at| Deadline::new(at, "announce")),
            self.round_deadline(),
        ])
    }
}

#[cfg(test)]
mod tests;
