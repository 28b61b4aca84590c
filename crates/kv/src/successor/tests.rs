use std::time::Duration;

use potluck_base::Admission;
use potluck_record::limits::LIFE_DEFAULT;
use potluck_record::{Name, ValueEntry};

use super::*;

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

/// The public key of the writer with this number; 1 is the node that writes.
fn writer(number: u8) -> PublicKey {
    identity(number).public_key()
}

fn after(wait: Duration) -> UnixMillis {
    WALL.plus(wait)
}

/// The end of a life that the writer chose, from a whole second on.
fn chosen(life: Duration) -> UnixMillis {
    UnixMillis(after(life).0 - 1)
}

fn before(ago: Duration) -> UnixMillis {
    UnixMillis(WALL.0 - ago.as_millis() as u64)
}

/// The first dot of a time.
fn dot(at: UnixMillis) -> Dot {
    Dot::next(Dot::ZERO, at)
}

fn context(entries: &[(u8, UnixMillis)]) -> Context {
    entries.iter().map(|(number, at)| (writer(*number), dot(*at))).collect()
}

fn put() -> Put {
    Put {
        space: Space::Commons,
        name: Some(Name::new("a").expect("a name")),
        kind: None,
        value: Some(Bytes::from_static(b"new")),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    }
}

fn provider() -> Put {
    Put { space: Space::Provider, ..put() }
}

fn content() -> Put {
    Put { space: Space::Content, name: None, ..put() }
}

/// An envelope of one value for each of these times, which live an hour.
fn envelope(number: u8, times: &[UnixMillis], change: impl FnOnce(&mut Draft)) -> Envelope {
    let values = times.iter().map(|at| (dot(*at), after(HOUR), Bytes::from_static(b"old")));
    let mut draft = Draft {
        space: Space::Commons,
        name: put().name,
        kind: Kind::Siblings,
        values: values.collect(),
        dot: times.iter().map(|at| dot(*at)).max().unwrap_or(dot(WALL)),
        context: Context::new(),
        expires: after(HOUR),
        certificate: None,
    };
    change(&mut draft);
    Envelope::sign(&identity(number), &network(), draft).expect("a good envelope")
}

fn one(number: u8) -> Envelope {
    envelope(number, &[before(MINUTE)], |_| {})
}

/// A node before it writes.
#[derive(Default)]
struct Node {
    config: Config,
    heads: State<SignedHead>,
    own: Option<Envelope>,
    taken_back: bool,
}

impl Node {
    fn of(read: &[Envelope], own: Option<Envelope>) -> Self {
        let heads = read.iter().chain(&own).map(|envelope| envelope.head().clone()).collect();
        Self { heads, own, ..Self::default() }
    }

    fn write(&self, put: &Put) -> Result<Envelope, CommandError> {
        let edit = Edit::of(put, &self.heads, WALL).expect("it is not ruled out");
        let (identity, network) = (&identity(1), &network());
        let writer = Writer { identity, network, certificate: None, config: &self.config };
        let own = OwnValues { envelope: self.own.as_ref(), taken_back: self.taken_back };
        successor(&writer, &Basis { heads: &self.heads, own }, put, &edit, WALL)
    }

    fn written(&self, put: &Put) -> Envelope {
        self.write(put).expect("it is signed")
    }
}

fn given(context: Context) -> Put {
    Put { context: WriteContext::Given(context), ..put() }
}

fn texts(envelope: &Envelope) -> Vec<Bytes> {
    envelope.values().map(|(_, bytes)| bytes).collect()
}

#[test]
fn a_first_write_has_the_time_of_the_clock_and_the_default_life() {
    let envelope = Node::default().written(&put());
    let head = envelope.head();
    assert_eq!(texts(&envelope), ["new"]);
    assert_eq!((head.dot(), head.values()[0].dot()), (dot(WALL), dot(WALL)));
    assert_eq!(head.expires(), after(LIFE_DEFAULT));
    assert_eq!((head.kind(), head.context()), (Kind::Siblings, &Context::new()));
    let short = Node::default().written(&Put { ttl: Some(MINUTE), ..put() });
    assert_eq!((short.head().expires(), short.head().values()[0].expires()), {
        (chosen(MINUTE), chosen(MINUTE))
    });
    let life = Node::default().written(&provider()).head().expires();
    assert_eq!(life, after(PROVIDER_LIFE));
}

