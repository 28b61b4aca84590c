use potluck_base::{Admission, Identity, NetworkId};
use proptest::prelude::*;

use super::*;
use crate::{Context, Draft, Name, Reading, Space};

const NOW: UnixMillis = UnixMillis(1_000);
const WRITERS: usize = 4;

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

/// A writer with the state that it has read, as in the store of a node.
#[derive(Clone)]
struct Writer {
    identity: Identity,
    state: State<Envelope>,
}

impl Writer {
    fn new(number: usize) -> Self {
        Self { identity: Identity::from_seed([number as u8 + 1; 32]), state: State::new() }
    }

    fn me(&self) -> PublicKey {
        self.identity.public_key()
    }

    fn own(&self) -> Option<&Envelope> {
        self.state.of(&self.me())
    }

    fn first(&self) -> Dot {
        let last = self.own().map_or(Dot::ZERO, |own| own.head().dot());
        Dot::next(last.max(self.state.context().dot_of(&self.me())), NOW)
    }

    fn sign(&mut self, kind: Kind, dot: Dot, context: Context, value: Option<Bytes>) -> Envelope {
        let end = UnixMillis(u64::MAX);
        let draft = Draft {
            space: Space::Commons,
            name: Name::new("n").ok(),
            kind,
            values: value.into_iter().map(|value| (dot, end, value)).collect(),
            dot,
            context,
            expires: end,
            certificate: None,
        };
        let envelope = Envelope::sign(&self.identity, &network(), draft).expect("a good draft");
        self.state.merge(envelope.clone());
        envelope
    }

    fn operate(&mut self, operation: &Operation) -> Result<Envelope, ShareError> {
        let (me, kind) = (self.me(), operation.kind());
        let shares = Shares::of(&self.state, kind, NOW);
        let own = self.own().filter(|own| own.head().kind() == kind).and_then(|own| {
            let (_, bytes) = own.values().last()?;
            Share::decode(kind, &bytes).ok()
        });
        let author = Author {
            me,
            own: own.as_ref(),
            own_is_live: self.state.live(NOW).iter().any(|live| live.writer == me),
            shares: &shares,
            first: self.first(),
            forgotten: Dot::ZERO,
        };
        let (share, dot) = author.next(operation)?;
        let mut context = self.own().map_or_else(Context::new, |own| own.head().context().clone());
        if let Some(own) = self.own() {
            context.cover(me, own.head().dot());
        }
        Ok(self.sign(kind, dot, context, Some(share.encode())))
    }

    /// Deletes the record: covers everything that was read.
    fn delete(&mut self, kind: Kind) -> Envelope {
        let (dot, context) = (self.first(), self.state.context());
        self.sign(kind, dot, context, None)
    }
}

