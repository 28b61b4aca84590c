//! Work stamps in an `open` network: a holder that strangers flood demands them, and a writer makes one
//! and gets its record stored.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::stamp::StampedStore;
use potluck_base::{
    Contact, Difficulty, Identity, Instant, Machine as _, NetworkId, Peer, UnixMillis,
};
use potluck_kv::{
    Command, CommandError, CommandId, Config, Input, Kv, Output, PeerRequest, Put, Reply, ServeId,
    WriteContext,
};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, Merged, Name, Space, StateDigest, StorageOp, StorageReply,
};
use potluck_wire::puzzle::WorkStamp;
use potluck_wire::{Contacts, Loaded, Refusal, Request, Response, StoreOutcome};

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
const STRANGER: u8 = 9;

fn network() -> NetworkId {
    NetworkId::open("test", Difficulty::new(1, 1).expect("a difficulty"))
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn peer(seed: u8) -> Peer {
    let address = SocketAddr::from(([10, 0, 0, seed], 1));
    Contact::new(identity(seed).public_key(), address).in_network(&network())
}

fn kv() -> Kv {
    let config = Config { replication: 3, commons: false, ..Config::default() };
    let mut kv = Kv::new(identity(1), network(), peer(1), true, config);
    kv.handle(Instant::ZERO, Input::WallClock { now: WALL, offset: 0 });
    kv
}

/// What a stranger signs under a name, in its own space or in commons.
fn envelope(number: u32, space: Space) -> Envelope {
    let (dot, expires) = (Dot::next(Dot::ZERO, WALL), WALL.plus(Duration::from_secs(3600)));
    let draft = Draft {
        space,
        name: Some(Name::new(number.to_string()).expect("a name")),
        kind: Kind::Lww,
        values: vec![(dot, expires, Bytes::from_static(b"value"))],
        dot,
        context: Context::new(),
        expires,
        certificate: None,
    };
    Envelope::sign(&identity(STRANGER), &network(), draft).expect("a good draft")
}

fn own(number: u32) -> Envelope {
    envelope(number, Space::Own(identity(STRANGER).public_key()))
}

/// Asks a holder to store envelopes, and gives what it says; the disk has room.
fn store(
    kv: &mut Kv,
    now: Instant,
    serve: u64,
    envelopes: &[Envelope],
    stamp: Option<Bytes>,
) -> Response {
    let request = PeerRequest {
        from: peer(STRANGER),
        proven: true,
        request: Request::Store {
            envelopes: envelopes.iter().map(Envelope::encode).collect(),
            certificates: stamp.into_iter().collect(),
        },
        contacts: Contacts::default(),
        budget: 1000,
    };
    kv.handle(now, Input::PeerRequest { serve: ServeId(serve), request });
    let mut said = None;
    while let Some(output) = kv.poll_output() {
        match output {
            Output::Respond { response, .. } => said = Some(response),
            Output::Storage { id, op } => {
                let reply = taken(&op);
                kv.handle(now, Input::Stored { id, reply });
            }
            _ => {}
        }
    }
    said.expect("an answer")
}

fn taken(op: &StorageOp) -> StorageReply {
    match op {
        StorageOp::Merge { .. } => {
            StorageReply::Merged { outcome: Merged::New, digest: StateDigest::EMPTY }
        }
        StorageOp::Load { .. } => StorageReply::Loaded { envelopes: Vec::new() },
        _ => StorageReply::Removed,
    }
}

fn is_stored(response: &Response) -> bool {
    matches!(response, Response::Stored { outcomes } if matches!(outcomes[..], [StoreOutcome::Stored(_)]))
}

fn stamp(key: potluck_base::Key, hour_off: u64) -> Bytes {
    let store = StampedStore { holder: peer(1).id, sender: identity(STRANGER).public_key(), key };
    let hour = StampedStore::hour(WALL) + hour_off;
    WorkStamp { hour, number: store.make(hour).expect("found") }.encode()
}

#[test]
fn a_store_of_many_envelopes_counts_each_of_them() {
    let (mut kv, now) = (kv(), Instant::ZERO + Duration::from_secs(1));
    let many: Vec<Envelope> = (0..20).map(own).collect();
    let refused = Response::refused(Refusal::StampNeeded);
    let taken =
        (0..100).take_while(|number| store(&mut kv, now, *number, &many, None) != refused).count();
    assert_eq!(taken, 20, "requests of 20 envelopes, of the 400 that need no stamp at once");
}

#[test]
fn a_flood_of_strangers_is_asked_for_stamps_until_it_ends() {
    let (mut kv, now) = (kv(), Instant::ZERO + Duration::from_secs(1));
    let first = (0..2_000_u32).find(|number| {
        store(&mut kv, now, u64::from(*number), &[own(*number)], None)
            == Response::refused(Refusal::StampNeeded)
    });
    let first = first.expect("not all of a flood is taken");
    assert!((200..1_000).contains(&first), "{first}");
    let checked = kv.stats().signatures_checked;
    // A wrong stamp, one of another record, one of an old hour, and one for two envelopes do not do.
    let (good, other) = (own(5_000), own(5_001));
    let (key, others) = (good.head().key(), other.head().key());
    let wrong = WorkStamp { hour: StampedStore::hour(WALL), number: u64::MAX }.encode();
    for bad in [wrong, stamp(others, 0), stamp(key, 5)] {
        let said = store(&mut kv, now, 3_000, std::slice::from_ref(&good), Some(bad));
        assert_eq!(said, Response::refused(Refusal::StampNeeded));
    }
    let said = store(&mut kv, now, 3_001, &[good.clone(), other], Some(stamp(key, 0)));
    assert_eq!(said, Response::refused(Refusal::StampNeeded));
    assert_eq!(kv.stats().signatures_checked, checked, "no signature is checked for them");
    assert!(is_stored(&store(&mut kv, now, 3_002, &[good], Some(stamp(key, 0)))));
    // The gauge says so, and the demand ends by itself.
    kv.handle(now, Input::WallClock { now: WALL, offset: 0 });
    let stats = kv.stats();
    assert_eq!((stats.stamps_needed, stats.stamps_checked, stats.stamps_refused), (1, 5, 4));
    let later = now + Duration::from_secs(31);
    kv.handle(later, Input::WallClock { now: WALL, offset: 0 });
    assert_eq!(kv.stats().stamps_needed, 0);
    assert!(is_stored(&store(&mut kv, later, 4_000, &[own(6_000)], None)));
}

#[test]
fn commons_is_off_at_the_holder_and_at_the_writer() {
    let (mut kv, now) = (kv(), Instant::ZERO + Duration::from_secs(1));
    let said = store(&mut kv, now, 1, &[envelope(1, Space::Commons)], None);
    let refused = vec![StoreOutcome::Refused(Refusal::NoCommons)];
    assert_eq!(said, Response::Stored { outcomes: refused });
    kv.handle(now, Input::Command { id: CommandId(1), command: put(Space::Commons) });
    let reply = std::iter::from_fn(|| kv.poll_output()).find_map(|output| match output {
        Output::Reply { reply, .. } => Some(reply),
        _ => None,
    });
    assert_eq!(reply, Some(Reply::Failed(CommandError::NoCommons)));
}

fn put(space: Space) -> Command {
    Command::Put(Put {
        space,
        name: Some(Name::new("a").expect("a name")),
        kind: None,
        value: Some(Bytes::from_static(b"value")),
        ttl: None,
        quorum: None,
        context: WriteContext::Blind,
    })
}

/// A writer whose replicas all demand a stamp, once or always.
fn write(always: bool) -> (Reply, u64, usize) {
    let (mut kv, mut now) = (kv(), Instant::ZERO + Duration::from_secs(1));
    kv.handle(now, Input::Members(5));
    let space = Space::Own(identity(1).public_key());
    kv.handle(now, Input::Command { id: CommandId(1), command: put(space) });
    let mut stamped = 0;
    for _ in 0..1_000 {
        let Some(output) = kv.poll_output() else {
            now = now.max(kv.poll_timeout().expect("it waits").at);
            kv.handle(now, Input::Timeout);
            continue;
        };
        match output {
            Output::Reply { reply, .. } => return (reply, kv.stats().stamps_made, stamped),
            Output::Lookup { id: lookup, .. } => {
                let closest: Vec<Peer> = (2..=5).map(peer).collect();
                kv.handle(now, Input::LookupDone { lookup, closest, late: Vec::new() });
            }
            Output::Storage { id, op } => {
                let reply = taken(&op);
                kv.handle(now, Input::Stored { id, reply });
            }
            Output::Ask { id: ask, to, request, .. } => {
                let response = match request {
                    Request::Store { envelopes, certificates } => {
                        let envelope = Envelope::decode(&envelopes[0]).expect("an envelope");
                        let sender = identity(1).public_key();
                        let key = envelope.head().key();
                        let holds = certificates.iter().any(|bytes| {
                            let stamp = WorkStamp::decode(bytes).expect("a stamp");
                            let asked = StampedStore { holder: to.id, sender, key };
                            asked.holds(WALL, stamp.hour, stamp.number)
                        });
                        stamped += usize::from(holds);
                        match holds && !always {
                            true => Response::Stored {
                                outcomes: vec![StoreOutcome::Stored(StateDigest::EMPTY)],
                            },
                            false => Response::refused(Refusal::StampNeeded),
                        }
                    }
                    _ => Response::Loaded(Loaded::default()),
                };
                kv.handle(now, Input::Answered { ask, response });
            }
            _ => {}
        }
    }
    panic!("no reply");
}

#[test]
fn a_writer_makes_the_stamps_that_its_replicas_demand() {
    let (reply, made, stamped) = write(false);
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    assert!(made >= 2 && stamped as u64 == made, "{made} made, {stamped} came");
}

#[test]
fn a_replica_that_demands_stamps_for_ever_gets_one_of_each_write() {
    let (reply, made, stamped) = write(true);
    assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
    assert_eq!((made, stamped), (4, 4), "one for each of the four nodes");
}