#[test]
fn the_dot_follows_each_dot_of_this_writer_that_is_known_anywhere() {
    let late = after(MINUTE);
    let own = envelope(1, &[late], |_| {});
    let theirs = envelope(2, &[], |draft| draft.context = context(&[(1, late)]));
    for (known, node) in [
        ("in its own store", Node { own: Some(own.clone()), ..Node::default() }),
        ("at a replica", Node::of(std::slice::from_ref(&own), None)),
        ("in the context of another writer", Node::of(&[theirs], None)),
    ] {
        let blind = Put { context: WriteContext::Blind, ..put() };
        let next = node.written(&blind).head().dot();
        assert_eq!(next, Dot::next(dot(late), WALL), "{known}");
        assert!(next > dot(late), "{known}");
    }
}

#[test]
fn a_write_supersedes_what_it_read_and_lives_as_long() {
    let far = after(LIFE_DEFAULT - MINUTE);
    let theirs = envelope(2, &[before(MINUTE)], |draft| draft.expires = far);
    let node = Node::of(&[theirs], Some(one(1)));
    let short = Put { ttl: Some(MINUTE), ..put() };
    let conflicting = Edit::of(&short, &node.heads, WALL);
    assert_eq!(conflicting, Err(RuledOut::Conflict), "two values, and none is superseded");
    let both = context(&[(1, before(MINUTE)), (2, before(MINUTE))]);
    let envelope = node.written(&Put { ttl: Some(MINUTE), ..given(both.clone()) });
    assert_eq!((texts(&envelope), envelope.head().context()), (vec!["new".into()], &both));
    assert_eq!(envelope.head().expires(), far, "or the superseded value would come back");
}

#[test]
fn own_values_that_are_not_superseded_stay_with_their_dots_until_they_expire() {
    let times = [before(3 * MINUTE), before(2 * MINUTE), before(MINUTE)];
    let own = envelope(1, &times, |draft| draft.values[2].1 = WALL);
    let node = Node::of(&[], Some(own));
    let blind = node.written(&Put { context: WriteContext::Blind, ..put() });
    let dots: Vec<Dot> = blind.head().values().iter().map(ValueEntry::dot).collect();
    assert_eq!(dots, [dot(times[0]), dot(times[1]), dot(WALL)], "the third one has expired");
    let first = node.written(&given(context(&[(1, times[0])])));
    let dots: Vec<Dot> = first.head().values().iter().map(ValueEntry::dot).collect();
    assert_eq!(dots, [dot(times[1]), dot(WALL)]);
    assert_eq!(first.head().context(), &context(&[(1, times[0])]));
}

#[test]
fn an_envelope_lives_at_least_as_long_as_the_one_before_it() {
    let own = envelope(1, &[], |draft| draft.expires = after(HOUR));
    let node = Node::of(&[], Some(own));
    let short = |put: Put| node.written(&Put { ttl: Some(MINUTE), ..put }).head().expires();
    assert_eq!(short(put()), after(HOUR), "a tombstone may not be forgotten early");
    assert_eq!(short(content()), chosen(MINUTE), "content supersedes nothing");
    // The own envelope alone tells it, if nothing is superseded.
    let own = envelope(1, &[], |draft| draft.expires = after(HOUR));
    let alone = Node { own: Some(own), ..Node::default() };
    let blind = Put { ttl: Some(MINUTE), context: WriteContext::Blind, ..put() };
    assert_eq!(alone.written(&blind).head().expires(), after(HOUR));
}

