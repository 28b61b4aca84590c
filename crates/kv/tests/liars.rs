//! Three of the sixteen nodes closest to a key lie together: reads and writes of others come out right.
//!
//! One node reads or writes; the test plays its disk, its routing table and the sixteen replicas, three of which
//! lie in ways that are drawn: they show nothing, an old version, a state that cannot be fetched, versions dated
//! ahead, or contexts that they made up, and to a write they say whatever keeps the writer from it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{
    Admission, Contact, Identity, Instant, Key, Machine as _, NetworkId, Peer, PublicKey, Rng,
    UnixMillis,
};
use potluck_kv::{
    Command, CommandId, Config, Input, Kv, LookupId, Output, Put, Reply, WriteContext,
};
use potluck_record::{
    Context, Dot, Draft, Envelope, EnvelopeId, Kind, Merged, Name, Space, StateDigest, StorageOp,
    StorageReply,
};
use potluck_wire::{Loaded, RecordAnswer, Refusal, Request, Response, StoreOutcome, Want};

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
/// Records of which each is read and written while liars are among its replicas.
const TRIALS: u64 = 1000;
const LIARS: usize = 3;

fn network() -> NetworkId {
    NetworkId::new("liars", Admission::Lab, None)
}

fn key() -> Key {
    Space::Commons.key(&Name::new("a").expect("a name")).expect("a key")
}

/// The sixteen nodes closest to the key, closest first.
fn replicas() -> Vec<(Identity, Peer)> {
    let peer = |number: u8| {
        let identity = Identity::from_seed([number; 32]);
        let contact = Contact::new(identity.public_key(), ([10, 0, 0, number], 1).into());
        let peer = contact.in_network(&network());
        (identity, peer)
    };
    let mut all: Vec<_> = (1..=16).map(peer).collect();
    all.sort_by_key(|(_, peer)| peer.distance(&key()));
    all
}

fn sign(writer: &Identity, value: Option<&'static str>, dot: Dot, context: Context) -> Envelope {
    let expires = WALL.plus(Duration::from_secs(3600));
    let draft = Draft {
        space: Space::Commons,
        name: Name::new("a").ok(),
        kind: Kind::Siblings,
        values: value.map(|text| (dot, expires, text.into())).into_iter().collect(),
        dot,
        context,
        expires,
        certificate: None,
    };
    Envelope::sign(writer, &network(), draft).expect("a good envelope")
}

fn at(seconds: i64) -> Dot {
    Dot::next(Dot::ZERO, UnixMillis(WALL.0.saturating_add_signed(seconds * 1000)))
}

/// What liars show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Absent,
    Stale,
    /// A digest of a state that is not there.
    Unreadable,
    /// Versions that are dated days ahead.
    Future,
    /// A deletion of nothing, whose context has versions that were never written, also of the asker, as far
    /// ahead as is admitted.
    Invented,
}

const LIES: [Lie; 5] = [Lie::Absent, Lie::Stale, Lie::Unreadable, Lie::Future, Lie::Invented];

struct Trial {
    kv: Kv,
    me: Identity,
    rng: Rng,
    replicas: Vec<(Identity, Peer)>,
    liars: Vec<usize>,
    lie: Lie,
    /// What honest replicas hold, and what they held before.
    held: Vec<Envelope>,
    before: Vec<Envelope>,
}

impl Trial {
    fn new(number: u64, config: Config, replicas: &[(Identity, Peer)]) -> Self {
        let mut rng = Rng::from_number(number);
        let me = Identity::from_seed([0xee; 32]);
        let contact = Contact::new(me.public_key(), ([10, 0, 1, 1], 1).into());
        let peer = contact.in_network(&network());
        let kv = Kv::new(me.clone(), network(), peer, false, config);
        let writer = Identity::from_seed([0xdd; 32]);
        let before = sign(&writer, Some("old"), at(-60), Context::new());
        let held = sign(
            &writer,
            Some("new"),
            at(-30),
            [(writer.public_key(), at(-60))].into_iter().collect(),
        );
        let mut liars: Vec<usize> = (0..16).collect();
        rng.shuffle(&mut liars);
        liars.truncate(LIARS);
        let lie = LIES[rng.below(LIES.len() as u64) as usize];
        let (held, before) = (vec![held], vec![before]);
        let mut trial = Self { kv, me, rng, replicas: replicas.to_vec(), liars, lie, held, before };
        trial.kv.handle(Instant::ZERO, Input::WallClock { now: WALL, offset: 0 });
        trial.kv.handle(Instant::ZERO, Input::Members(40));
        trial
    }

