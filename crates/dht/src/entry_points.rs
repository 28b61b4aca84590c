//! Where to enter the network: contacts, addresses and DNS names that are tried for ever.
//!
//! An entry point that is not in the table is tried again with growing pauses, DNS names resolved
//! anew each time. Contacts remembered from the last run are entry points too. A node that has
//! lost everybody therefore always finds back once any of them answers.
//!
//! Behind a name there may be groups of addresses in an order of preference, as the priorities of SRV
//! records are. A later group is asked only while nobody of the earlier ones answers.
//!
//! A last resort is an entry point that is used only while all others are silent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Deadline, Instant, NetworkId, PublicKey, Rng};

use crate::routing_table::RoutingTable;

/// Most entry points, remembered contacts included.
const ENTRY_POINTS_MAX: usize = 256;

/// Addresses of one DNS name that are tried, of all groups together.
const ADDRESSES_MAX: usize = 16;
/// How long the next group of addresses waits for an answer of the one before: longer than the first two
/// tries of a greeting on a line across the world.
const GROUP_PAUSE: Duration = Duration::from_millis(1500);
/// How long an entry point was asked in vain before it counts as silent: all tries of a greeting.
const SILENT_AFTER: Duration = Duration::from_secs(4);
/// How often it is looked whether the last resort is needed.
const LAST_RESORT_CHECK: Duration = Duration::from_secs(4);
/// The longest pause between two uses of the last resort, in longest pauses of other entry points.
const LAST_RESORT_FACTOR: u32 = 10;

/// What became of an entry point, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryView {
    /// The entry point.
    pub point: EntryPoint,
    /// How many times it was tried.
    pub tries: u32,
    /// Whether it has answered since the start.
    pub answered: bool,
    /// Whether the node is not complete without it: it was named, and is not only one of those of the
    /// last run, which may be gone for good.
    pub awaited: bool,
    /// The addresses of a DNS name; none while it does not resolve.
    pub addresses: Vec<SocketAddr>,
}

/// One way into the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryPoint {
    /// A node known by key and address.
    Contact(Contact),
    /// An address whose key is learnt on first contact.
    Address(SocketAddr),
    /// A DNS name with its port, `name:port`.
    Name(String),
}

/// The last resort, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastResort {
    /// What became of each of its entry points.
    pub points: Vec<EntryView>,
    /// Whether it is being used: all other entry points are silent.
    pub in_use: bool,
}

/// Why an entry point is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A user named it.
    Named,
    /// It is a contact of the last run.
    Remembered,
    /// It is used while all others are silent.
    LastResort,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Due {
    /// The entry points to be tried.
    pub(crate) points: Vec<EntryPoint>,
    /// Addresses to be greeted, since nobody of an earlier group has answered.
    pub(crate) greetings: Vec<SocketAddr>,
    /// Whether the use of the last resort begins.
    pub(crate) last_resort: bool,
}

#[derive(Debug, Clone)]
struct Attempt {
    point: EntryPoint,
    /// Who answered there last; an address or name is known by this.
    contact: Option<Contact>,
    next: Instant,
    pause: Duration,
    /// Whether it is a contact of the last run.
    remembered: bool,
    /// Whether somebody named it, so that it is tried for ever.
    named: bool,
    /// Whether it is for the time when all others are silent.
    last_resort: bool,
    tries: u32,
    answered: bool,
    /// The first try since it was heard.
    unheard_since: Option<Instant>,
    /// What a DNS name resolved to the last time.
    addresses: Vec<SocketAddr>,
    /// Groups of these addresses that have not been asked yet, and when the next is.
    later: VecDeque<Vec<SocketAddr>>,
    later_at: Instant,
}

impl Attempt {
    /// It answered: nobody behind it needs to be asked in its place.
    fn heard(&mut self) {
        self.answered = true;
        self.unheard_since = None;
        self.later.clear();
    }

