//! One fetch: it finds sources, asks which granules they have, and requests from each as many as it can send.
//!
//! The size of a blob is a claim of a source until its last granule is verified, which proves the size (the
//! shape of the hash tree follows from the size). So the last granule is requested first, and a source whose
//! claim fails is banned.

mod proof;
mod slow;
mod transfers;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use potluck_base::{BlobId, Contact, Division, GranuleSet, Instant, PublicKey};
use potluck_wire::{Hint, Holding, Refusal};

use crate::command::{
    AskId, Begin, FetchError, FetchId, FetchReport, FetchView, Gone, Output, TransferEnd,
    TransferId,
};
use crate::config::Config;
use crate::pick;
use crate::source::{Source, length};
pub(crate) use world::{Numbers, World};

/// Most positions at which readers wait.
const WINDOWS_MAX: usize = 32;
/// Longest bitmap that is requested by datagram, in bytes; a longer one takes a call.
const BITMAP_DATAGRAM: u32 = 512;
/// Longest pause between two lookups of providers, in units of the first pause.
const FIND_PAUSES_MAX: u32 = 120;
/// Consecutive lookups without an announcement after which the blob counts as unknown: more than four seconds
/// with the default pause. A blob that was just shared is announced within that time.
const ABSENT_LOOKS: u32 = 5;
/// Factor of the time that a fetch waits for a source once it has received a granule.
const PATIENCE_BEGUN: u32 = 4;

/// The place in which the blob is stored.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// No size is known.
    None,
    /// A place for this size was requested.
    Asked(u64),
    /// The place is open.
    Open(Division),
}

/// One fetch.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) id: FetchId,
    pub(crate) blob: BlobId,
    pub(crate) root: BlobId,
    place: Place,
    /// The size, if a manifest contains it.
    size_said: Option<u64>,
    /// Whether a verified granule or a manifest has proven the size.
    proven: bool,
    pub(crate) have: GranuleSet,
    /// Granules that may be on this machine already. They are requested from no node meanwhile.
    checking: GranuleSet,
    sources: BTreeMap<PublicKey, Source>,
    /// Sizes for which no place could be created.
    refused: BTreeSet<u64>,
    availability: Option<Vec<u16>>,
    windows: Vec<Range<u32>>,
    salt: u64,
    finding: bool,
    /// Whether providers have been looked up.
    looked: bool,
    find_at: Instant,
    find_pause: Duration,
    /// Consecutive lookups that found no announcement.
    absent: u32,
    /// When the fetch last had a source that may still send something.
    promising: Instant,
    /// When [`Fetch::drive`] last ran.
    driven: Instant,
    /// When a source may be too slow.
    look_at: Option<Instant>,
    report: FetchReport,
}

impl Fetch {
    pub(crate) fn new(now: Instant, config: &Config, begin: &Begin, salt: u64) -> Self {
        Self {
            id: begin.fetch,
            blob: begin.blob,
            root: begin.root,
            place: Place::None,
            size_said: begin.size,
            proven: false,
            have: GranuleSet::default(),
            checking: GranuleSet::default(),
            sources: BTreeMap::new(),
            refused: BTreeSet::new(),
            availability: None,
            windows: Vec::new(),
            salt,
            finding: false,
            looked: false,
            find_at: now,
            find_pause: config.find_interval,
            absent: 0,
            promising: now,
            driven: now,
            look_at: None,
            report: FetchReport::default(),
        }
    }

    fn division(&self) -> Option<Division> {
        match self.place {
            Place::Open(division) => Some(division),
            Place::None | Place::Asked(_) => None,
        }
    }

    /// The proven size.
    pub(crate) fn size(&self) -> Option<u64> {
        self.division().filter(|_| self.proven).map(|division| division.size())
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.division().is_some() && self.have.is_full()
    }

    pub(crate) fn view(&self) -> FetchView {
        let sending = |source: &&Source| !source.transfers.is_empty();
        FetchView {
            size: self.division().map(|division| division.size()),
            bytes: self.division().map_or(0, |division| division.bytes_in(&self.have)),
            sources: (self.sources.len(), self.sources.values().filter(sending).count()),
            full: self.full_sources(),
            report: self.report(),
        }
    }

    pub(crate) fn report(&self) -> FetchReport {
        let mut sources: Vec<(Contact, u64)> = self
            .sources
            .values()
            .filter(|source| source.bytes > 0)
            .map(|source| (source.contact, source.bytes))
            .collect();
        sources.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        FetchReport { sources, ..self.report.clone() }
    }