#[test]
fn a_context_names_no_own_dot_that_does_not_exist_and_no_forgotten_one() {
    let forgotten = LIFE_DEFAULT + 10 * MINUTE;
    let node = Node::of(&[], Some(one(1)));
    let asked =
        context(&[(1, after(MINUTE)), (2, before(forgotten)), (3, before(forgotten - MINUTE))]);
    let signed = node.written(&given(asked)).head().context().clone();
    assert_eq!(signed, context(&[(1, before(MINUTE)), (3, before(forgotten - MINUTE))]));
    for (ago, kept) in [(forgotten, false), (forgotten - Duration::from_millis(1), true)] {
        let mut asked = Context::new();
        asked.raise_floor(dot(before(ago)));
        let floor = node.written(&given(asked.clone())).head().context().floor();
        assert_eq!(floor, if kept { asked.floor() } else { Dot::ZERO });
    }
}

#[test]
fn a_context_that_was_not_read_makes_a_write_live_as_long_as_any_record() {
    let node = Node::of(&[one(2)], None);
    let expires = |entries: &[(u8, UnixMillis)]| {
        let put = Put { ttl: Some(MINUTE), ..given(context(entries)) };
        node.written(&put).head().expires()
    };
    assert_eq!(expires(&[(2, before(MINUTE))]), after(HOUR), "as long as what was read");
    assert_eq!(expires(&[(2, WALL)]), after(LIFE_DEFAULT), "a newer version than was read");
    assert_eq!(expires(&[(3, before(MINUTE))]), after(LIFE_DEFAULT), "a writer not met");
    assert_eq!(expires(&[]), chosen(MINUTE), "nothing is superseded");
    // A version is read as well if another writer's context covers it.
    let merged = envelope(2, &[], |draft| draft.context = context(&[(3, before(MINUTE))]));
    let node = Node::of(&[merged, envelope(3, &[before(HOUR)], |_| {})], None);
    let put = Put { ttl: Some(MINUTE), ..given(context(&[(3, before(MINUTE))])) };
    assert_eq!(node.written(&put).head().expires(), after(HOUR));
}

#[test]
fn the_context_is_fitted_to_the_configured_entries() {
    let config = Config { context_entries_max: 2, ..Config::default() };
    let times = [before(4 * MINUTE), before(3 * MINUTE), before(2 * MINUTE)];
    let asked = context(&[(2, times[0]), (3, times[1]), (4, times[2])]);
    let node = Node { config, ..Node::default() };
    let signed = node.written(&given(asked)).head().context().clone();
    // One entry is left to the writer itself, for the next share that it may write.
    assert_eq!((signed.len(), signed.floor()), (1, dot(times[1])));
}

#[test]
fn unmerged_values_of_one_writer_are_of_one_kind() {
    let lww = Put { kind: Some(Kind::Lww), context: WriteContext::Blind, ..put() };
    let node = Node::of(&[], Some(one(1)));
    assert!(matches!(node.write(&lww), Err(CommandError::Draft(DraftError::Rule(_)))));
    let merged = Put { context: WriteContext::Read, ..lww.clone() };
    assert_eq!(node.written(&merged).head().kind(), Kind::Lww, "no value of the other kind stays");
    let full: Vec<UnixMillis> = (1..=8).rev().map(|ago| before(ago * MINUTE)).collect();
    let node = Node::of(&[], Some(envelope(1, &full, |_| {})));
    let blind = Put { context: WriteContext::Blind, ..put() };
    let error = node.write(&blind);
    assert_eq!(error, Err(CommandError::Draft(DraftError::TooManyValues(8))));
}