    fn in_table(&self, network: &NetworkId, table: &RoutingTable) -> bool {
        let known = |contact: Contact| table.entry(&contact.in_network(network).id).is_some();
        self.contact.is_some_and(known)
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.unheard_since.is_some_and(|since| now.since(since) >= SILENT_AFTER)
    }

    fn view(&self, answers: bool) -> EntryView {
        EntryView {
            point: self.point.clone(),
            tries: self.tries,
            answered: self.answered || answers,
            awaited: !self.remembered && !self.last_resort,
            addresses: self.addresses.clone(),
        }
    }
}

/// All entry points with their next attempts.
#[derive(Debug, Clone)]
pub(crate) struct EntryPoints {
    attempts: Vec<Attempt>,
    pause_min: Duration,
    pause_max: Duration,
    rng: Rng,
    /// Whether the last resort is being used.
    in_use: bool,
}

impl EntryPoints {
    pub(crate) fn new(pause_min: Duration, pause_max: Duration, rng: Rng) -> Self {
        Self { attempts: Vec::new(), pause_min, pause_max, rng, in_use: false }
    }

    /// Adds one, to be tried at once. False if it is known or there are too many.
    pub(crate) fn add(&mut self, now: Instant, point: EntryPoint, origin: Origin) -> bool {
        let remembered = origin == Origin::Remembered;
        let named = origin == Origin::Named;
        if let Some(known) = self.attempts.iter_mut().find(|attempt| attempt.point == point) {
            // Named as well, one of the last run is no less of an entry point.
            known.remembered |= remembered;
            known.named |= named;
            known.last_resort &= !named;
            return false;
        }
        if self.attempts.len() >= ENTRY_POINTS_MAX {
            return false;
        }
        let contact = match &point {
            EntryPoint::Contact(contact) => Some(*contact),
            EntryPoint::Address(_) | EntryPoint::Name(_) => None,
        };
        let pause = self.pause_min;
        self.attempts.push(Attempt {
            point,
            contact,
            next: now,
            pause,
            remembered,
            named,
            last_resort: origin == Origin::LastResort,
            tries: 0,
            answered: false,
            unheard_since: None,
            addresses: Vec::new(),
            later: VecDeque::new(),
            later_at: now,
        });
        true
    }

    /// The entry points that somebody named.
    pub(crate) fn configured(&self, network: &NetworkId, table: &RoutingTable) -> Vec<EntryView> {
        let named = self.attempts.iter().filter(|attempt| attempt.named);
        // Who was known before is not tried.
        named.map(|attempt| attempt.view(attempt.in_table(network, table))).collect()
    }

    /// The last resort.
    pub(crate) fn last_resort(&self) -> LastResort {
        let points = self.attempts.iter().filter(|attempt| attempt.last_resort);
        LastResort { points: points.map(|it| it.view(false)).collect(), in_use: self.in_use }
    }

