//! The blobs that this node serves, the nodes that recently asked for them, and the waiting streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{BlobId, Contact, Instant, PublicKey};
use potluck_wire::Refusal;
use potluck_wire::limits::NEIGHBOURS_MAX;

use crate::command::{Output, ServeId};
use crate::config::Config;
use crate::many::{ANNOUNCED_MAX, many_root};

/// Nodes remembered per blob because they asked for it.
const ASKERS_MAX: usize = 16;
/// Blobs for which askers are remembered. Raising it costs memory.
const ASKED_MAX: usize = 1024;
/// Time for which a node that asked for a blob is named to others as a source.
const ASKER_LIFE: Duration = Duration::from_secs(60);
/// Pause between two announcements, so that a node with many roots does not flood the network at its start.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(50);
/// Pause between two announcements that are renewed after a change of the node's addresses: five a second.
const AGAIN_PAUSE: Duration = Duration::from_millis(200);
/// First pause before a failed announcement is tried again. It doubles with each consecutive failure, up to
/// the interval of successful announcements.
const ANNOUNCE_RETRY: Duration = Duration::from_secs(5);

/// Nodes that recently asked for blobs. They fetch them, so they probably have a part by now.
#[derive(Debug, Default)]
pub(crate) struct Askers {
    by_blob: BTreeMap<BlobId, VecDeque<(Instant, Contact)>>,
}

impl Askers {
    pub(crate) fn note(&mut self, now: Instant, blob: BlobId, from: Contact) {
        if !self.by_blob.contains_key(&blob) && self.by_blob.len() >= ASKED_MAX {
            self.by_blob
                .retain(|_, askers| askers.back().is_some_and(|(at, _)| is_fresh(now, *at)));
            if self.by_blob.len() >= ASKED_MAX {
                return;
            }
        }
        let askers = self.by_blob.entry(blob).or_default();
        askers.retain(|(_, contact)| contact.public_key != from.public_key);
        if askers.len() >= ASKERS_MAX {
            askers.pop_front();
        }
        askers.push_back((now, from));
    }

    /// The most recent ones, except `but`.
    pub(crate) fn of(&self, now: Instant, blob: &BlobId, but: &PublicKey) -> Vec<Contact> {
        let askers = self.by_blob.get(blob).into_iter().flatten().rev();
        askers
            .filter(|(at, contact)| is_fresh(now, *at) && contact.public_key != *but)
            .map(|(_, contact)| *contact)
            .take(NEIGHBOURS_MAX)
            .collect()
    }
}

fn is_fresh(now: Instant, at: Instant) -> bool {
    now.since(at) < ASKER_LIFE
}

/// Streams that are served or wait.
#[derive(Debug, Default)]
pub(crate) struct Serves {
    active: BTreeMap<ServeId, PublicKey>,
    queue: VecDeque<(ServeId, PublicKey)>,
}

impl Serves {
    pub(crate) fn active(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn add(
        &mut self,
        config: &Config,
        serve: ServeId,
        from: PublicKey,
        out: &mut Vec<Output>,
    ) {
        let keys = self.active.values().chain(self.queue.iter().map(|(_, key)| key));
        let own = keys.filter(|key| **key == from).count();
        if own >= config.serves_per_peer || self.queue.len() >= config.queue_max {
            out.push(Output::Refuse { serve, reason: Refusal::Busy });
            return;
        }
        self.queue.push_back((serve, from));
        self.proceed(config, out);
    }

    pub(crate) fn over(&mut self, config: &Config, serve: ServeId, out: &mut Vec<Output>) {
        self.active.remove(&serve);
        self.queue.retain(|(waiting, _)| *waiting != serve);
        self.proceed(config, out);
    }

    /// Starts waiting streams, beginning with the nodes that have the fewest active streams.
    fn proceed(&mut self, config: &Config, out: &mut Vec<Output>) {
        while self.active.len() < config.serves_max {
            let served = |key: &PublicKey| self.active.values().filter(|each| *each == key).count();
            let next = (0..self.queue.len()).min_by_key(|place| served(&self.queue[*place].1));
            let Some((serve, from)) = next.and_then(|place| self.queue.remove(place)) else {
                return;
            };
            self.active.insert(serve, from);
            out.push(Output::Serve { serve });
        }
    }
}

/// The times of the announcements.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    due: BTreeSet<(Instant, BlobId)>,
    /// When each is due, and its number of consecutive failures.
    roots: BTreeMap<BlobId, (Instant, u32)>,
    under_way: Option<BlobId>,
    /// Whether the announcement in progress is outdated.
    outdated: bool,
    next: Instant,
}

