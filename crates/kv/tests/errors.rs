//! Each error that a read or write can return, with its cause: a script plays the routing table,
//! the disk and the other nodes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{
    Admission, Contact, Identity, Instant, Key, Machine as _, NetworkId, Peer, UnixMillis,
};
use potluck_kv::{
    Command, CommandError, CommandId, Config, Input, Kv, Output, Put, Reply, WriteContext,
};
use potluck_record::limits::VALUE_BYTES_MAX;
use potluck_record::{
    Context, Dot, Draft, Envelope, EnvelopeId, Kind, Merged, Name, Place, Space, StateDigest,
    StorageFailure, StorageOp, StorageReply,
};
use potluck_wire::{Loaded, RecordAnswer, Refusal, Request, Response, StoreOutcome};

/// What the wall clock of the node shows.
const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR_MS: u64 = 3_600_000;
/// Outputs and timeouts of one command; the longest here needs about sixty.
const STEPS_MAX: usize = 1_000;

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

fn peer(number: u8) -> Peer {
    let address = SocketAddr::from(([10, 0, 0, number], 1));
    Contact::new(identity(number).public_key(), address).in_network(&network())
}

fn name() -> Name {
    Name::new("a").expect("a name")
}

fn key() -> Key {
    Space::Commons.key(&name()).expect("a key")
}

/// The first dot of a time.
fn dot_at(at: UnixMillis) -> Dot {
    Dot::next(Dot::ZERO, at)
}

fn config() -> Config {
    Config { replication: 3, ..Config::default() }
}

/// A node, and the scripted answers of everything around it.
struct Script {
    kv: Kv,
    now: Instant,
    /// What each of the four other nodes says of the record; `None`: nothing.
    found: Option<RecordAnswer>,
    /// What each of them answers to a store; `None`: nothing.
    stored: Option<StoreOutcome>,
    /// What the disk answers to a merge of an own envelope, instead of taking it.
    merged: Option<StorageReply>,
    /// What the disk answers to a load, instead of nothing.
    loaded: Option<StorageReply>,
    /// Envelopes that were taken back.
    taken_back: usize,
}

impl Script {
    /// A node that keeps records of others, in a network where nothing is written yet.
    fn new() -> Self {
        Self::with(true, config())
    }

    /// The same without a replica of its own.
    fn client() -> Self {
        Self::with(false, config())
    }

    fn with(serves: bool, config: Config) -> Self {
        let mut kv = Kv::new(identity(1), network(), peer(1), serves, config);
        let now = Instant::ZERO + Duration::from_secs(1);
        kv.handle(now, Input::WallClock { now: WALL, offset: 0 });
        kv.handle(now, Input::Members(5));
        Self {
            kv,
            now,
            found: Some(heads(&[])),
            stored: Some(StoreOutcome::Stored(StateDigest::EMPTY)),
            merged: None,
            loaded: None,
            taken_back: 0,
        }
    }

    fn run(&mut self, command: Command) -> Reply {
        self.kv.handle(self.now, Input::Command { id: CommandId(1), command });
        for _ in 0..STEPS_MAX {
            match self.kv.poll_output() {
                Some(Output::Reply { reply, .. }) => return reply,
                Some(output) => self.answer(output),
                None => {
                    let next = self.kv.poll_timeout().expect("it waits for something");
                    self.now = self.now.max(next.at);
                    self.kv.handle(self.now, Input::Timeout);
                }
            }
        }
        panic!("no reply");
    }

    fn answer(&mut self, output: Output) {
        match output {
            Output::Lookup { id: lookup, .. } => {
                let closest: Vec<Peer> = (2..=5).map(peer).collect();
                for from in closest.clone() {
                    let record = self.found.clone();
                    self.kv.handle(self.now, Input::Found { lookup, from, record });
                }
                self.kv.handle(self.now, Input::LookupDone { lookup, closest, late: Vec::new() });
            }
            Output::Storage { id, op } => {
                let reply = self.of_disk(&op);
                self.kv.handle(self.now, Input::Stored { id, reply });
            }
            Output::Ask { id: ask, request, .. } => {
                let response = match request {
                    Request::Store { .. } => {
                        self.stored.map(|outcome| Response::Stored { outcomes: vec![outcome] })
                    }
                    _ => Some(Response::Loaded(Loaded::default())),
                };
                let input = match response {
                    Some(response) => Input::Answered { ask, response },
                    None => Input::Failed { ask },
                };
                self.kv.handle(self.now, input);
            }
            _ => {}
        }
    }