    /// Sources that are named to other nodes.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = Contact> {
        let known = |source: &&Source| source.have.is_some() && source.is_hopeful();
        self.sources.values().filter(known).map(|source| source.contact)
    }

    // --- events ---

    /// A node may have the blob.
    pub(crate) fn hear_of(&mut self, world: &mut World<'_>, contact: Contact) {
        let key = &contact.public_key;
        if *key == world.me || world.shunned.contains(world.now, key) {
            return;
        }
        if let Some(known) = self.sources.get_mut(&contact.public_key) {
            return known.hear_of(world.now, contact);
        }
        if self.sources.len() >= world.config.sources_max {
            // A source that sent nothing when it was asked is replaced by one that was not asked yet.
            let spent = self.sources.iter().filter(|(_, source)| source.is_spent());
            let Some(key) = spent.max_by_key(|(_, source)| source.failures()).map(|(key, _)| *key)
            else {
                return;
            };
            self.sources.remove(&key);
        }
        self.sources.insert(contact.public_key, Source::new(world.now, contact));
    }

    pub(crate) fn on_providers(
        &mut self,
        world: &mut World<'_>,
        mut contacts: Vec<Contact>,
        absent: bool,
    ) {
        self.finding = false;
        self.looked = true;
        self.absent = if absent { self.absent + 1 } else { 0 };
        self.find_at = world.now + self.find_pause;
        let longest = world.config.find_interval * FIND_PAUSES_MAX;
        self.find_pause = (self.find_pause * 2).min(longest);
        // There may be more providers than a fetch can know, and each lookup should bring new ones. Known
        // ones come last; the others are in an order that differs for each fetch.
        contacts.sort_by_key(|contact| {
            let known = self.sources.contains_key(&contact.public_key);
            (known, pick::order(self.salt, contact.public_key.as_bytes()))
        });
        contacts.into_iter().for_each(|contact| self.hear_of(world, contact));
    }

    pub(crate) fn on_opened(&mut self, have: GranuleSet) {
        let Place::Asked(size) = self.place else { return };
        let Some(division) =
            Division::of(size).filter(|division| division.count() == have.length())
        else {
            return;
        };
        // Granules found on this machine may also be right with another size.
        self.proven = have.contains(division.count() - 1) || self.size_said == Some(size);
        if self.checking.length() != division.count() {
            self.checking = GranuleSet::empty(division.count());
        }
        self.have = have;
        self.place = Place::Open(division);
    }

    /// Records granules that may be on this machine already.
    pub(crate) fn on_checking(&mut self, granules: GranuleSet) {
        self.checking = granules;
    }

    /// Records whether these granules are on this machine already.
    pub(crate) fn on_compared(&mut self, world: &mut World<'_>, granules: &[u32], found: &[u32]) {
        for granule in granules {
            self.checking.remove(*granule);
        }
        let Some(division) = self.division() else { return };
        for granule in found {
            self.have.insert(*granule);
            self.proven |= granule + 1 == division.count();
        }
        self.windows.retain(|window| window.clone().any(|granule| !self.have.contains(granule)));
        self.drop_copies(world);
    }

    /// The requested place could not be created. Returns whether the fetch has ended.
    pub(crate) fn on_no_place(&mut self) -> bool {
        let Place::Asked(size) = self.place else { return false };
        self.refused.insert(size);
        self.place = Place::None;
        self.claimed_size().is_none()
    }

    pub(crate) fn want(&mut self, granules: Range<u32>) {
        self.windows.retain(|window| *window != granules);
        if self.windows.len() >= WINDOWS_MAX {
            self.windows.remove(0);
        }
        self.windows.push(granules);
    }

    /// Whether the fetch waits for the answer to this question.
    pub(crate) fn awaits(&self, ask: AskId) -> bool {
        self.sources.values().any(|source| source.ask == Some(ask))
    }

    fn asked(&mut self, ask: AskId) -> Option<&mut Source> {
        let source = self.sources.values_mut().find(|source| source.ask == Some(ask))?;
        source.ask = None;
        Some(source)
    }

    /// A source answered which granules it has.
    pub(crate) fn on_holds(
        &mut self,
        world: &mut World<'_>,
        ask: AskId,
        holding: Result<Holding, Refusal>,
        round_trip: Option<Duration>,
    ) {
        let now = world.now;
        let proven = self.size().or(self.size_said);
        // If there are many sources with a part of the blob, each is asked less often, to bound the traffic.
        let pause = world.config.have_interval * (1 + self.sources.len() as u32 / 8);
        let Some(source) = self.asked(ask) else { return };
        if let Some(round_trip) = round_trip {
            source.note_round_trip(round_trip);
        }
        let says_no = |why: &Refusal| *why == Refusal::NotHeld || Gone::of(*why).is_some();
        source.denied = holding.as_ref().is_err_and(says_no);
        let holding = match holding {
            Ok(holding) => holding,
            Err(why) => {
                match (Gone::of(why), why) {
                    (None, Refusal::NotHeld) | (Some(_), _) => {
                        source.on_nothing(now, Gone::of(why));
                    }
                    _ => {
                        source.have = None;
                        source.on_failure(now);
                    }
                }
                self.availability = None;
                return;
            }
        };
        source.ask_at = now + pause;
        source.on_something(holding.lost.and_then(Gone::of), holding.hint);
        let division = Division::of(holding.size);
        if division.is_none() || proven.is_some_and(|size| size != holding.size) {
            source.banned = true;
            source.have = None;
        } else if let Some(division) = division {
            let count = division.count();
            source.size = Some(holding.size);
            source.have = match &holding.granules {
                None => Some(GranuleSet::full(count)),
                // The source has none yet, or too many for a datagram: it is asked again by a call.
                Some(bytes) => {
                    Some(GranuleSet::from_bytes(count, bytes).unwrap_or(GranuleSet::empty(count)))
                }
            };
        }
        self.availability = None;
        holding.neighbours.into_iter().for_each(|contact| self.hear_of(world, contact));
    }

    pub(crate) fn on_ask_failed(&mut self, now: Instant, ask: AskId) {
        if let Some(source) = self.asked(ask) {
            source.on_failure(now);
        }
    }

    fn source_of(&mut self, transfer: TransferId) -> Option<&mut Source> {
        self.sources
            .values_mut()
            .find(|source| source.transfers.iter().any(|open| open.id == transfer))
    }

    pub(crate) fn on_moved(&mut self, now: Instant, transfer: TransferId) {
        if let Some(source) = self.source_of(transfer) {
            source.on_moved(now);
        }
    }

    /// A granule was stored.
    pub(crate) fn on_granule(&mut self, world: &mut World<'_>, transfer: TransferId, granule: u32) {
        let Some(division) = self.division() else { return };
        if let Some(source) = self.source_of(transfer) {
            source.on_granule(world.now, &division, transfer, granule);
        }
        if !self.have.insert(granule) {
            self.report.duplicate_bytes += length(&division, granule);
            return;
        }
        if granule + 1 == division.count() {
            self.proven = true;
        }
        self.windows.retain(|window| window.clone().any(|granule| !self.have.contains(granule)));
        self.drop_copies(world);
    }

    /// Cancels transfers whose granules have all arrived by other transfers.
    fn drop_copies(&mut self, world: &mut World<'_>) {
        let have = &self.have;
        for source in self.sources.values_mut() {
            source.transfers.retain(|transfer| {
                let useful = transfer.waiting.is_empty()
                    || transfer.waiting.iter().any(|granule| !have.contains(*granule));
                if !useful {
                    world.out.push(Output::CancelTransfer { transfer: transfer.id });
                }
                useful
            });
        }
    }

    pub(crate) fn on_ended(
        &mut self,
        world: &mut World<'_>,
        transfer: TransferId,
        end: TransferEnd,
    ) {
        let now = world.now;
        let Some(source) = self.source_of(transfer) else { return };
        let left = source
            .transfers
            .iter()
            .position(|open| open.id == transfer)
            .map(|place| source.transfers.remove(place).waiting.len());
        match end {
            TransferEnd::Done if left == Some(0) => {}
            TransferEnd::Busy => source.on_busy(now),
            TransferEnd::Done | TransferEnd::Lost | TransferEnd::NotHeld => {
                source.have = None;
                source.on_failure(now);
                self.availability = None;
            }
            TransferEnd::Gone(why) => {
                // Its other streams would end in the same way, and its granules are requested again from
                // others.
                source.cancel(world.out);
                source.on_lost(now, why);
                self.availability = None;
            }
            TransferEnd::Corrupt => {
                source.banned = true;
                source.have = None;
                source.cancel(world.out);
                world.shunned.insert(now, source.contact.public_key);
                self.report.corrupt_sources += 1;
                self.availability = None;
                // Its claim about the size is dropped too. Another place is opened if no other source claims
                // the same size.
            }
        }
    }

    /// A source is dead. Its granules are requested from others at once.
    pub(crate) fn on_gone(&mut self, world: &mut World<'_>, key: &PublicKey) {
        if let Some(source) = self.sources.get_mut(key) {
            source.cancel(world.out);
            source.have = None;
            source.on_failure(world.now);
            self.availability = None;
        }
    }

    /// Cancels all transfers.
    pub(crate) fn stop(&mut self, out: &mut Vec<Output>) {
        self.sources.values_mut().for_each(|source| source.cancel(out));
    }

    // --- actions ---

    /// Carries out all actions that are possible now. Returns the error if the fetch failed.
    pub(crate) fn drive(&mut self, world: &mut World<'_>) -> Option<FetchError> {
        let now = world.now;
        self.drop_stalled(world);
        self.drop_slow(world);
        self.driven = now;
        if self.sources.values().any(Source::is_promising) {
            self.promising = now;
        }
        if !self.finding && now >= self.find_at {
            self.finding = true;
            world.out.push(Output::FindProviders { fetch: self.id, root: self.root });
        }
        self.ask_haves(world);
        self.open(world);
        self.ask_granules(world);
        if let Some(why) = self.gone() {
            return Some(why);
        }
        if self.is_unknown() {
            return Some(FetchError::Unknown);
        }
        (now >= self.gives_up_at(world.config)).then_some(FetchError::NoSource)
    }

    /// Whether the blob is not announced, and every node that might have it denied having it.
    fn is_unknown(&self) -> bool {
        let denied = self.sources.values().all(|source| source.denied);
        self.absent >= ABSENT_LOOKS && denied && self.have.is_empty()
    }

    /// Why the fetch cannot continue: a node that had the blob gave this reason, and no other answering node
    /// has a part of it.
    fn gone(&self) -> Option<FetchError> {
        if !self.looked || self.finding {
            return None;
        }
        // If the blob is not announced, a node without it may never have had it.
        let had = |source: &&Source| self.absent == 0 || source.said_why();
        let why = self.sources.values().filter(had).filter_map(|source| source.gone).min()?;
        let last = self.division().map(|division| division.count() - 1);
        let useful = |theirs: &GranuleSet| match last {
            // No other granule is requested before the last one has proven the size.
            Some(last) if !self.proven => theirs.contains(last),
            Some(_) => theirs.iter().any(|granule| !self.have.contains(granule)),
            None => !theirs.is_empty(),
        };
        if self.sources.values().any(|source| source.may_give(useful)) {
            return None;
        }
        Some(match why {
            Gone::Changed => FetchError::Changed,
            Gone::Unshared => FetchError::Unshared,
            Gone::Unreadable => FetchError::Unreadable,
        })
    }

    /// The name and times of the blob according to a source with this size, or with any size.
    pub(crate) fn hint(&self, size: Option<u64>) -> Option<Hint> {
        let sources = self.sources.values().filter(|one| size.is_none() || one.size == size);
        sources.filter(|one| !one.banned).find_map(|one| one.hint.clone())
    }

    fn gives_up_at(&self, config: &Config) -> Instant {
        let begun = if self.have.is_empty() { 1 } else { PATIENCE_BEGUN };
        self.promising + config.patience * begun
    }

    fn drop_stalled(&mut self, world: &mut World<'_>) {
        for source in self.sources.values_mut().filter(|source| source.is_stalled(world.now)) {
            source.cancel(world.out);
            // The source is asked again which granules it has, before any are requested from it.
            source.have = None;
            source.on_failure(world.now);
            self.availability = None;
        }
    }

    fn ask_haves(&mut self, world: &mut World<'_>) {
        let blob = self.blob;
        for source in self.sources.values_mut() {
            if !source.is_due(world.now) {
                continue;
            }
            let ask = AskId(world.numbers.next());
            source.ask = Some(ask);
            let large = source.have.as_ref().is_some_and(|set| set.length() / 8 > BITMAP_DATAGRAM);
            world.out.push(Output::AskHave { ask, to: source.contact, blob, large });
        }
    }

    /// The time of the next action if nothing happens before.
    pub(crate) fn wake(&self, config: &Config) -> Option<Instant> {
        let find = (!self.finding).then_some(self.find_at);
        // While a source may still send granules, the deadline is extended.
        let alone = !self.sources.values().any(Source::is_promising);
        let end = alone.then(|| self.gives_up_at(config));
        let sources =
            self.sources.values().flat_map(|source| [source.wake(), source.rested(self.driven)]);
        let unproven = self.division().is_some() && !self.proven;
        let proof = self.asks_proof_at().filter(|at| unproven && *at > self.driven);
        let look = self.look_at.filter(|at| *at > self.driven);
        sources.chain([find, end, proof, look]).flatten().min()
    }
}