fn folded(state: &State<Envelope>) -> Option<Folded> {
    let reading = Reading::of(state, NOW);
    assert!(reading.values.len() <= 1, "one kind is one value");
    reading.values.into_iter().next().and_then(|value| value.folded)
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Action {
    Count(i64),
    /// Adds to the set or map the element or field with this number.
    Add(u8),
    Remove(u8),
    /// A message with an earlier envelope arrives again or late; the number selects it among all that were
    /// sent.
    Arrive(usize),
}

fn history() -> impl Strategy<Value = Vec<(usize, Action)>> {
    let action = prop_oneof![
        2 => (-5_i64..=5).prop_map(Action::Count),
        3 => (0_u8..4).prop_map(Action::Add),
        3 => (0_u8..4).prop_map(Action::Remove),
        4 => any::<usize>().prop_map(Action::Arrive),
    ];
    prop::collection::vec((0..WRITERS, action), 1..40)
}

/// A model of the additions of a set or map: no addition is forgotten, and a removal names the additions that
/// its writer had read.
#[derive(Default)]
struct Expected {
    /// Writer, envelope of the addition, name, value.
    additions: Vec<(usize, Dot, String, String)>,
    /// Indexes of additions that were removed, or replaced by their writer.
    gone: BTreeSet<usize>,
    count: i128,
}

impl Expected {
    /// Removes the additions of `name` that `writer` has read: those in envelopes of its state.
    fn remove(&mut self, writers: &[Writer], writer: usize, name: &str) {
        for (index, (by, dot, added, _)) in self.additions.iter().enumerate() {
            let read = writers[writer].state.of(&writers[*by].me());
            if added == name && read.is_some_and(|read| read.head().dot() >= *dot) {
                self.gone.insert(index);
            }
        }
    }

    /// The value that a reader of all messages sees.
    fn folded(&self, kind: Kind, writers: &[Writer]) -> Folded {
        match kind {
            Kind::Counter => Folded::Counter(self.count),
            Kind::Set => Folded::Set(self.alive().map(|(_, _, name, _)| name.clone()).collect()),
            _ => {
                let mut alive: Vec<_> = self.alive().collect();
                alive.sort_by_key(|(writer, dot, ..)| (*dot, writers[*writer].me()));
                let fields = alive.into_iter();
                Folded::Map(
                    fields
                        .map(|(_, _, name, value)| (name.clone(), value.clone().into()))
                        .collect(),
                )
            }
        }
    }

    fn alive(&self) -> impl Iterator<Item = &(usize, Dot, String, String)> {
        let all = self.additions.iter().enumerate();
        all.filter(|(index, _)| !self.gone.contains(index)).map(|(_, addition)| addition)
    }
}

/// The operation of an action, for the kinds that have it.
fn operation(kind: Kind, step: usize, action: &Action) -> Option<Operation> {
    Some(match action {
        Action::Count(by) if kind == Kind::Counter => Operation::Count(*by),
        Action::Add(it) if kind == Kind::Set => Operation::AddElements(vec![name(*it)]),
        Action::Add(it) if kind == Kind::Map => {
            Operation::SetField { field: name(*it), value: step.to_string().into() }
        }
        Action::Remove(it) if kind == Kind::Set => Operation::RemoveElements(vec![name(*it)]),
        Action::Remove(it) if kind == Kind::Map => Operation::UnsetField { field: name(*it) },
        Action::Arrive(_) | Action::Count(_) | Action::Add(_) | Action::Remove(_) => return None,
    })
}

fn name(number: u8) -> String {
    format!("e{number}")
}

/// Runs a history on records of one kind, and checks the folded value of all messages.
fn play(kind: Kind, history: &[(usize, Action)], order: &[usize]) -> Result<(), TestCaseError> {
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    let (mut sent, mut expected) = (Vec::<Envelope>::new(), Expected::default());
    for (step, (writer, action)) in history.iter().enumerate() {
        let writer = *writer;
        if let Action::Arrive(which) = action
            && !sent.is_empty()
        {
            let envelope = sent[which % sent.len()].clone();
            writers[writer].state.merge(envelope);
        }
        let Some(operation) = operation(kind, step, action) else { continue };
        match action {
            Action::Count(by) => expected.count += i128::from(*by),
            Action::Remove(it) => expected.remove(&writers, writer, &name(*it)),
            Action::Add(it) if kind == Kind::Map => expected.remove(&writers, writer, &name(*it)),
            Action::Add(_) | Action::Arrive(_) => {}
        }
        let envelope = writers[writer].operate(&operation).expect("within the limits");
        if let Action::Add(it) = action {
            // A writer keeps its last addition of an element.
            for (index, (by, _, added, _)) in expected.additions.iter().enumerate() {
                if *by == writer && *added == name(*it) {
                    expected.gone.insert(index);
                }
            }
            let addition = (writer, envelope.head().dot(), name(*it), step.to_string());
            expected.additions.push(addition);
        }
        sent.push(envelope);
    }
    let all: State<Envelope> = sent.iter().cloned().collect();
    let mut shuffled = State::new();
    for index in order.iter().map(|it| it % sent.len().max(1)).chain((0..sent.len()).rev()) {
        if let Some(envelope) = sent.get(index) {
            shuffled.merge(envelope.clone());
        }
    }
    prop_assert_eq!(&all, &shuffled, "any order, with duplicates");
    let mut joined = State::new();
    for writer in &writers {
        writer.state.iter().cloned().for_each(|it| {
            joined.merge(it);
        });
    }
    prop_assert_eq!(&all, &joined, "each writer has its own newest");
    let Some(found) = folded(&all) else {
        prop_assert!(sent.is_empty());
        return Ok(());
    };
    prop_assert_eq!(found, expected.folded(kind, &writers));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_counter_is_the_sum_whatever_the_order(
        history in history(), order in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        play(Kind::Counter, &history, &order)?;
    }

    #[test]
    fn a_set_has_what_was_added_and_not_removed_by_a_writer_that_had_read_it(
        history in history(), order in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        play(Kind::Set, &history, &order)?;
    }

    #[test]
    fn a_map_has_the_last_of_the_values_that_no_writer_has_read_and_replaced(
        history in history(), order in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        play(Kind::Map, &history, &order)?;
    }

    #[test]
    fn hostile_bytes_are_no_share_and_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0_u8..6,
    ) {
        let bytes = Bytes::from(bytes);
        if let Ok(share) = Share::decode(Kind::from_number(kind), &bytes) {
            prop_assert_eq!(Share::decode(Kind::from_number(kind), &share.encode()), Ok(share));
        }
    }
}

fn counted(writer: &mut Writer, by: i64) -> Envelope {
    writer.operate(&Operation::Count(by)).expect("counts")
}

fn add(writer: &mut Writer, element: &str) -> Envelope {
    writer.operate(&Operation::AddElements(vec![element.into()])).expect("adds")
}

