use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Admission, Contact, Identity, NetworkId};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, Name, OpId, Reading, State, StorageOp, StorageReply,
};

use super::life::{fixed, renewable};
use super::renewed::renewed;
use super::*;
use crate::event::Output;
use crate::own_values::OwnValues;
use crate::successor::{Basis, Writer};

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
const LIFE: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

fn network() -> NetworkId {
    NetworkId::new("t", Admission::Lab, None)
}

fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

fn core(republish: Option<Duration>) -> Core {
    let config = Config { life_default: LIFE, republish_interval: republish, ..Config::default() };
    let me = Contact::new(identity(1).public_key(), ([127, 0, 0, 1], 1).into());
    let mut core = Core::new(identity(1), network(), me.in_network(&network()), true, config);
    core.set_wall(Instant::ZERO, WALL, 0);
    core
}

/// An envelope of one value, written at `at`, that ends at `ends`.
fn envelope(writer: u8, name: &str, at: UnixMillis, ends: UnixMillis) -> Envelope {
    changed(writer, name, at, ends, |_| {})
}

fn changed(
    writer: u8,
    name: &str,
    at: UnixMillis,
    ends: UnixMillis,
    change: impl FnOnce(&mut Draft),
) -> Envelope {
    let dot = Dot::next(Dot::ZERO, at);
    let mut draft = Draft {
        space: Space::Commons,
        name: Name::new(name).ok(),
        kind: Kind::Siblings,
        values: vec![(dot, ends, Bytes::from_static(b"v"))],
        dot,
        context: Context::new(),
        expires: ends,
        certificate: None,
    };
    change(&mut draft);
    Envelope::sign(&identity(writer), &network(), draft).expect("a good envelope")
}

/// The renewal of one node over its own records, in virtual time.
struct World {
    core: Core,
    renewal: Renewal,
    own: BTreeMap<Key, Envelope>,
    now: Instant,
    /// Rewrites under way at most.
    most: usize,
}

impl World {
    fn new(core: Core, own: impl IntoIterator<Item = Envelope>) -> Self {
        let renewal = Renewal::new(&core);
        let own = own.into_iter().map(|it| (it.head().key(), it)).collect();
        Self { core, renewal, own, now: Instant::ZERO, most: 0 }
    }

