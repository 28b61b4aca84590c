//! Entry points: contacts, addresses and DNS names that are tried until the node leaves.
//!
//! An entry point that is not in the table is tried again with growing pauses; DNS names are resolved
//! again each time. Contacts remembered from before a restart are entry points too. So a node that has
//! lost all contacts rejoins as soon as any entry point answers.
//!
//! A name may have groups of addresses in an order of preference, like the priorities of SRV records. A
//! later group is asked only while no address of an earlier one answers.
//!
//! A last resort is an entry point that is used only while all others are silent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Deadline, Instant, NetworkId, PublicKey, Rng};

use crate::routing_table::RoutingTable;

/// Most entry points, remembered contacts included; further ones are ignored.
const ENTRY_POINTS_MAX: usize = 256;

/// Addresses of one DNS name that are tried, over all groups.
const ADDRESSES_MAX: usize = 16;
/// Time that an address group has to answer before the next group is asked. It is longer than the first
/// two tries of a greeting over an intercontinental path; raising it delays the fallback.
const GROUP_PAUSE: Duration = Duration::from_millis(1500);
/// Time without an answer after which an entry point counts as silent: the duration of all tries of a
/// greeting.
const SILENT_AFTER: Duration = Duration::from_secs(4);
/// Interval of the checks whether the last resort is needed.
const LAST_RESORT_CHECK: Duration = Duration::from_secs(4);
/// The longest pause between two uses of the last resort, in longest pauses of other entry points.
const LAST_RESORT_FACTOR: u32 = 10;

/// The state of an entry point, for diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryView {
    /// The entry point.
    pub point: EntryPoint,
    /// How many times it was tried.
    pub tries: u32,
    /// Whether it has answered since the start.
    pub answered: bool,
    /// Whether the node counts as not joined without it: it was configured, and is not a remembered
    /// contact, which may be gone for good.
    pub awaited: bool,
    /// The addresses of a DNS name; none while it does not resolve.
    pub addresses: Vec<SocketAddr>,
}

/// One entry point of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryPoint {
    /// A node known by key and address.
    Contact(Contact),
    /// An address whose key is learnt on first contact.
    Address(SocketAddr),
    /// A DNS name with its port, `name:port`.
    Name(String),
}

/// The state of the last resort, for diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastResort {
    /// The state of each of its entry points.
    pub points: Vec<EntryView>,
    /// Whether it is being used: all other entry points are silent.
    pub in_use: bool,
}

/// The origin of an entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was configured or named by a command.
    Named,
    /// It is a contact from before the restart.
    Remembered,
    /// It is used while all others are silent.
    LastResort,
}

/// The attempts that are due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Due {
    /// The entry points to be tried.
    pub(crate) points: Vec<EntryPoint>,
    /// Addresses to be greeted, because no address of an earlier group has answered.
    pub(crate) greetings: Vec<SocketAddr>,
    /// Whether the use of the last resort begins.
    pub(crate) last_resort: bool,
}

#[derive(Debug, Clone)]
struct Attempt {
    point: EntryPoint,
    /// The node that last answered at this address or name.
    contact: Option<Contact>,
    next: Instant,
    pause: Duration,
    /// Whether it is a contact from before the restart.
    remembered: bool,
    /// Whether it was configured or named by a command, so that it is never given up.
    named: bool,
    /// Whether it is used only while all others are silent.
    last_resort: bool,
    tries: u32,
    answered: bool,
    /// The first try since it last answered.
    unheard_since: Option<Instant>,
    /// The addresses to which a DNS name resolved last.
    addresses: Vec<SocketAddr>,
    /// Groups of these addresses that were not asked yet; the next one is asked at `later_at`.
    later: VecDeque<Vec<SocketAddr>>,
    later_at: Instant,
}

impl Attempt {
    /// It answered: the later address groups are not asked.
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
            // A remembered contact that is named too becomes a named entry point.
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

    /// The named entry points.
    pub(crate) fn configured(&self, network: &NetworkId, table: &RoutingTable) -> Vec<EntryView> {
        let named = self.attempts.iter().filter(|attempt| attempt.named);
        // An entry point that is already in the table is not tried.
        named.map(|attempt| attempt.view(attempt.in_table(network, table))).collect()
    }

    /// The last resort.
    pub(crate) fn last_resort(&self) -> LastResort {
        let points = self.attempts.iter().filter(|attempt| attempt.last_resort);
        LastResort { points: points.map(|it| it.view(false)).collect(), in_use: self.in_use }
    }

    /// The number of contacts from before the restart.
    pub(crate) fn remembered(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.remembered).count()
    }

    /// The node with this key answered: marks the entry points that name it as answered.
    pub(crate) fn answered(&mut self, key: &PublicKey) {
        for attempt in &mut self.attempts {
            if attempt.contact.is_some_and(|contact| contact.public_key == *key) {
                attempt.heard();
            }
        }
    }

    /// Takes the addresses of a DNS name by preference, none if it does not resolve. Returns those
    /// to be greeted now.
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

    /// Whether there is any without which the node counts as not joined.
    pub(crate) fn any_configured(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.named && !attempt.remembered)
    }

    /// Whether there is any, named or remembered.
    pub(crate) fn any(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.named || attempt.remembered)
    }

    /// Records the node that answered at an address, so that the address is not tried while the
    /// node is in the table.
    pub(crate) fn learned(&mut self, address: SocketAddr, contact: Contact) {
        for attempt in &mut self.attempts {
            if attempt.point == EntryPoint::Address(address) {
                attempt.contact = Some(contact);
                attempt.heard();
            }
            // A name has no fixed contact, because it is resolved again each time.
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
            // Remembered contacts are tried only while the table has fewer than three contacts.
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

    /// Whether the last resort is needed. With named entry points: all of them are silent, even if
    /// the table has contacts. Else with remembered contacts: the table is empty and all of these
    /// are silent. Else: the table is empty, or no entry point of the last resort has answered yet.
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
