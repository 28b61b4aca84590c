//! A network in virtual time: its events, and their effects.

use super::census::{Census, Contact, Member, NO_NODE};
use super::churn::Churn;
use super::latency::Latency;
use super::lookups::{Flight, REQUESTS_MAX, State};
use super::overlay::Overlay;
use super::records::{Records, SETTLED};
use super::tables::{ANNOUNCED, Checks, Tables};
use super::traffic::{
    ANSWER_BYTES, CHECK_BYTES, CONTACT_BYTES, RECORD_BYTES, REQUEST_BYTES, Traffic,
};
use super::wheel::Wheel;
use super::{Millis, START};
use crate::draw::Stream;
use crate::sample::Sample;

/// The parameters of a simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Nodes at the start.
    pub nodes: usize,
    /// The same seed gives the same run.
    pub seed: u64,
    /// Virtual minutes.
    pub minutes: u64,
    /// The model of churn.
    pub churn: Churn,
    /// The overlay.
    pub overlay: Overlay,
    /// Seconds between two lookups of a node.
    pub lookup_seconds: f64,
    /// Median round trip in milliseconds.
    pub round_trip: f64,
    /// The spread of round trips: two thirds are within a factor of `e^sigma` of the median.
    pub sigma: f64,
    /// Milliseconds until a request is given up. The product waits for the usual response time of a peer and
    /// its deviation, with three tries.
    pub timeout: u32,
    /// Seconds between two checks of a contact of the table.
    pub far_seconds: u32,
    /// Seconds between two checks of a neighbour.
    pub near_seconds: u32,
    /// Records in the network per node.
    pub records: f64,
    /// Nodes that hold each record.
    pub replicas: usize,
    /// Bytes of a record.
    pub record_bytes: f64,
}

impl Setting {
    /// A network with the defaults of the product, one lookup per node every ten minutes, and one record per
    /// node.
    #[must_use]
    pub const fn new(nodes: usize, seed: u64) -> Self {
        Self {
            nodes,
            seed,
            minutes: 60,
            churn: Churn::weibull_ipfs(),
            overlay: Overlay::product(),
            lookup_seconds: 600.0,
            round_trip: 100.0,
            sigma: 0.5,
            timeout: 500,
            far_seconds: 600,
            near_seconds: 5,
            records: 1.0,
            replicas: 16,
            record_bytes: 500.0,
        }
    }
}

/// The results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Milliseconds until the closest node had answered, for lookups that found it.
    pub latency: Sample,
    /// Hops to the closest node.
    pub hops: Sample,
    /// Hops to the last of the k closest.
    pub depth: Sample,
    /// Requests of a lookup.
    pub requests: Sample,
    /// Of these, the requests to dead nodes.
    pub timeouts: Sample,
    /// Lookups that ended in the measured part of the run.
    pub lookups: u64,
    /// Of these, the lookups that found the closest live node.
    pub found: u64,
    /// Of these, the lookups that found all of the k closest live nodes.
    pub all_found: u64,
    /// Of these, reads of a record that a live holder had, which found no holder.
    pub reads_missed: u64,
    /// Records that were lost.
    pub lost: u64,
    /// Nodes that joined, and nodes that left.
    pub joined: u64,
    /// Nodes at the end.
    pub living: u64,
    /// Bytes that an average node sent in one second.
    pub traffic: Traffic,
    /// Requests and answers of lookups that an average node sent in one second.
    pub messages: f64,
    /// Contacts of a node: those of its table, and its neighbours.
    pub contacts: u64,
    /// Bytes of the tables.
    pub table_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// The next lookup of a place is due.
    Lookup(u32),
    /// The stay of a node has ended.
    Death(Contact),
    /// A request of a lookup is answered.
    Answer { flight: u32, from: Contact },
    /// A request of a lookup is given up.
    Timeout { flight: u32, from: Contact },
    /// Holders of a record have noticed a death.
    Repair(u32),
    /// A node that joined receives records.
    Settle(Contact),
    /// Nodes join or leave for the daily swing, or many at once.
    Swing,
}

struct World<'a> {
    setting: &'a Setting,
    census: Census,
    tables: Tables,
    records: Records,
    latency: Latency,
    wheel: Wheel<Event>,
    flights: Vec<Flight>,
    free: Vec<u32>,
    now: Millis,
    draws: Stream,
    outcome: Outcome,
    traffic: Traffic,
    node_seconds: f64,
    found: Vec<(u64, Contact)>,
    spare: Vec<usize>,
}

