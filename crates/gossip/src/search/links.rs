//! The neighbours: their filters, their quotas, and when our filter is sent to each.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey, Rate, Rng, TokenBucket};

use super::filter::Filter;

/// Neighbours used; further ones are ignored.
pub const LINKS_MAX: usize = 16;
/// Quotas remembered, also of former neighbours: otherwise reconnecting would renew a quota.
const QUOTAS_MAX: usize = 64;
/// Interval in which our filter is sent to a neighbour even if it did not change.
const FILTER_INTERVAL: Duration = Duration::from_secs(300);
/// Shortest time between two filters sent to a neighbour.
const FILTER_PAUSE: Duration = Duration::from_secs(15);
/// Pause before a filter that failed to arrive is sent again.
const FILTER_RETRY: Duration = Duration::from_secs(5);

/// Identifies a neighbour while the link lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(u32);

/// The quotas of a neighbour: tokens a second, and burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    /// Searches that it may send.
    pub(super) searches: TokenBucket,
    /// Its searches that are relayed: at most half of what our other neighbours accept from us, so
    /// that one flooding neighbour cannot use up their quotas.
    pub(super) passed: TokenBucket,
    /// Messages that it may cause elsewhere, in units of eight: see `super::relay`.
    pub(super) reach: TokenBucket,
    /// Messages with hits.
    pub(super) hits: TokenBucket,
    /// Filters, ten tokens each.
    pub(super) filters: TokenBucket,
}

impl Quota {
    fn new() -> Self {
        Self {
            searches: Rate::new(10, 40).bucket(),
            passed: Rate::new(4, 20).bucket(),
            // A whole search costs its first neighbours about 70 tokens each: five at once, and one
            // in three seconds.
            reach: Rate::new(20, 400).bucket(),
            hits: Rate::new(100, 400).bucket(),
            filters: Rate::new(1, 40).bucket(),
        }
    }
}

/// A neighbour.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) contact: Contact,
    /// `None`: no filter received yet, so it may have any file.
    pub(super) filter: Option<Filter>,
    sent_at: Option<Instant>,
    send_at: Instant,
    /// Below our quota at the neighbour, so that it need not refuse.
    outbound: TokenBucket,
}

/// All neighbours.
#[derive(Debug, Clone)]
pub(super) struct Links {
    links: BTreeMap<LinkId, Link>,
    quotas: LruMap<PublicKey, Quota>,
    next: u32,
}

impl Links {
    pub(super) fn new() -> Self {
        Self { links: BTreeMap::new(), quotas: LruMap::new(QUOTAS_MAX), next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn filters(&self) -> usize {
        self.links.values().filter(|link| link.filter.is_some()).count()
    }

    pub(super) fn quotas(&self) -> usize {
        self.quotas.len()
    }

    /// Sets the neighbours, in place of those before.
    pub(super) fn set(&mut self, now: Instant, mut contacts: Vec<Contact>) {
        contacts.truncate(LINKS_MAX);
        self.links.retain(|_, link| {
            let still = contacts.iter().find(|to| to.public_key == link.contact.public_key);
            still.is_some_and(|contact| {
                link.contact = *contact;
                true
            })
        });
        for contact in contacts {
            if self.find(&contact.public_key).is_some() {
                continue;
            }
            self.next += 1;
            let outbound = Rate::new(8, 32).bucket();
            let link = Link { contact, filter: None, sent_at: None, send_at: now, outbound };
            self.links.insert(LinkId(self.next), link);
            if self.quotas.get_mut(&contact.public_key).is_none() {
                self.quotas.insert(contact.public_key, Quota::new());
            }
        }
    }

    pub(super) fn find(&self, key: &PublicKey) -> Option<LinkId> {
        self.links.iter().find(|(_, link)| link.contact.public_key == *key).map(|(id, _)| *id)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(super) fn ids(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    pub(super) fn quota(&mut self, id: LinkId) -> Option<&mut Quota> {
        self.quotas.get_mut(&self.links.get(&id)?.contact.public_key)
    }

    pub(super) fn set_filter(&mut self, id: LinkId, filter: Filter) {
        if let Some(link) = self.links.get_mut(&id) {
            link.filter = Some(filter);
        }
    }

    /// Whether one more search may be sent to this neighbour now.
    pub(super) fn may_send(&mut self, now: Instant, id: LinkId) -> bool {
        self.links.get_mut(&id).is_some_and(|link| link.outbound.take(now, 1))
    }

    /// Our words changed.
    pub(super) fn names_changed(&mut self, now: Instant) {
        for link in self.links.values_mut() {
            let soonest = link.sent_at.map_or(now, |sent_at| now.max(sent_at + FILTER_PAUSE));
            link.send_at = link.send_at.min(soonest);
        }
    }

    /// Our filter did not arrive at this neighbour: send it again.
    pub(super) fn resend(&mut self, now: Instant, key: &PublicKey) {
        if let Some(link) = self.links.values_mut().find(|link| link.contact.public_key == *key) {
            link.send_at = link.send_at.min(now + FILTER_RETRY);
        }
    }

    pub(super) fn send_at(&self) -> Option<Instant> {
        self.links.values().map(|link| link.send_at).min()
    }

    /// The neighbours to which our filter is sent now.
    pub(super) fn due(&mut self, now: Instant, rng: &mut Rng) -> Vec<Contact> {
        let due = self.links.values_mut().filter(|link| link.send_at <= now);
        due.map(|link| {
            link.sent_at = Some(now);
            link.send_at = now + rng.jitter(FILTER_INTERVAL, 0.2);
            link.contact
        })
        .collect()
    }
}