#[test]
fn an_envelope_that_was_taken_back_is_signed_again_with_dots_of_now() {
    let early = after(HOUR);
    let own = envelope(1, &[early, early.plus(MINUTE)], |draft| {
        draft.values[0].1 = after(3 * LIFE_DEFAULT);
        draft.context = context(&[(1, early), (2, early), (3, WALL)]);
        draft.expires = after(3 * LIFE_DEFAULT);
    });
    let node = Node { own: Some(own), taken_back: true, ..Node::default() };
    let blind = Put { context: WriteContext::Blind, ..put() };
    let envelope = node.written(&blind);
    let values = envelope.head().values();
    let dots = [dot(WALL), Dot::next(dot(WALL), WALL), Dot::from_raw(dot(WALL).raw() + 2)];
    assert_eq!(values.iter().map(ValueEntry::dot).collect::<Vec<_>>(), dots);
    assert_eq!(values[0].expires(), after(LIFE_DEFAULT));
    assert_eq!(envelope.head().expires(), after(LIFE_DEFAULT));
    assert_eq!(envelope.head().context(), &context(&[(3, WALL)]), "no entry that is future-dated");
    // The values that the write supersedes are named by the dots that they had.
    let replaced = node.written(&given(context(&[(1, early)])));
    assert_eq!(texts(&replaced).len(), 2, "the first of the two is gone");
    assert_eq!(replaced.head().values()[1].dot(), replaced.head().dot());
}

#[test]
fn a_provider_supersedes_its_own_values_and_content_keeps_none() {
    let own = |space| {
        let name = Some(put().name).filter(|_| space == Space::Provider).flatten();
        let value = put().value.expect("a value");
        let kind = if space == Space::Provider { Kind::PerWriter } else { Kind::Lww };
        envelope(1, &[before(MINUTE)], |draft| {
            (draft.space, draft.name, draft.kind, draft.values[0].2) = (space, name, kind, value);
        })
    };
    let node = Node::of(&[], Some(own(Space::Provider)));
    let next = node.written(&provider());
    assert_eq!((next.head().kind(), texts(&next).len()), (Kind::PerWriter, 1));
    assert_eq!(next.head().context(), &context(&[(1, before(MINUTE))]));
    // Without an own envelope nothing is added to the context of the write.
    let told = Node::of(&[own(Space::Provider)], None).written(&provider());
    assert!(told.head().context().is_empty());
    let node = Node::of(&[], Some(own(Space::Content)));
    let next = node.written(&content());
    assert_eq!((next.head().kind(), texts(&next).len()), (Kind::Lww, 1));
    assert!(next.head().context().is_empty(), "the same content needs no version");
    assert!(next.head().dot() > dot(before(MINUTE)));
}

#[test]
fn an_envelope_that_every_replica_would_refuse_is_not_signed() {
    let own = |ahead| Node::of(&[], Some(envelope(1, &[after(ahead)], |_| {})));
    assert!(own(CLOCK_AHEAD_MAX - MINUTE).write(&put()).is_ok());
    assert_eq!(own(CLOCK_AHEAD_MAX + MINUTE).write(&put()), Err(CommandError::Clock));
}

#[test]
fn what_was_read_decides_whether_a_write_is_ruled_out() {
    let lww = |number| envelope(number, &[before(MINUTE)], |draft| draft.kind = Kind::Lww);
    let delete = |put: Put| Put { value: None, ..put };
    let blind = || Put { context: WriteContext::Blind, ..put() };
    let theirs = |at| given(context(&[(2, at)]));
    let gone = envelope(2, &[], |_| {});
    let table = [
        ("one value", vec![one(2)], put(), None),
        ("two values", vec![one(2), one(3)], put(), Some(RuledOut::Conflict)),
        ("two values of which the newest wins", vec![lww(2), lww(3)], put(), None),
        ("values of both kinds", vec![lww(2), one(3)], put(), Some(RuledOut::Conflict)),
        ("two values and a blind write", vec![one(2), one(3)], blind(), None),
        ("two values and a given context", vec![one(2), one(3)], theirs(WALL), None),
        ("two providers", vec![one(2), one(3)], provider(), None),
        ("nothing to delete", vec![], delete(put()), Some(RuledOut::Absent)),
        ("a tombstone to delete", vec![gone.clone()], delete(put()), Some(RuledOut::Absent)),
        ("a value to delete", vec![one(2)], delete(put()), None),
        ("nothing to delete blindly", vec![], delete(blind()), Some(RuledOut::Absent)),
        ("a blind deletion", vec![one(2)], delete(blind()), Some(RuledOut::Conflict)),
        ("an old deletion", vec![one(2)], delete(theirs(before(HOUR))), Some(RuledOut::Conflict)),
        ("a deletion of what is read", vec![one(2)], delete(theirs(before(MINUTE))), None),
        ("a deletion of what is gone", vec![gone], delete(theirs(WALL)), Some(RuledOut::Absent)),
    ];
    for (case, read, put, ruled_out) in table {
        let heads = read.iter().map(|envelope| envelope.head().clone()).collect();
        assert_eq!(Edit::of(&put, &heads, WALL).err(), ruled_out, "{case}");
    }
}