/// Runs a network.
#[must_use]
pub fn run(setting: &Setting) -> Outcome {
    let mut world = World::new(setting);
    let end = START + (setting.minutes.min(super::MINUTES_MAX) * 60_000) as Millis;
    while world.now < end {
        let (now, events) = world.wheel.next();
        world.now = now;
        events.iter().for_each(|event| world.handle(*event));
        world.wheel.reuse(events);
        world.node_seconds += world.census.living() as f64 / 1000.0;
    }
    world.finish()
}

const LOOKUPS: u64 = 51;
const SWING_MILLIS: Millis = 1000;

impl<'a> World<'a> {
    fn new(setting: &'a Setting) -> Self {
        let (nodes, seed) = (setting.nodes, setting.seed);
        let places = match setting.churn {
            Churn::Diurnal => nodes + nodes * 2 / 5,
            Churn::Flash => nodes + nodes / 9,
            Churn::None | Churn::Exponential(_) | Churn::Weibull { .. } | Churn::Correlated(_) => {
                nodes
            }
        };
        let checks =
            Checks { far: setting.far_seconds * 1000, near: (setting.near_seconds * 1000).max(1) };
        let keep = checks.far.max(checks.near + 2000) + 1000;
        let mut census = Census::new(places, nodes, keep, seed);
        let mut wheel = Wheel::new(START);
        let mut draws = Stream::new(seed, LOOKUPS);
        for place in 0..nodes {
            let met = setting.churn.met(&mut draws);
            let since = met.map_or(1e9, |it| it.0).min(1e6) * 1000.0;
            let contact = census.join(place, START - since as Millis, START);
            if let Some((_, stays)) = met {
                wheel.push(START + (stays * 1000.0).min(1e9) as Millis, Event::Death(contact));
            }
        }
        let span = (setting.lookup_seconds * 1000.0) as usize;
        for place in 0..places {
            wheel.push(START + draws.below(span.max(1)) as Millis, Event::Lookup(place as u32));
        }
        if !matches!(setting.churn, Churn::None | Churn::Exponential(_) | Churn::Weibull { .. }) {
            wheel.push(START + SWING_MILLIS, Event::Swing);
        }
        let records = (nodes as f64 * setting.records) as usize;
        Self {
            tables: Tables::new(setting.overlay, places, nodes, checks, seed),
            records: Records::new(&census, records.max(1), setting.replicas.max(1), seed),
            latency: Latency::new(seed, setting.round_trip, setting.sigma),
            setting,
            census,
            wheel,
            flights: Vec::new(),
            free: Vec::new(),
            now: START,
            draws,
            outcome: Outcome::default(),
            traffic: Traffic::default(),
            node_seconds: 0.0,
            found: Vec::with_capacity(512),
            spare: (nodes..places).rev().collect(),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Lookup(place) => self.look_up(place),
            Event::Death(contact) => self.die(contact, true),
            Event::Answer { flight, from } => self.answered(flight, from),
            Event::Timeout { flight, from } => {
                self.flights[flight as usize].came(from, State::Dead, self.now);
                self.advance(flight);
            }
            Event::Repair(record) => {
                let copies = self.records.copies;
                self.records.repair(&self.census, record);
                self.traffic.repair += self.record_bytes() * (self.records.copies - copies) as f64;
            }
            Event::Settle(contact) => {
                if self.census.lives(contact) {
                    let before = self.records.handed_over;
                    self.records.settle(&self.census, contact);
                    let moved = self.records.handed_over - before;
                    self.traffic.hand_over += self.record_bytes() * moved as f64;
                }
            }
            Event::Swing => self.swing(),
        }
    }

    fn record_bytes(&self) -> f64 {
        self.setting.record_bytes + RECORD_BYTES
    }

    fn join(&mut self, place: usize) {
        let contact = self.census.join(place, self.now, self.now);
        self.tables.clear(place);
        self.outcome.joined += 1;
        self.wheel.push(self.now + SETTLED, Event::Settle(contact));
        if let Some(stays) = self.setting.churn.stay(&mut self.draws) {
            let at = self.now.saturating_add((stays * 1000.0).clamp(1.0, 1e9) as Millis);
            self.wheel.push(at, Event::Death(contact));
        }
    }