    /// The disk has room for own envelopes, and none for replicas.
    fn of_disk(&mut self, op: &StorageOp) -> StorageReply {
        let taken = StorageReply::Merged { outcome: Merged::Newer, digest: StateDigest::EMPTY };
        match op {
            StorageOp::Merge { place: Place::Own, .. } => self.merged.clone().unwrap_or(taken),
            StorageOp::Merge { .. } => StorageReply::Failed(StorageFailure::Full),
            StorageOp::TakeBack { .. } => {
                self.taken_back += 1;
                StorageReply::Removed
            }
            StorageOp::Load { .. } => {
                self.loaded.clone().unwrap_or(StorageReply::Loaded { envelopes: Vec::new() })
            }
            _ => StorageReply::Removed,
        }
    }

    fn fails(&mut self, command: Command) -> CommandError {
        match self.run(command) {
            Reply::Failed(error) => error,
            reply => panic!("{reply:?}"),
        }
    }
}

fn put() -> Put {
    Put {
        space: Space::Commons,
        name: Some(name()),
        kind: None,
        value: Some(Bytes::from_static(b"value")),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    }
}

fn get() -> Command {
    Command::Get { key: key(), quorum: None }
}

/// What a node tells a writer of the record that holds these envelopes.
fn heads(envelopes: &[Envelope]) -> RecordAnswer {
    let digest = envelopes.iter().fold(StateDigest::EMPTY, |sum, one| sum.with(one.head()));
    let parts = envelopes.iter().map(|envelope| envelope.head().encode()).collect();
    RecordAnswer { digest, parts, complete: true }
}

/// One value of a writer, dated this long from now.
fn envelope(writer: u8, ahead_ms: u64) -> Envelope {
    let (dot, expires) =
        (dot_at(WALL.plus(Duration::from_millis(ahead_ms))), UnixMillis(WALL.0 + HOUR_MS));
    let draft = Draft {
        space: Space::Commons,
        name: Some(name()),
        kind: Kind::Siblings,
        values: vec![(dot, expires, Bytes::from_static(b"theirs"))],
        dot,
        context: Context::new(),
        expires,
        certificate: None,
    };
    Envelope::sign(&identity(writer), &network(), draft).expect("a good envelope")
}

#[test]
fn with_room_and_answers_a_write_is_written_and_a_read_is_read() {
    assert!(matches!(Script::new().run(Command::Put(put())), Reply::Written(_)));
    assert!(matches!(Script::new().run(get()), Reply::Read(_)));
}

#[test]
fn what_breaks_a_limit_or_rule_is_refused_before_anything_is_sent() {
    let refused = |put: Put| Script::new().fails(Command::Put(put));
    let large = Some(Bytes::from(vec![0; VALUE_BYTES_MAX + 1]));
    assert!(matches!(refused(Put { value: large, ..put() }), CommandError::Draft(_)));
    let theirs = Space::Own(identity(9).public_key());
    assert!(matches!(refused(Put { space: theirs, ..put() }), CommandError::Draft(_)));
    assert!(matches!(refused(Put { name: None, ..put() }), CommandError::Draft(_)));
    let longest = config().life_max;
    let ttl = Some(longest + Duration::from_millis(1));
    assert_eq!(refused(Put { ttl, ..put() }), CommandError::TooLong(longest));
    let ahead = dot_at(UnixMillis(WALL.0 + HOUR_MS));
    let context: Context = [(identity(9).public_key(), ahead)].into_iter().collect();
    let put = Put { context: WriteContext::Given(context), ..put() };
    assert_eq!(refused(put), CommandError::BadContext);
}