    fn scan(&mut self, id: OpId, from: Key, limit: u32) {
        let mut rows = self.own.range(from..);
        let heads = rows.by_ref().take(limit as usize).map(|(_, it)| it.head().clone()).collect();
        let reply = StorageReply::OwnHeads { heads, next: rows.next().map(|(key, _)| *key) };
        match self.core.take_op(id) {
            Some(OpPurpose::RenewalScan) => self.renewal.on_page(&self.core, self.now, reply),
            Some(OpPurpose::CensusScan) => {
                self.renewal.on_census_page(&self.core, self.now, &reply);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Goes on until `end`; gives the rewrites with their times. Each is answered after half a second by
    /// `done`.
    fn until(
        &mut self,
        end: Duration,
        mut done: impl FnMut(&mut Self, &Rewrite) -> Reply,
    ) -> Vec<(Instant, Rewrite)> {
        let end = Instant::ZERO + end;
        let mut rewrites = Vec::new();
        let mut waiting: Vec<(Instant, CommandId, Rewrite)> = Vec::new();
        loop {
            let next = self.renewal.deadline().map(|deadline| deadline.at);
            let answered = waiting.iter().map(|(at, ..)| *at).min();
            let Some(at) = next.into_iter().chain(answered).min().filter(|at| *at <= end) else {
                self.now = end;
                return rewrites;
            };
            self.now = at.max(self.now);
            let (over, rest) = waiting.into_iter().partition(|(at, ..)| *at <= self.now);
            waiting = rest;
            for (_, id, rewrite) in over {
                let reply = done(self, &rewrite);
                self.renewal.on_reply(&mut self.core, id, &reply);
            }
            while let Some((id, rewrite)) = self.renewal.on_timeout(&mut self.core, self.now) {
                rewrites.push((self.now, rewrite.clone()));
                waiting.push((self.now + SECOND / 2, id, rewrite));
            }
            self.most = self.most.max(waiting.len());
            while let Some(output) = self.core.outbox.pop_front() {
                if let Output::Storage { id, op: StorageOp::ScanOwn { from, limit } } = output {
                    self.scan(id, from, limit);
                }
            }
        }
    }

    /// Signs the record of a rewrite again.
    fn renews(&mut self, rewrite: &Rewrite) -> Reply {
        let (key, wall) = (rewrite.head.key(), self.core.wall(self.now));
        let heads = State::new();
        let own = OwnValues { envelope: self.own.get(&key), taken_back: false };
        let signed = renewed(&writer(&self.core), &Basis { heads: &heads, own }, wall);
        match signed {
            Ok(envelope) => {
                let head = envelope.head();
                let written = crate::command::Written {
                    key,
                    version: head.dot(),
                    acks: 1,
                    wanted: 1,
                    members: 1,
                    expires: head.expires(),
                    replicas: Vec::new(),
                };
                self.own.insert(key, envelope);
                Reply::Written(written)
            }
            Err(error) => Reply::Failed(error),
        }
    }
}

fn writer(core: &Core) -> Writer<'_> {
    Writer {
        identity: &core.identity,
        network: &core.network,
        certificate: None,
        config: &core.config,
    }
}

fn busy(_: &mut World, _: &Rewrite) -> Reply {
    Reply::Failed(CommandError::Busy)
}

#[test]
fn a_record_is_renewed_at_half_its_life_again_and_again() {
    let own = envelope(1, "a", WALL, renewable(WALL, LIFE));
    let dots = |own: &Envelope| own.head().values().iter().map(ValueOf::dot).collect::<Vec<_>>();
    let before = dots(&own);
    let key = own.head().key();
    let mut world = World::new(core(None), [own]);
    assert!(world.until(LIFE / 2 - SECOND, World::renews).is_empty(), "not before");
    let rewrites = world.until(LIFE * 5, World::renews);
    // A pass begins every 12 s, give or take a fifth.
    let latest = Instant::ZERO + LIFE / 2 + 15 * SECOND;
    assert!(rewrites[0].0 <= latest, "{:?}", rewrites[0].0);
    assert!((8..=10).contains(&rewrites.len()), "half a life each: {}", rewrites.len());
    assert_eq!(dots(&world.own[&key]), before, "the value keeps its dot");
    assert!(world.own[&key].head().expires() > world.core.wall(world.now));
    assert_eq!(world.core.stats.rewrites_done, rewrites.len() as u64);
    assert_eq!((world.renewal.census().late(), world.renewal.census().expiring()), (0, 0));
}

/// So that the dots of values can be named by path.
use potluck_record::ValueEntry as ValueOf;

#[test]
fn a_record_with_a_life_of_its_own_ends_and_is_counted_before() {
    let own = [
        envelope(1, "short", WALL, fixed(WALL, LIFE)),
        envelope(1, "long", WALL, fixed(WALL, Duration::from_secs(30 * 86_400))),
        envelope(1, "stays", WALL, renewable(WALL, LIFE)),
    ];
    let mut world = World::new(core(None), own);
    world.until(5 * SECOND, busy);
    assert_eq!((world.renewal.census().records(), world.renewal.census().expiring()), (3, 1));
    let rewrites = world.until(LIFE * 2, World::renews);
    assert!(rewrites.iter().all(|(_, rewrite)| rewrite.head.name() == "stays"));
    assert_eq!((world.renewal.census().records(), world.renewal.census().expiring()), (2, 0));
}

#[test]
fn many_records_are_spread_over_time_with_four_under_way() {
    let own = (0..400).map(|n| envelope(1, &format!("r{n}"), WALL, renewable(WALL, LIFE)));
    let mut world = World::new(core(None), own);
    let rewrites = world.until(LIFE - SECOND, World::renews);
    assert_eq!(rewrites.len(), 400, "each once");
    assert!(world.most <= REWRITES_MAX, "{}", world.most);
    let half = Instant::ZERO + LIFE / 2;
    assert!(rewrites.iter().all(|(at, _)| *at >= half));
    let first_ten = rewrites.iter().filter(|(at, _)| *at < half + 10 * SECOND).count();
    assert!(first_ten < 40, "no storm at half-life: {first_ten}");
    let alive = world.own.values().all(|it| it.head().expires() > world.core.wall(world.now));
    assert!(alive, "all of them live on");
}

#[test]
fn a_node_that_cannot_renew_says_so_and_goes_on_trying() {
    let own = envelope(1, "a", WALL, renewable(WALL, LIFE));
    let mut world = World::new(core(None), [own]);
    world.until(LIFE / 2 + LIFE / 10, busy);
    assert_eq!(world.renewal.census().late(), 0);
    world.until(LIFE / 2 + LIFE / 10 + 70 * SECOND, busy);
    assert_eq!(world.renewal.census().late(), 1);
    assert_eq!(world.renewal.census().expiring(), 1, "it will end unless it is renewed");
    assert!(world.core.stats.rewrites_failed > 3, "{}", world.core.stats.rewrites_failed);
    world.until(LIFE - SECOND, World::renews);
    assert_eq!(world.renewal.census().late(), 0);
}

#[test]
fn with_a_republish_interval_every_record_is_stored_again_in_each() {
    let own = (0..50).map(|n| envelope(1, &format!("r{n}"), WALL, fixed(WALL, LIFE)));
    let mut world = World::new(core(Some(30 * SECOND)), own);
    world.until(60 * SECOND, busy);
    let rewrites = world.until(150 * SECOND, busy);
    let mut times: BTreeMap<Key, usize> = BTreeMap::new();
    for (_, rewrite) in &rewrites {
        assert_eq!(rewrite.task, Task::Republish);
        *times.entry(rewrite.head.key()).or_default() += 1;
    }
    assert_eq!(times.len(), 50);
    assert!(times.values().all(|times| (2..=4).contains(times)), "{times:?}");
    assert_eq!(world.renewal.republish_lag(&world.core, world.now), Duration::ZERO);
    // The store does not answer any more.
    world.renewal.scanning = true;
    let lag = world.renewal.republish_lag(&world.core, world.now + 120 * SECOND);
    assert!(lag > 30 * SECOND, "{lag:?}");
}

#[test]
fn what_is_superseded_or_deleted_is_not_renewed() {
    let core = core(None);
    let own = envelope(1, "a", WALL, renewable(WALL, LIFE));
    let now = WALL.plus(LIFE / 2);
    let delete = changed(2, "a", WALL.plus(SECOND), WALL.plus(LIFE * 2), |draft| {
        draft.values.clear();
        draft.context.cover(identity(1).public_key(), Dot::next(Dot::ZERO, WALL));
    });
    let heads: State<_> = [own.head().clone(), delete.head().clone()].into_iter().collect();
    let basis = |heads| Basis { heads, own: OwnValues { envelope: Some(&own), taken_back: false } };
    assert_eq!(renewed(&writer(&core), &basis(&heads), now), Err(CommandError::Absent));
    let alone: State<_> = [own.head().clone()].into_iter().collect();
    let again = renewed(&writer(&core), &basis(&alone), now).expect("it lives");
    assert_eq!(again.head().expires(), renewable(now, LIFE));
    assert!(potluck_record::state::succeeds(again.head(), own.head(), now));
    // One that was renewed before the delete was seen stays deleted as long as the delete lives.
    let state: State = [again.clone(), delete].into_iter().collect();
    assert!(Reading::of(&state, now).values.is_empty());
    assert_eq!(again.values().next().map(|(_, bytes)| bytes), Some(Bytes::from_static(b"v")));
}

#[test]
fn a_delete_lives_as_long_as_what_it_covers() {
    let core = core(None);
    let tombstone = changed(1, "a", WALL, renewable(WALL, LIFE), |draft| {
        draft.values.clear();
        draft.context.cover(identity(2).public_key(), Dot::next(Dot::ZERO, WALL));
    });
    let own = OwnValues { envelope: Some(&tombstone), taken_back: false };
    let now = WALL.plus(LIFE / 2);
    assert_eq!(due(&core.config, tombstone.head(), now), Due::Check);
    assert_eq!(due(&core.config, tombstone.head(), now.plus(LIFE / 10)), Due::No);
    let covered = |ends| {
        let value = envelope(2, "a", WALL, ends);
        let heads: State<_> = [value.head().clone()].into_iter().collect();
        renewed(&writer(&core), &Basis { heads: &heads, own }, now)
    };
    assert_eq!(covered(tombstone.head().expires()), Err(CommandError::Absent));
    let longer = WALL.plus(LIFE + 10 * SECOND);
    let again = covered(longer).expect("the value was renewed once more");
    assert_eq!(again.head().expires(), longer);
    assert!(again.head().values().is_empty() && !again.head().context().is_empty());
}