    /// A node dies without a message. Its records are copied after its neighbours detect it.
    fn die(&mut self, contact: Contact, replaced: bool) {
        if !self.census.lives(contact) {
            return;
        }
        self.census.leave(contact, self.now);
        let place = super::census::place_of(contact);
        for record in self.records.gone(contact) {
            let near = self.setting.near_seconds as usize * 1000;
            let notice = 1500 + self.draws.below(near.max(1)) + self.draws.below(5000);
            self.wheel.push(self.now + notice as Millis, Event::Repair(record));
        }
        if replaced {
            self.join(place);
        } else {
            self.spare.push(place);
        }
    }

    /// The effect of churn models on many nodes at once.
    fn swing(&mut self) {
        let run = (self.setting.minutes * 60_000) as f64;
        let elapsed = f64::from(self.now - START);
        let nodes = self.setting.nodes as f64;
        let middle = run / 2.0;
        match self.setting.churn {
            Churn::Diurnal => {
                let day = 86_400_000.0;
                let want = nodes * (1.0 + 0.3 * (std::f64::consts::TAU * elapsed / day).sin());
                self.fit(want as usize);
            }
            Churn::Flash => {
                let part = ((elapsed - middle) / 60_000.0).clamp(0.0, 1.0);
                self.fit((nodes * (1.0 + 0.1 * part)) as usize);
            }
            Churn::Correlated(share) => {
                if elapsed >= middle {
                    for place in 0..self.census.places() {
                        let node = self.census.node(place).filter(|_| self.draws.unit() < share);
                        if let Some(node) = node {
                            self.die(node, false);
                        }
                    }
                    return;
                }
            }
            Churn::None | Churn::Exponential(_) | Churn::Weibull { .. } => return,
        }
        self.wheel.push(self.now + SWING_MILLIS, Event::Swing);
    }

    /// Adjusts the number of nodes to `want`.
    fn fit(&mut self, want: usize) {
        while self.census.living() < want {
            let Some(place) = self.spare.pop() else { return };
            self.join(place);
        }
        while self.census.living() > want {
            let place = self.draws.below(self.census.places());
            if let Some(node) = self.census.node(place) {
                self.die(node, false);
            }
        }
    }

    /// Starts the lookup of a place at fixed times, not after the end of the last one.
    fn look_up(&mut self, place: u32) {
        let span = (self.setting.lookup_seconds * 1000.0) as Millis;
        self.wheel.push(self.now + span.max(1), Event::Lookup(place));
        let Some(asker) = self.census.node(place as usize) else { return };
        let record = self.draws.below(self.records.len()) as u32;
        let target = self.records.key(record);
        let flight = self.free.pop().unwrap_or_else(|| {
            self.flights.push(Flight::default());
            self.flights.len() as u32 - 1
        });
        self.flights[flight as usize].begin(asker, target, record, self.now);
        self.tables.answer(&self.census, asker, target, self.now, &mut self.found);
        self.flights[flight as usize].hear(&self.found, 1);
        self.advance(flight);
    }

    /// Sends the requests that a lookup may send, or ends the lookup.
    fn advance(&mut self, flight: u32) {
        let (alpha, wanted) = (self.setting.overlay.alpha(), self.setting.overlay.wanted());
        let it = &mut self.flights[flight as usize];
        while usize::from(it.waiting) < alpha && it.requests < REQUESTS_MAX {
            let Some(to) = it.next(wanted) else { break };
            let event = if self.census.lives(to) {
                let at = self.now + self.latency.round_trip(it.asker, to);
                (at, Event::Answer { flight, from: to })
            } else {
                (self.now + self.setting.timeout, Event::Timeout { flight, from: to })
            };
            self.wheel.push(event.0, event.1);
        }
        if it.waiting == 0 {
            self.end(flight);
        }
    }

    fn answered(&mut self, flight: u32, from: Contact) {
        if !self.census.lives(from) {
            // The node died with the request, so the asking node waits for the rest of the timeout.
            self.wheel.push(self.now + self.setting.timeout, Event::Timeout { flight, from });
            return;
        }
        let target = self.flights[flight as usize].target;
        let hops = self.flights[flight as usize].came(from, State::Answered, self.now);
        self.tables.answer(&self.census, from, target, self.now, &mut self.found);
        let bytes = ANSWER_BYTES + CONTACT_BYTES * self.found.len() as f64;
        self.traffic.lookups += bytes;
        self.flights[flight as usize].hear(&self.found, hops.saturating_add(1));
        self.advance(flight);
    }