#[test]
fn the_kind_is_that_of_the_space_the_write_or_the_record() {
    let lww = envelope(2, &[before(MINUTE)], |draft| draft.kind = Kind::Lww);
    let unknown = envelope(2, &[before(MINUTE)], |draft| draft.kind = Kind::Unknown(9));
    let asked = |kind| Put { kind: Some(kind), ..put() };
    let table = [
        ("by default", vec![], put(), Kind::Siblings),
        ("of the record", vec![lww.clone()], put(), Kind::Lww),
        ("of the write", vec![lww.clone()], asked(Kind::Siblings), Kind::Siblings),
        ("of the write to nothing", vec![], asked(Kind::Lww), Kind::Lww),
        ("of a newer version", vec![unknown], put(), Kind::Siblings),
        ("of a provider", vec![lww], provider(), Kind::PerWriter),
        ("of content", vec![], content(), Kind::Lww),
    ];
    for (case, read, put, kind) in table {
        let heads = read.iter().map(|envelope| envelope.head().clone()).collect();
        assert_eq!(Edit::of(&put, &heads, WALL).map(|edit| edit.kind), Ok(kind), "{case}");
    }
}

#[test]
fn each_limit_of_a_write_is_refused_beyond_it_alone() {
    let config = Config { value_bytes_max: 10, ..Config::default() };
    let check = |put: &Put| check(&writer(1), &config, put, WALL).err();
    let long = |bytes| Put { value: Some(vec![0; bytes].into()), ..put() };
    assert_eq!(check(&long(10)), None);
    assert_eq!(check(&long(11)), Some(DraftError::ValueTooLarge(11).into()));
    let lives = |ttl| Put { ttl: Some(ttl), ..put() };
    assert_eq!(check(&lives(LIFE_DEFAULT)), None);
    let longer = lives(LIFE_DEFAULT + Duration::from_millis(1));
    assert_eq!(check(&longer), Some(CommandError::TooLong(LIFE_DEFAULT)));
    let latest = after(CLOCK_AHEAD_MAX);
    let later = latest.plus(Duration::from_millis(1));
    let mut floor = Context::new();
    floor.raise_floor(dot(later));
    assert_eq!(check(&given(context(&[(2, latest)]))), None);
    assert_eq!(check(&given(context(&[(2, later)]))), Some(CommandError::BadContext));
    assert_eq!(check(&given(context(&[(1, later)]))), None, "its own clock ran ahead");
    assert_eq!(check(&given(floor)), Some(CommandError::BadContext));
    let own = |number| Put { space: Space::Own(writer(number)), ..put() };
    assert_eq!(check(&own(1)), None);
    assert!(matches!(check(&own(2)), Some(CommandError::Draft(DraftError::Rule(_)))));
}

#[test]
fn the_key_is_that_of_the_name_or_of_the_content() {
    let key = |put: &Put| check(&writer(1), &Config::default(), put, WALL).ok();
    let name = put().name.expect("a name");
    assert_eq!(key(&put()), Space::Commons.key(&name));
    assert_eq!(key(&content()), Some(Space::content_key(b"new")));
    assert_eq!(key(&Put { name: None, ..put() }), None);
    assert_eq!(key(&Put { name: Some(name), ..content() }), None, "content has no name");
    assert_eq!(key(&Put { value: None, ..content() }), None, "nothing has no key");
}