fn set_of(elements: &[&str]) -> Option<Folded> {
    Some(Folded::Set(elements.iter().map(|it| (*it).to_owned()).collect()))
}

#[test]
fn a_deletion_ends_what_was_read_and_an_increment_that_it_had_not_read_keeps_its_share() {
    let (mut a, mut b) = (Writer::new(0), Writer::new(1));
    b.state.merge(counted(&mut a, 5));
    counted(&mut b, 3);
    assert_eq!(folded(&b.state), Some(Folded::Counter(8)));
    let deleted = b.delete(Kind::Counter);
    assert_eq!(folded(&b.state), None);
    // `a` counts without having read the deletion: all of its share counts again.
    b.state.merge(counted(&mut a, 1));
    assert_eq!(folded(&b.state), Some(Folded::Counter(6)));
    // After it has read a deletion it starts from zero; so does the node that deleted.
    let again = b.delete(Kind::Counter);
    a.state.merge(deleted);
    a.state.merge(again);
    b.state.merge(counted(&mut a, 2));
    assert_eq!(folded(&b.state), Some(Folded::Counter(2)));
    let last = counted(&mut b, 10);
    a.state.merge(last);
    assert_eq!(folded(&a.state), Some(Folded::Counter(12)));
}

#[test]
fn a_write_covers_no_value_of_another_writer_whatever_its_last_context() {
    let (mut a, mut b) = (Writer::new(0), Writer::new(1));
    b.state.merge(counted(&mut a, 5));
    b.delete(Kind::Counter);
    let after = counted(&mut b, 1);
    assert!(after.head().context().covers(&a.me(), a.own().expect("wrote").head().dot()));
    a.state.merge(after);
    // The deletion still covers what it covered, and nothing later.
    let later = counted(&mut a, 1);
    let covered = b.own().expect("wrote").head().context();
    assert!(!covered.covers(&a.me(), later.head().dot()));
    assert_eq!(folded(&a.state), Some(Folded::Counter(2)));
}

#[test]
fn a_removal_outlives_the_deletion_of_the_share_that_has_it() {
    let (mut a, mut b, mut c) = (Writer::new(0), Writer::new(1), Writer::new(2));
    let added = add(&mut a, "x");
    b.state.merge(added.clone());
    let removed = b.operate(&Operation::RemoveElements(vec!["x".into()])).expect("removes");
    // `c` deletes what it has read, and it has not read the addition.
    c.state.merge(removed);
    let deleted = c.delete(Kind::Set);
    for envelope in [added, deleted.clone()] {
        b.state.merge(envelope);
    }
    assert_eq!(folded(&b.state), set_of(&[]), "the share of `a` is there, its element is not");
    add(&mut b, "y");
    assert_eq!(folded(&b.state), set_of(&["y"]));
}

#[test]
fn a_removal_stays_while_the_addition_may_come_back() {
    let (mut a, mut b) = (Writer::new(0), Writer::new(1));
    let older = add(&mut a, "other");
    let added = add(&mut a, "x");
    b.state.merge(added.clone());
    b.operate(&Operation::RemoveElements(vec!["x".into()])).expect("removes");
    let own = b.own().expect("wrote").clone();
    // The replicas that answer the next reads do not have the addition yet.
    for stale in [vec![], vec![older]] {
        b.state = stale.into_iter().chain([own.clone()]).collect();
        add(&mut b, "y");
        b.state.merge(added.clone());
        assert_eq!(folded(&b.state), set_of(&["other", "y"]));
    }
}

#[test]
fn removals_and_removed_additions_are_dropped_when_all_have_read_them() {
    let (mut a, mut b) = (Writer::new(0), Writer::new(1));
    for number in 0..50 {
        b.state.merge(add(&mut a, &format!("e{number}")));
        let element = vec![format!("e{number}")];
        let removed = b.operate(&Operation::RemoveElements(element)).expect("removes");
        a.state.merge(removed);
    }
    let last = add(&mut a, "last");
    b.state.merge(last.clone());
    let removed = b.operate(&Operation::RemoveElements(vec!["none".into()])).expect("removes");
    for envelope in [last, removed] {
        let (_, bytes) = envelope.values().next().expect("a share");
        let Ok(Share::Set(entries)) = Share::decode(Kind::Set, &bytes) else { panic!("a set") };
        assert!(entries.len() <= 1, "{entries:?}");
    }
    assert_eq!(folded(&b.state), set_of(&["last"]));
}