    /// Compares the result of a lookup with the truth.
    fn end(&mut self, flight: u32) {
        self.free.push(flight);
        let it = &self.flights[flight as usize];
        self.traffic.lookups += REQUEST_BYTES * f64::from(it.requests);
        // The first sixth of the run is not measured.
        let begun = START + (self.setting.minutes * 10_000) as Millis;
        if it.began < begun || !self.census.lives(it.asker) {
            return;
        }
        let (overlay, wanted) = (self.setting.overlay, self.setting.overlay.wanted());
        let truth = closest(&self.census, &overlay, it, wanted, self.now);
        let outcome = &mut self.outcome;
        outcome.lookups += 1;
        let depth = it.answered().take(wanted).map(|heard| heard.hops).max();
        outcome.depth.add(depth.map_or(0, u64::from));
        outcome.requests.add(u64::from(it.requests));
        outcome.timeouts.add(u64::from(it.timeouts));
        let best = it.answered().next();
        if best.map(|heard| heard.contact) == truth.first().copied() && best.is_some() {
            outcome.found += 1;
            outcome.hops.add(best.map_or(0, |heard| u64::from(heard.hops)));
            let mut millis = it.best_at - it.began;
            if let Overlay::Chord { .. } = overlay {
                // The node before the target names its successor, which is then asked.
                millis += self.latency.round_trip(it.asker, truth[0]);
            }
            outcome.latency.add(u64::from(millis));
        }
        let mut answered = it.answered().take(truth.len()).map(|heard| heard.contact);
        outcome.all_found += u64::from(truth.iter().all(|node| answered.next() == Some(*node)));
        let holders = self.records.holders(it.record);
        let mut living =
            holders.iter().filter(|holder| **holder != NO_NODE && self.census.lives(**holder));
        let missed = living.clone().next().is_some()
            && !living.any(|holder| it.answered().any(|heard| heard.contact == *holder));
        outcome.reads_missed += u64::from(missed);
    }

    fn finish(mut self) -> Outcome {
        let setting = self.setting;
        let overlay = setting.overlay;
        let lookup = self.outcome.requests.mean();
        let far = overlay.far_contacts(setting.nodes) as f64;
        let request_bytes = REQUEST_BYTES + ANSWER_BYTES + CONTACT_BYTES * overlay.answer() as f64;
        self.traffic.joins = self.outcome.joined as f64
            * overlay.join_requests(setting.nodes, lookup)
            * request_bytes;
        // A node checks contacts and is checked equally often, and both are answered.
        let far_checks = far / f64::from(setting.far_seconds.max(1));
        // One probe a second finds a dead neighbour within five seconds, whatever the number of neighbours
        // is: the failure detector is the same for all overlays.
        let near_checks = 5.0 / f64::from(setting.near_seconds.max(1));
        let replaced = far / setting.churn.mean_seconds() * overlay.replace_requests(lookup);
        self.traffic.checks = self.node_seconds
            * ((far_checks + near_checks) * 2.0 * CHECK_BYTES + replaced * request_bytes);
        let each = |bytes: f64| bytes / self.node_seconds.max(1.0);
        let traffic = Traffic {
            lookups: each(self.traffic.lookups),
            joins: each(self.traffic.joins),
            checks: each(self.traffic.checks),
            repair: each(self.traffic.repair),
            hand_over: each(self.traffic.hand_over),
        };
        let lookups_a_second = 1.0 / setting.lookup_seconds.max(1.0);
        Outcome {
            lost: self.records.lost.max(self.records.without_holder(&self.census)),
            living: self.census.living() as u64,
            messages: lookup * 2.0 * lookups_a_second,
            contacts: far as u64 + overlay.neighbours() as u64,
            table_bytes: self.tables.bytes() as u64,
            traffic,
            ..self.outcome
        }
    }
}