    /// Contacts of the last run.
    pub(crate) fn remembered(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.remembered).count()
    }

    /// Somebody proved itself: the entry points that name it have answered.
    pub(crate) fn answered(&mut self, key: &PublicKey) {
        for attempt in &mut self.attempts {
            if attempt.contact.is_some_and(|contact| contact.public_key == *key) {
                attempt.heard();
            }
        }
    }

    /// The addresses of a DNS name by preference, none if it does not resolve. Gives those to be greeted
    /// now.
    pub(crate) fn resolved(
        &mut self,
        now: Instant,
        name: &str,
        groups: Vec<Vec<SocketAddr>>,
    ) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut later = VecDeque::new();
        for mut group in groups {
            group.truncate(ADDRESSES_MAX - addresses.len());
            if !group.is_empty() {
                addresses.extend(&group);
                later.push_back(group);
            }
        }
        let first = later.pop_front().unwrap_or_default();
        for attempt in &mut self.attempts {
            if matches!(&attempt.point, EntryPoint::Name(known) if known == name) {
                attempt.addresses.clone_from(&addresses);
                attempt.later.clone_from(&later);
                attempt.later_at = now + GROUP_PAUSE;
            }
        }
        first
    }

    /// Whether there is any without which the node is not complete.
    pub(crate) fn any_configured(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.named && !attempt.remembered)
    }

    /// Whether there is any, named or remembered.
    pub(crate) fn any(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.named || attempt.remembered)
    }

    /// Notes who answered at an address, so that it is left alone while it is in the table.
    pub(crate) fn learned(&mut self, address: SocketAddr, contact: Contact) {
        for attempt in &mut self.attempts {
            if attempt.point == EntryPoint::Address(address) {
                attempt.contact = Some(contact);
                attempt.heard();
            }
            // A name is resolved anew each time, so that nobody stands for it.
            if attempt.addresses.contains(&address) {
                attempt.heard();
            }
        }
    }

    /// Drops the entry point that turned out to be this node itself.
    pub(crate) fn drop_self(&mut self, me: &PublicKey, address: Option<SocketAddr>) {
        self.attempts.retain(|attempt| match &attempt.point {
            EntryPoint::Contact(contact) => contact.public_key != *me,
            EntryPoint::Address(at) => Some(*at) != address,
            EntryPoint::Name(_) => true,
        });
    }

    /// What is due at `now`: entry points that are not in the table, and later groups of addresses.
    pub(crate) fn due(&mut self, now: Instant, network: &NetworkId, table: &RoutingTable) -> Due {
        let mut due = Due::default();
        let silent = self.all_silent(now, network, table);
        due.last_resort = silent && !self.in_use;
        self.in_use = silent;
        for attempt in &mut self.attempts {
            if attempt.later_at <= now
                && let Some(group) = attempt.later.pop_front()
            {
                due.greetings.extend(group);
                attempt.later_at = now + GROUP_PAUSE;
            }
            let begins = attempt.last_resort && due.last_resort;
            if attempt.next > now && !begins {
                continue;
            }
            if attempt.last_resort && !silent {
                attempt.pause = self.pause_min;
                attempt.next = now + LAST_RESORT_CHECK;
                continue;
            }
            // Remembered contacts only serve a node that has nearly nobody.
            let wanted = attempt.named || attempt.last_resort || table.len() < 3;
            let longest = match attempt.last_resort {
                true => self.pause_max * LAST_RESORT_FACTOR,
                false => self.pause_max,
            };
            if wanted && !attempt.in_table(network, table) {
                due.points.push(attempt.point.clone());
                attempt.tries = attempt.tries.saturating_add(1);
                attempt.unheard_since.get_or_insert(now);
                attempt.pause = (attempt.pause * 2).min(longest);
            } else {
                attempt.unheard_since = None;
                attempt.pause = longest;
            }
            attempt.next = now + self.rng.jitter(attempt.pause, 0.25);
        }
        due
    }

    /// Whether there is a last resort and nothing else to enter by: all entry points that somebody named
    /// are silent, although others may be known; or none was named, and nobody is known, or nobody but by
    /// the local network so far.
    fn all_silent(&self, now: Instant, network: &NetworkId, table: &RoutingTable) -> bool {
        let of = |wanted: fn(&Attempt) -> bool| self.attempts.iter().filter(move |it| wanted(it));
        if of(|it| it.last_resort).next().is_none() {
            return false;
        }
        let silent = |it: &Attempt| it.is_silent(now) && !it.in_table(network, table);
        if of(|it| it.named).next().is_some() {
            return of(|it| it.named).all(silent);
        }
        if of(|it| it.remembered).next().is_some() {
            return table.is_empty() && of(|it| it.remembered).all(silent);
        }
        table.is_empty() || !of(|it| it.last_resort).any(|it| it.answered)
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let later = |attempt: &Attempt| (!attempt.later.is_empty()).then_some(attempt.later_at);
        let next =
            |attempt: &Attempt| later(attempt).map_or(attempt.next, |at| at.min(attempt.next));
        let at = self.attempts.iter().map(next).min()?;
        Some(Deadline::new(at, "entry point"))
    }
}