#[test]
fn more_commands_than_the_limit_and_those_of_a_leaving_node_are_refused() {
    let mut full = Script::with(true, Config { commands_max: 0, ..config() });
    assert_eq!(full.fails(get()), CommandError::Busy);
    let mut leaving = Script::new();
    leaving.kv.handle(leaving.now, Input::Leave);
    assert_eq!(leaving.fails(Command::Put(put())), CommandError::Leaving);
}

#[test]
fn a_lookup_that_is_not_started_is_busy() {
    let mut script = Script::new();
    script.kv.handle(script.now, Input::Command { id: CommandId(1), command: get() });
    while let Some(output) = script.kv.poll_output() {
        match output {
            Output::Lookup { id, .. } => script.kv.handle(script.now, Input::LookupRefused(id)),
            Output::Reply { reply, .. } => {
                return assert_eq!(reply, Reply::Failed(CommandError::Busy));
            }
            other => script.answer(other),
        }
    }
    panic!("no reply");
}

#[test]
fn nobody_who_tells_is_unknown_and_all_who_say_nothing_is_there_make_it_absent() {
    for command in [get(), Command::Put(put())] {
        let mut script = Script { found: None, ..Script::client() };
        let error = script.fails(command);
        assert_eq!(error, CommandError::TooFewAnswers { answers: 0, needed: 3 });
    }
    let deletion = Command::Put(Put { value: None, ..put() });
    assert_eq!(Script::new().fails(deletion), CommandError::Absent);
}

#[test]
fn a_write_that_finds_siblings_writes_nothing() {
    let both = [envelope(8, 0), envelope(9, 0)];
    let mut script = Script { found: Some(heads(&both)), ..Script::new() };
    script.loaded = Some(StorageReply::Loaded { envelopes: both.to_vec() });
    let reply = script.run(Command::Put(put()));
    assert!(!matches!(reply, Reply::Written(_)), "{reply:?}");
    let stats = script.kv.stats();
    assert_eq!((stats.conflicts, stats.puts_written), (1, 0));
}

#[test]
fn replicas_that_do_not_answer_are_too_few_acknowledgements() {
    let mut script = Script { stored: None, ..Script::client() };
    let error = script.fails(Command::Put(put()));
    let few = CommandError::TooFewAcks { acks: 0, needed: 2, wanted: 3, members: 5 };
    assert_eq!(error, few);
}

#[test]
fn what_all_replicas_refuse_is_told_by_its_reason() {
    for reason in [Refusal::Full, Refusal::TooManyWriters, Refusal::Busy, Refusal::Life] {
        let refused = Some(StoreOutcome::Refused(reason));
        let mut script = Script { stored: refused, ..Script::client() };
        assert_eq!(script.fails(Command::Put(put())), CommandError::Refused(reason));
        while let Some(output) = script.kv.poll_output() {
            script.answer(output);
        }
        // A node that was busy may take it later, when it is handed on.
        let taken_back = if reason == Refusal::Busy { 0 } else { 2 };
        assert_eq!(script.taken_back, taken_back, "{reason:?}: as own envelope and as replica");
    }
}

#[test]
fn what_all_replicas_take_for_dated_ahead_is_the_clock_and_is_taken_back() {
    let refused = Some(StoreOutcome::Refused(Refusal::Ahead));
    let mut script = Script { stored: refused, ..Script::client() };
    assert_eq!(script.fails(Command::Put(put())), CommandError::ClockAhead);
    while let Some(output) = script.kv.poll_output() {
        script.answer(output);
    }
    assert_eq!(script.taken_back, 2, "as own envelope and as replica");
}

#[test]
fn a_clock_that_is_wrong_by_the_peers_or_by_the_records_writes_nothing() {
    let mut script = Script::new();
    let offset = -400_000;
    script.kv.handle(script.now, Input::WallClock { now: WALL, offset });
    assert_eq!(script.fails(Command::Put(put())), CommandError::ClockOff(offset));
    let ahead = [envelope(8, HOUR_MS / 2)];
    let mut script = Script { found: Some(heads(&ahead)), ..Script::new() };
    assert_eq!(script.fails(Command::Put(put())), CommandError::Clock);
}