    fn lies(&self, place: usize) -> bool {
        self.liars.contains(&place)
    }

    /// What the node at a place shows; `None` if it cannot be fetched.
    fn shows(&self, place: usize) -> Option<Vec<Envelope>> {
        if !self.lies(place) {
            return Some(self.held.clone());
        }
        let liar = &self.replicas[place].0;
        match self.lie {
            Lie::Absent => Some(Vec::new()),
            Lie::Stale => Some(self.before.clone()),
            Lie::Unreadable => None,
            Lie::Future => {
                let future = sign(liar, Some("future"), at(2 * 24 * 3600), Context::new());
                Some(vec![future])
            }
            Lie::Invented => {
                let last = Dot::from_raw(at(5 * 60).raw() | 0xffff);
                let stranger = |number: u8| (PublicKey::from_bytes([number; 32]), last);
                let context = (100..220).map(stranger).chain([(self.me.public_key(), last)]);
                Some(vec![sign(liar, None, at(-1), context.collect())])
            }
        }
    }

    fn answer(&self, place: usize, want: Want) -> RecordAnswer {
        match self.shows(place) {
            None => RecordAnswer {
                digest: StateDigest::from_bytes([place as u8 + 1; 16]),
                parts: Vec::new(),
                complete: false,
            },
            Some(held) => RecordAnswer {
                digest: held.iter().fold(StateDigest::EMPTY, |sum, one| sum.with(one.head())),
                parts: held
                    .iter()
                    .map(
                        |one| if want == Want::Values { one.encode() } else { one.head().encode() },
                    )
                    .collect(),
                complete: true,
            },
        }
    }

    /// What a node says to a request.
    fn respond(&mut self, place: usize, request: &Request) -> Option<Response> {
        let lies = self.lies(place);
        match request {
            Request::Load(_) if lies => None,
            Request::Load(_) => {
                let envelopes = self.held.iter().map(Envelope::encode).collect();
                Some(Response::Loaded(Loaded { envelopes, keys_done: 1, ..Loaded::default() }))
            }
            Request::Store { .. } => {
                let outcome = if lies {
                    let held = EnvelopeId { dot: at(9), digest: [7; 16] };
                    match self.rng.below(4) {
                        0 => StoreOutcome::Older { digest: StateDigest::EMPTY, held },
                        1 => StoreOutcome::Refused(Refusal::Ahead),
                        2 => StoreOutcome::Refused(Refusal::TooManyWriters),
                        _ => return None,
                    }
                } else {
                    StoreOutcome::Stored(StateDigest::EMPTY)
                };
                Some(Response::Stored { outcomes: vec![outcome] })
            }
            _ => None,
        }
    }