/// The live nodes that a lookup should have found, closest first. A node counts after it has joined, which
/// takes the time until its neighbours know it.
fn closest(
    census: &Census,
    overlay: &Overlay,
    flight: &Flight,
    wanted: usize,
    now: Millis,
) -> Vec<Contact> {
    let joined = |member: &Member| member.born <= START || member.born + ANNOUNCED <= now;
    let accept =
        |member: &Member| member.lives() && member.contact != flight.asker && joined(member);
    let target = flight.target;
    let found = match overlay {
        Overlay::Kademlia { .. } => {
            let mut found = Vec::with_capacity(64);
            census.closest(target, wanted, accept, &mut found);
            found
        }
        Overlay::Chord { .. } => census.around(target, 1, true, accept),
        Overlay::Pastry { .. } => {
            let mut both = census.around(target, 1, true, accept);
            both.extend(census.around(target, 1, false, accept));
            both.sort_unstable();
            both.truncate(1);
            both
        }
    };
    found.into_iter().map(|it| it.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::implicit;

    fn still(nodes: usize, overlay: Overlay, sigma: f64) -> Outcome {
        run(&Setting {
            churn: Churn::None,
            overlay,
            sigma,
            minutes: 12,
            lookup_seconds: 120.0,
            records: 0.5,
            ..Setting::new(nodes, 1)
        })
    }

    #[test]
    fn without_churn_levels_0_and_1_agree() {
        for nodes in [1000, 10_000] {
            let level_1 = still(nodes, Overlay::product(), 0.0);
            let uneven = still(nodes, Overlay::product(), 0.5);
            let level_0 = implicit::measure(&implicit::Setting {
                nodes,
                dead: 0.0,
                lookups: 2000,
                seed: 1,
                kademlia: implicit::Kademlia::default(),
                neighbours: 16,
            });
            let close =
                |a: f64, b: f64, part: f64| assert!((a / b - 1.0).abs() < part, "{nodes}: {a} {b}");
            close(level_1.hops.mean(), level_0.hops.mean(), 0.03);
            close(level_1.requests.mean(), level_0.requests.mean(), 0.03);
            // With spread round trips, a path with more hops can be faster.
            close(uneven.hops.mean(), level_0.hops.mean(), 0.06);
            close(uneven.requests.mean(), level_0.requests.mean(), 0.06);
            assert_eq!(level_1.found, level_1.lookups);
            assert_eq!(level_1.all_found, level_1.lookups);
            assert_eq!((level_1.lost, level_1.reads_missed), (0, 0));
        }
    }

    #[test]
    fn chord_and_pastry_arrive_without_churn() {
        for (overlay, hops) in [(Overlay::chord(), 4.0), (Overlay::pastry(), 2.4)] {
            let outcome = still(1000, overlay, 0.5);
            assert!(
                outcome.found as f64 > 0.995 * outcome.lookups as f64,
                "{overlay:?} {outcome:?}"
            );
            assert!(
                (outcome.hops.mean() - hops).abs() < 1.0,
                "{overlay:?} {}",
                outcome.hops.mean()
            );
        }
    }

    #[test]
    fn under_churn_lookups_find_and_records_stay() {
        let setting = Setting { minutes: 30, ..Setting::new(2000, 1) };
        let outcome = run(&setting);
        assert!(outcome.lookups > 4000 && outcome.joined > 100, "{outcome:?}");
        assert!(outcome.found as f64 > 0.98 * outcome.lookups as f64);
        assert_eq!((outcome.lost, outcome.living), (0, 2000));
        assert!(outcome.traffic.repair > 0.0 && outcome.traffic.hand_over > 0.0);
        assert_eq!(outcome, run(&setting), "the same seed gives the same run");
    }

    #[test]
    fn a_third_gone_at_once_loses_what_the_formula_says() {
        let setting = Setting {
            churn: Churn::Correlated(0.3),
            minutes: 10,
            records: 20.0,
            replicas: 3,
            ..Setting::new(2000, 1)
        };
        let outcome = run(&setting);
        let should = crate::model::lost_at_once(40_000.0, 3, 0.3);
        assert!((outcome.lost as f64 / should - 1.0).abs() < 0.25, "{} {should}", outcome.lost);
        assert!(outcome.living < 1500);
    }

    #[test]
    fn crowds_and_days_change_the_size() {
        let size = |churn| run(&Setting { churn, minutes: 20, ..Setting::new(1000, 1) }).living;
        assert_eq!(size(Churn::Flash), 1100);
        let day = size(Churn::Diurnal);
        assert!((1010..1040).contains(&day), "{day}");
    }
}