#[test]
fn an_envelope_of_the_own_key_that_this_node_did_not_make_stops_its_writes() {
    let held = EnvelopeId { dot: dot_at(WALL), digest: [7; 16] };
    let older = Some(StoreOutcome::Older { digest: StateDigest::EMPTY, held });
    let mut script = Script { stored: older, ..Script::client() };
    assert_eq!(script.fails(Command::Put(put())), CommandError::LostOwn);
    script.stored = Some(StoreOutcome::Stored(StateDigest::EMPTY));
    assert_eq!(script.fails(Command::Put(put())), CommandError::LostOwn, "for good");
    // It may be met while reading as well, or by another part of the node.
    let mut script = Script { found: Some(heads(&[envelope(1, 0)])), ..Script::new() };
    assert_eq!(script.fails(Command::Put(put())), CommandError::LostOwn);
    let mut script = Script::new();
    script.kv.handle(script.now, Input::Elsewhere);
    assert_eq!(script.fails(Command::Put(put())), CommandError::LostOwn);
    assert!(matches!(script.run(get()), Reply::Read(_)), "reads go on");
}

#[test]
fn a_disk_that_does_not_take_it_is_told() {
    for failure in [StorageFailure::Full, StorageFailure::Stopped, StorageFailure::Corrupt] {
        let mut script = Script { merged: Some(StorageReply::Failed(failure)), ..Script::new() };
        assert_eq!(script.fails(Command::Put(put())), CommandError::Storage(failure));
    }
    let stopped = Some(StorageReply::Failed(StorageFailure::Stopped));
    let mut script = Script { loaded: stopped, ..Script::new() };
    let error = script.fails(Command::Put(put()));
    assert_eq!(error, CommandError::Storage(StorageFailure::Stopped));
}

/// What one of the closest nodes says that it has may be what was acknowledged last: the answers of
/// the others, who agree that there is nothing, do not end the read before it came.
#[test]
fn a_read_waits_for_what_one_node_says_that_it_has() {
    let theirs = envelope(9, 0);
    let held =
        RecordAnswer { complete: false, parts: Vec::new(), ..heads(std::slice::from_ref(&theirs)) };
    let mut script = Script::client();
    script.kv.handle(script.now, Input::Command { id: CommandId(1), command: get() });
    let (mut asked, mut replies) = (None, Vec::new());
    while let Some(output) = script.kv.poll_output() {
        match output {
            Output::Lookup { id: lookup, .. } => {
                let closest: Vec<Peer> = (2..=5).map(peer).collect();
                for from in closest.clone() {
                    let has = from == peer(5);
                    let record = Some(if has { held.clone() } else { heads(&[]) });
                    script.kv.handle(script.now, Input::Found { lookup, from, record });
                }
                script
                    .kv
                    .handle(script.now, Input::LookupDone { lookup, closest, late: Vec::new() });
            }
            Output::Ask { id, request: Request::Load(_), .. } => asked = Some(id),
            Output::Reply { reply, .. } => replies.push(reply),
            other => script.answer(other),
        }
    }
    assert_eq!(replies, [], "three of four said that there is nothing");
    let ask = asked.expect("it asks for what the fourth has");
    let envelopes = vec![theirs.encode()];
    let loaded = Loaded { envelopes, keys_done: 1, ..Loaded::default() };
    script.kv.handle(script.now, Input::Answered { ask, response: Response::Loaded(loaded) });
    let read = std::iter::from_fn(|| script.kv.poll_output()).find_map(|output| match output {
        Output::Reply { reply: Reply::Read(done), .. } => Some(done.reading.values),
        _ => None,
    });
    let values = read.expect("a reading");
    assert_eq!(values.iter().map(|value| &value.bytes[..]).collect::<Vec<_>>(), [b"theirs"]);
}