impl Announcements {
    /// Announces `root` at `at`, if there is room for it.
    pub(crate) fn set(&mut self, root: BlobId, at: Instant) {
        if self.roots.len() < ANNOUNCED_MAX || self.contains(&root) || root == many_root() {
            self.set_after(root, at, 0);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether no announcement is in progress or due.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.under_way.is_none() && self.due.first().is_none_or(|(at, _)| *at > now)
    }

    fn set_after(&mut self, root: BlobId, at: Instant, failures: u32) {
        self.remove(&root);
        self.due.insert((at, root));
        self.roots.insert(root, (at, failures));
    }

    pub(crate) fn remove(&mut self, root: &BlobId) {
        if let Some((at, _)) = self.roots.remove(root) {
            self.due.remove(&(at, *root));
        }
    }

    pub(crate) fn contains(&self, root: &BlobId) -> bool {
        self.roots.contains_key(root)
    }

    /// Renews all announcements at a fixed pause, beginning with those that are due first.
    pub(crate) fn again(&mut self, now: Instant) {
        self.outdated = self.under_way.is_some();
        let roots: Vec<(Instant, BlobId)> = self.due.iter().copied().collect();
        for (index, (due, root)) in roots.into_iter().enumerate() {
            let failures = self.roots.get(&root).map_or(0, |(_, failures)| *failures);
            let at = now + AGAIN_PAUSE * u32::try_from(index).unwrap_or(u32::MAX);
            if at < due {
                self.set_after(root, at, failures);
            }
        }
    }

    /// The next root to announce now. One announcement is in progress at a time.
    pub(crate) fn take(&mut self, now: Instant) -> Option<BlobId> {
        if self.under_way.is_some() || now < self.wake()? {
            return None;
        }
        let (_, root) = *self.due.first()?;
        self.under_way = Some(root);
        self.outdated = false;
        Some(root)
    }

    pub(crate) fn on_announced(&mut self, now: Instant, root: BlobId, done: bool, pause: Duration) {
        if self.under_way == Some(root) {
            self.under_way = None;
            self.next = now + ANNOUNCE_PAUSE;
        }
        match self.roots.get(&root) {
            Some(_) if done && std::mem::take(&mut self.outdated) => {
                self.set(root, now + AGAIN_PAUSE);
            }
            Some(_) if done => self.set(root, now + pause),
            Some((_, failures)) => {
                let failures = failures + 1;
                let retry = ANNOUNCE_RETRY * (1 << (failures - 1).min(10));
                self.set_after(root, now + retry.min(pause), failures);
            }
            None => {}
        }
    }

    pub(crate) fn wake(&self) -> Option<Instant> {
        let (at, _) = self.due.first().filter(|_| self.under_way.is_none())?;
        Some((*at).max(self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contact;

    fn served(out: &mut Vec<Output>) -> Vec<u64> {
        out.drain(..)
            .filter_map(|output| match output {
                Output::Serve { serve } => Some(serve.0),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn streams_wait_for_a_place_and_no_peer_takes_all_places() {
        let config =
            Config { serves_max: 2, serves_per_peer: 3, queue_max: 3, ..Config::default() };
        let (mut serves, mut out) = (Serves::default(), Vec::new());
        let (greedy, modest) = (contact(1).public_key, contact(2).public_key);
        for serve in 0..4 {
            serves.add(&config, ServeId(serve), greedy, &mut out);
        }
        assert_eq!(out.pop(), Some(Output::Refuse { serve: ServeId(3), reason: Refusal::Busy }));
        assert_eq!(served(&mut out), [0, 1]);
        serves.add(&config, ServeId(4), modest, &mut out);
        serves.over(&config, ServeId(0), &mut out);
        assert_eq!(served(&mut out), [4], "who is served least comes first");
        serves.over(&config, ServeId(2), &mut out);
        serves.over(&config, ServeId(1), &mut out);
        assert_eq!((served(&mut out), serves.active(), serves.waiting()), (vec![], 1, 0));
    }

    #[test]
    fn askers_are_named_for_a_minute_and_never_to_themselves() {
        let mut askers = Askers::default();
        let blob = BlobId::of(b"x");
        for number in 0..40 {
            askers.note(Instant::ZERO, blob, contact(number));
        }
        let named = askers.of(Instant::ZERO, &blob, &contact(39).public_key);
        assert_eq!(named.len(), NEIGHBOURS_MAX);
        assert!(!named.contains(&contact(39)) && named.contains(&contact(38)));
        assert!(askers.of(Instant::ZERO + ASKER_LIFE, &blob, &contact(0).public_key).is_empty());
        for number in 0..2 * ASKED_MAX {
            askers.note(Instant::ZERO, BlobId::of(&number.to_be_bytes()), contact(1));
        }
        assert!(askers.by_blob.len() <= ASKED_MAX);
    }

    #[test]
    fn announcements_go_one_at_a_time_and_come_again() {
        let mut due = Announcements::default();
        let (one, other) = (BlobId::of(b"1"), BlobId::of(b"2"));
        due.set(one, Instant::ZERO);
        due.set(other, Instant::ZERO + ANNOUNCE_PAUSE / 2);
        assert_eq!(due.take(Instant::ZERO), Some(one));
        assert_eq!((due.take(Instant::ZERO + ANNOUNCE_PAUSE), due.wake()), (None, None));
        let hour = Duration::from_secs(3600);
        due.on_announced(Instant::ZERO, one, true, hour);
        assert_eq!(due.wake(), Some(Instant::ZERO + ANNOUNCE_PAUSE));
        assert_eq!(due.take(Instant::ZERO + ANNOUNCE_PAUSE), Some(other));
        due.remove(&other);
        due.on_announced(Instant::ZERO + ANNOUNCE_PAUSE, other, false, hour);
        assert_eq!(due.wake(), Some(Instant::ZERO + hour));
    }

    #[test]
    fn after_a_change_of_address_all_is_announced_again_five_a_second() {
        let hour = Duration::from_secs(3600);
        let mut due = Announcements::default();
        let roots: Vec<BlobId> = (0_u8..20).map(|number| BlobId::of(&[number])).collect();
        for root in &roots {
            due.set(*root, Instant::ZERO + hour);
        }
        let now = Instant::ZERO + Duration::from_secs(9);
        due.again(now);
        for _ in 0..roots.len() {
            let at = due.wake().unwrap();
            assert!(at < now + Duration::from_secs(5));
            let root = due.take(at).unwrap();
            due.on_announced(at, root, true, hour);
        }
        assert!(due.wake().unwrap() > now + hour / 2);
        // An announcement with the old address that was in progress is repeated.
        let at = due.wake().unwrap();
        let root = due.take(at).unwrap();
        due.again(at);
        due.on_announced(at, root, true, hour);
        let again = due.roots.get(&root).map(|(due, _)| due.since(at));
        assert_eq!(again, Some(AGAIN_PAUSE));
    }

    #[test]
    fn an_announcement_that_fails_is_tried_again_ever_more_seldom() {
        let (mut due, root) = (Announcements::default(), BlobId::of(b"1"));
        let hour = Duration::from_secs(3600);
        let mut now = Instant::ZERO;
        due.set(root, now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(due.take(now), Some(root));
            due.on_announced(now, root, false, hour);
            let next = due.wake().expect("tried again");
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    }
}