    /// Runs a command to its end. Liars answer first, or when their turn comes.
    fn run(&mut self, command: Command) -> Reply {
        let (id, now) = (CommandId(self.rng.below(1 << 32)), Instant::ZERO);
        let mut inputs = VecDeque::from([Input::Command { id, command }]);
        let mut stopped: Vec<LookupId> = Vec::new();
        let mut replied = None;
        while let Some(input) = inputs.pop_front() {
            let over = matches!(&input, Input::Found { lookup, .. } | Input::LookupDone { lookup, .. }
                if stopped.contains(lookup));
            if over {
                continue;
            }
            self.kv.handle(now, input);
            while let Some(output) = self.kv.poll_output() {
                match output {
                    Output::Lookup { id, want, .. } => inputs.extend(self.look_up(id, want)),
                    Output::StopLookup(id) => stopped.push(id),
                    Output::Storage { id, op } => {
                        let reply = match op {
                            StorageOp::Load { .. } => {
                                StorageReply::Loaded { envelopes: Vec::new() }
                            }
                            StorageOp::Merge { .. } => StorageReply::Merged {
                                outcome: Merged::New,
                                digest: StateDigest::EMPTY,
                            },
                            _ => StorageReply::Removed,
                        };
                        inputs.push_back(Input::Stored { id, reply });
                    }
                    Output::Ask { id, to, request, .. } => {
                        let place = self.replicas.iter().position(|(_, peer)| peer.id == to.id);
                        let said = place.and_then(|place| self.respond(place, &request));
                        inputs.push_back(match said {
                            Some(response) => Input::Answered { ask: id, response },
                            None => Input::Failed { ask: id },
                        });
                    }
                    Output::Reply { id: of, reply } if of == id => replied = Some(reply),
                    _ => {}
                }
            }
        }
        replied.expect("an end")
    }

    fn look_up(&mut self, lookup: LookupId, want: Want) -> Vec<Input> {
        let mut order: Vec<usize> = (0..16).collect();
        self.rng.shuffle(&mut order);
        if self.rng.below(2) == 0 {
            order.sort_by_key(|place| !self.lies(*place));
        }
        let mut inputs: Vec<Input> = Vec::new();
        for place in order {
            let (from, record) = (self.replicas[place].1, Some(self.answer(place, want)));
            inputs.push(Input::Found { lookup, from, record });
        }
        let closest = self.replicas.iter().map(|(_, peer)| *peer).collect();
        inputs.push(Input::LookupDone { lookup, closest, late: Vec::new() });
        inputs
    }
}

fn config(quorum_claims: bool) -> Config {
    let mut config = Config::default();
    config.defences.quorum_claims = quorum_claims;
    config
}

fn put(text: &'static str) -> Command {
    Command::Put(Put {
        space: Space::Commons,
        name: Name::new("a").ok(),
        kind: None,
        value: Some(Bytes::from_static(text.as_bytes())),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    })
}

fn read(trial: &mut Trial) -> Option<Vec<Bytes>> {
    match trial.run(Command::Get { key: key(), quorum: None }) {
        Reply::Read(done) => Some(done.reading.values.into_iter().map(|it| it.bytes).collect()),
        _ => None,
    }
}

/// Trials in which a read or a write went wrong, by what the liars did.
fn wrong(trials: u64, quorum_claims: bool) -> Vec<(Lie, &'static str)> {
    let mut wrong = Vec::new();
    let replicas = replicas();
    for number in 0..trials {
        let mut trial = Trial::new(number, config(quorum_claims), &replicas);
        let lie = trial.lie;
        if read(&mut trial) != Some(vec![Bytes::from_static(b"new")]) {
            wrong.push((lie, "read"));
        }
        for text in ["mine", "again"] {
            if !matches!(trial.run(put(text)), Reply::Written(_)) {
                wrong.push((lie, "write"));
            }
        }
        // The record that is not there: nothing is shown by the others.
        let mut trial = Trial::new(number, config(quorum_claims), &replicas);
        (trial.held, trial.before) = (Vec::new(), Vec::new());
        if read(&mut trial) != Some(Vec::new()) {
            wrong.push((lie, "read of nothing"));
        }
        if !matches!(trial.run(put("first")), Reply::Written(_)) {
            wrong.push((lie, "first write"));
        }
    }
    wrong
}

#[test]
fn reads_and_writes_are_right_in_all_of_a_thousand_trials() {
    assert_eq!(wrong(TRIALS, true), []);
}

#[test]
fn without_the_defence_each_lie_does_harm() {
    let wrong = wrong(50, false);
    for lie in LIES {
        assert!(wrong.iter().any(|(of, _)| *of == lie), "{lie:?} did no harm");
    }
}