#[test]
fn shares_over_a_limit_are_refused_by_name() {
    let mut a = Writer::new(0);
    for part in 0..4 {
        let elements = (0..256).map(|it| format!("{part}-{it}")).collect();
        a.operate(&Operation::AddElements(elements)).expect("up to the limit");
    }
    let more = Operation::AddElements(vec!["more".into()]);
    assert_eq!(a.operate(&more), Err(ShareError::ManyEntries(1025)));
    let mut b = Writer::new(1);
    let set = |field: &str, len: usize| Operation::SetField {
        field: field.into(),
        value: vec![0; len].into(),
    };
    b.operate(&set("a", 10_000)).expect("fits");
    assert!(matches!(b.operate(&set("b", 6_400)), Err(ShareError::Large(16_401..))));
    b.operate(&set("a", 6_400)).expect("takes the place of the first");
    let mut c = Writer::new(2);
    counted(&mut c, i64::MAX);
    counted(&mut c, i64::MAX);
    counted(&mut c, 1);
    let total = i128::from(u64::MAX);
    assert_eq!(c.operate(&Operation::Count(1)), Err(ShareError::CounterFull(total)));
    assert_eq!(folded(&c.state), Some(Folded::Counter(total)));
    counted(&mut c, i64::MIN);
    assert_eq!(folded(&c.state), Some(Folded::Counter(total - (1 << 63))));
}

#[test]
fn a_decoder_holds_shares_to_the_limits() {
    let removals = |dots: u64| {
        let mut entries = Entries::<()>::default();
        (0..dots).for_each(|dot| {
            entries.removals.insert(PublicKey::from_bytes([1; 32]), Dot::from_raw(dot + 1));
        });
        Share::Set(entries).encode()
    };
    let most = SHARE_ENTRIES_MAX as u64;
    assert!(Share::decode(Kind::Set, &removals(most)).is_ok());
    assert_eq!(Share::decode(Kind::Set, &removals(most + 1)), Err(ShareError::Malformed));
    let large = Bytes::from(vec![0; SHARE_BYTES_MAX + 1]);
    assert_eq!(Share::decode(Kind::Counter, &large), Err(ShareError::Malformed));
    let mut control = Entries::<()>::default();
    control.add("a\x1b[2J", Dot::from_raw(1), ());
    let control = Share::Set(control).encode();
    assert_eq!(Share::decode(Kind::Set, &control), Err(ShareError::Malformed));
    assert_eq!(Share::decode(Kind::Siblings, &removals(1)), Err(ShareError::Malformed));
}

#[test]
fn the_bytes_of_a_share_do_not_change() {
    let hex = |share: Share| data_encoding::HEXLOWER.encode(&share.encode());
    let counted = Counted::default().plus(5).and_then(|it| it.plus(-2)).expect("counts");
    assert_eq!(hex(Share::Counter(counted)), "a200050102");
    let mut set = Entries::<()>::default();
    set.add("a", Dot::from_raw(7), ());
    set.removals.insert(PublicKey::from_bytes([9; 32]), Dot::from_raw(3));
    let nines = "09".repeat(32);
    assert_eq!(
        hex(Share::Set(set)),
        format!("a2008182616107018182 5820{nines}8103").replace(' ', "")
    );
    let mut map = Entries::<Bytes>::default();
    map.add("f", Dot::from_raw(7), Bytes::from_static(b"v"));
    assert_eq!(hex(Share::Map(map)), "a20081836166074176 0180".replace(' ', ""));
}

#[test]
fn a_share_that_cannot_be_read_is_left_out_and_so_is_no_value_of_another_kind() {
    let (mut a, mut b, mut c) = (Writer::new(0), Writer::new(1), Writer::new(2));
    let bad = b.sign(Kind::Counter, Dot::from_raw(9), Context::new(), Some(vec![0xff; 40].into()));
    let sibling = c.sign(Kind::Siblings, Dot::from_raw(8), Context::new(), Some("v".into()));
    counted(&mut a, 4);
    a.state.merge(bad);
    assert_eq!(folded(&a.state), Some(Folded::Counter(4)));
    a.state.merge(sibling);
    let reading = Reading::of(&a.state, NOW);
    let kinds: Vec<Kind> = reading.values.iter().map(|value| value.kind).collect();
    assert_eq!(kinds, [Kind::Counter, Kind::Siblings], "mixed kinds come back with their kinds");
    assert_eq!(reading.values[0].bytes, "4");
}

#[test]
fn a_folded_value_is_json() {
    let set = Folded::Set(["b\"\\", "a"].map(String::from).into());
    assert_eq!(set.to_json(), r#"["a","b\"\\"]"#);
    let fields = [("f", &b"1\n"[..]), ("g", &[0xff])];
    let map = Folded::Map(fields.map(|(f, v)| (f.to_owned(), Bytes::from_static(v))).into());
    assert_eq!(map.to_json(), r#"{"f":"1\u000a","g":{"valueBase64":"/w=="}}"#);
    assert_eq!(Folded::Set(BTreeSet::new()).to_json(), "[]");
    assert_eq!(Folded::Counter(-7).to_json(), "-7");
}
