//! Well-formed input to begin with.

pub(crate) mod admission;
pub(crate) mod members;
mod spread;

use bytes::Bytes;
use potluck_base::machine::drain;
use potluck_base::{
    Admission, BlobId, Contact, Identity, Instant, Key, Machine, NetworkId, UnixMillis,
};
use potluck_dht::EntryPoint;
use potluck_node::{Command, CommandId, Config, Input, Node, Output, Start};
use potluck_record::share::{Counted, Entries};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, Name, Operation, Prefix, SessionKey, Share, Space,
    StateDigest,
};
use potluck_swarm::{FileLink, LinkKind, Manifest, ManifestFile};
use potluck_wire::{
    Applied, Apply, Changed, Enroll, FetchRequest, Found, Holding, Load, Loaded, NameEntry, Names,
    NamesFound, OfferEntry, Provider, RecordAnswer, Refusal, Request, Response, StoreOutcome,
    TopicResponse, Want, WatchRequest, Watching, encode_request, encode_response,
};
use potluck_wire::{Changes, ChangesAfter, Compare, Compared, Level, RangePart, RegionHash};

pub(crate) fn network() -> NetworkId {
    NetworkId::new("fuzz", Admission::Lab, None)
}

pub(crate) fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

pub(crate) fn contact(number: u8) -> Contact {
    let address = ([127, 0, 0, number], 4000).into();
    Contact::new(identity(number).public_key(), address)
}

/// A node that keeps records and knows no other node.
pub(crate) fn node(number: u8) -> Node {
    let start = Start {
        identity: identity(number),
        network: network(),
        address: contact(number).address,
        incarnation: 1,
        labels: Vec::new(),
        config: Config {
            link: potluck_link::LinkConfig { lab: true, ..Default::default() },
            dht: potluck_dht::Config::default(),
            kv: potluck_kv::Config::default(),
            swarm: potluck_swarm::Config::default(),
            ..Config::default()
        },
        seed: [number; 32],
    };
    let mut node = Node::new(start).expect("the default configuration is valid");
    node.handle(Instant::ZERO, Input::WallClock { now: UnixMillis(1_800_000_000_000) });
    node
}

fn envelope(values: &[&'static str], context: Context) -> Envelope {
    let (now, end) = (1_800_000_000_000_u64 << 16, UnixMillis(1_800_000_900_000));
    let dot = |index: usize| Dot::from_raw(now + index as u64 + 1);
    let draft = Draft {
        space: Space::Commons,
        name: Some(Name::new("config/greeting").expect("a good name")),
        kind: Kind::Siblings,
        values: values
            .iter()
            .enumerate()
            .map(|(index, value)| (dot(index), end, Bytes::from_static(value.as_bytes())))
            .collect(),
        dot: dot(values.len()),
        context,
        expires: end,
        certificate: None,
    };
    Envelope::sign(&identity(3), &network(), draft).expect("a good draft")
}

pub(crate) fn some_envelopes() -> Vec<Envelope> {
    let context: Context = [(identity(4).public_key(), Dot::from_raw(77))].into_iter().collect();
    vec![
        envelope(&["hello"], Context::new()),
        envelope(&["one", "two", ""], context.clone()),
        envelope(&[], context),
    ]
}

pub(crate) fn envelopes() -> Vec<Vec<u8>> {
    some_envelopes()
        .iter()
        .flat_map(|envelope| [envelope.encode().to_vec(), envelope.head().encode().to_vec()])
        .collect()
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    let key = Key::from_bytes([5; 32]);
    let digest = StateDigest::from_bytes([6; 16]);
    let envelopes = some_envelopes().iter().map(Envelope::encode).collect();
    [
        Request::Ping,
        Request::FindNode { target: key, count: 16, want: Want::Values, parts: Some(2) },
        Request::Store { envelopes, certificates: vec![Bytes::from_static(b"c")] },
        Request::Offer { entries: vec![OfferEntry { key, digest }; 3] },
        Request::Load(Load { keys: vec![key; 3], after: Some([9; 32]), certificates: Vec::new() }),
        Request::Leave { back_in: Some(120) },
        Request::Apply(Apply {
            number: 1 << 40,
            again: true,
            name: "visits".to_owned(),
            operation: Operation::Count(1).encode(),
        }),
        Request::Fingerprints(Compare {
            session: SessionKey([3; 16]),
            level: Level::Keys,
            prefixes: Prefix::ALL.children().take(3).collect(),
            ids: vec![[4; 5]; 3],
            bucket: Some(Prefix::ALL.half(true)),
        }),
        Request::Changes(ChangesAfter { run: 5, after: 6, prefixes: vec![Prefix::ALL] }),
        Request::Have { blob: BlobId::from_bytes([7; 32]) },
        Request::Enroll(admission::ticket().enroll(&identity(2).public_key())),
        Request::Enroll(Enroll::Renewal { certificate: admission::certificate() }),
        Request::Watch(WatchRequest::Lease { key, millis: 60_000 }),
        Request::Watch(WatchRequest::Changed(Changed { key, digest, changes: 4, ended: true })),
        Request::Names(Names {
            space: 1,
            owner: Some([5; 32]),
            prefix: "config/".to_owned(),
            after: "config/a".to_owned(),
            until: String::new(),
            limit: 100,
        }),
    ]
    .into_iter()
    .chain(spread::searches().map(Request::Search))
    .chain(spread::in_topics().map(Request::Topic))
    .chain(members::requests().into_iter().map(Request::Member))
    .map(|request| encode_request(&request).to_vec())
    .collect()
}

/// Manifests.
pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let blob = BlobId::from_bytes([7; 32]);
    let file = |path: &str, bytes| ManifestFile {
        path: path.to_owned(),
        bytes,
        executable: true,
        mtime: Some(1),
    };
    let files = vec![file("a", 1), file("deep/b.txt", 70_000), file("deep/c", 0)];
    let some = Manifest::new(blob, files).expect("harmless paths");
    let empty = vec!["empty/folder".to_owned()];
    let folders = Manifest::with_folders(blob, Vec::new(), empty).expect("harmless paths");
    vec![some.to_bytes().to_vec(), folders.to_bytes().to_vec()]
}

/// What is asked of sources of files, and said about them.
pub(crate) fn sources() -> Vec<Vec<u8>> {
    let blob = BlobId::from_bytes([7; 32]);
    vec![
        FetchRequest::new(blob, 1 << 30, &[0, 1, 2, 900]).to_bytes().to_vec(),
        Provider::new(contact(1), true).to_bytes().to_vec(),
    ]
}

pub(crate) fn responses() -> Vec<Vec<u8>> {
    let digest = StateDigest::from_bytes([6; 16]);
    let parts = some_envelopes().iter().map(|envelope| envelope.head().encode()).collect();
    let record = Some(RecordAnswer { digest, parts, complete: true });
    let envelopes = some_envelopes().iter().map(Envelope::encode).collect();
    let outcome = StoreOutcome::Stored(digest);
    [
        Response::Pong,
        Response::Found(Found {
            contacts: vec![contact(1), contact(2)],
            record,
            ..Found::default()
        }),
        Response::Stored { outcomes: vec![outcome] },
        Response::Offered { wanted: 4 },
        Response::Fingerprints(Compared {
            region: Some(RegionHash { region: [1; 8], bucket: [2; 8], run: 3, changes: 4 }),
            parts: vec![RangePart::Children([[5; 5]; 16]), RangePart::Ids(vec![[6; 5]; 3])],
            entries: vec![OfferEntry { key: Key::from_bytes([7; 32]), digest }; 2],
            more: true,
        }),
        Response::Changes(Changes {
            run: 3,
            next: 9,
            lost: false,
            more: true,
            entries: vec![OfferEntry { key: Key::from_bytes([7; 32]), digest }],
        }),
        Response::Loaded(Loaded { envelopes, keys_done: 1, ..Loaded::default() }),
        Response::refused(Refusal::Busy),
        Response::Holding(Holding {
            size: 200_000,
            granules: Some(Bytes::from_static(&[5])),
            neighbours: vec![contact(3)],
            hint: None,
            lost: None,
        }),
        Response::Left,
        Response::Applied(Applied::Done { version: 1 << 40, acks: 3, wanted: 16, expires_ms: 9 }),
        Response::Applied(Applied::OtherKind { kind: 3 }),
        Response::Topic(TopicResponse::Ack),
        Response::Topic(TopicResponse::Accepted { age_ms: 70_000 }),
        Response::Topic(TopicResponse::Declined { others: vec![contact(4)] }),
        Response::Topic(TopicResponse::GossipAck { prune: 1, busy: false }),
        Response::Topic(TopicResponse::GraftAck { lacking: 2 }),
        Response::Topic(TopicResponse::NotNeighbour),
        Response::Taken,
        Response::Enrolled { certificate: admission::certificate() },
        Response::Watching(Watching { millis: 60_000, digest, changes: 2 }),
        Response::Names(NamesFound {
            entries: vec![name_entry("config/a"), name_entry("config/b")],
            next: "config/b".to_owned(),
        }),
    ]
    .into_iter()
    .chain(members::responses().into_iter().map(Response::Member))
    .map(|response| encode_response(&response).to_vec())
    .collect()
}

fn name_entry(name: &str) -> NameEntry {
    NameEntry {
        name: name.to_owned(),
        newest: 1 << 40,
        dots: [3; 16],
        kind: 1,
        values: 2,
        bytes: 500,
        expires_ms: 1_800_000_900_000,
    }
}

/// What another node sends to node 1 when it enters the network through it.
pub(crate) fn datagrams() -> Vec<Vec<u8>> {
    let mut stranger = node(2);
    for (number, entry) in
        [EntryPoint::Contact(contact(1)), EntryPoint::Address(contact(1).address)]
            .into_iter()
            .enumerate()
    {
        let id = CommandId(number as u64);
        stranger.handle(Instant::ZERO, Input::Command { id, command: Command::Join(entry) });
    }
    let mut sent = Vec::new();
    for tenth in 0..50 {
        stranger.handle(Instant::from_micros(tenth * 100_000), Input::Timeout);
        sent.extend(drain(&mut stranger).into_iter().filter_map(|output| match output {
            Output::Transmit { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        }));
    }
    sent
}

/// Envelopes of different keys and writers.
pub(crate) fn envelopes_of_names() -> Vec<Envelope> {
    let now = 1_800_000_000_000_u64 << 16;
    let one = |number: u8| {
        let dot = Dot::from_raw(now + u64::from(number) + 1);
        let expires = UnixMillis(1_800_000_900_000);
        let writer = identity(number);
        let space = match number % 3 {
            0 => Space::Own(writer.public_key()),
            _ => Space::Commons,
        };
        let draft = Draft {
            space,
            name: Some(Name::new(format!("name/{number}")).expect("a good name")),
            kind: Kind::Siblings,
            values: vec![(dot, expires, Bytes::from(vec![number; 20]))],
            dot,
            context: Context::new(),
            expires,
            certificate: None,
        };
        Envelope::sign(&writer, &network(), draft).expect("a good draft")
    };
    (1..7).map(one).collect()
}

/// Links to files, as they are typed.
pub(crate) fn links() -> Vec<Vec<u8>> {
    let blob = BlobId::from_bytes([7; 32]);
    [(LinkKind::Folder, "weights"), (LinkKind::File, "a b/c?.tar.gz"), (LinkKind::File, "")]
        .map(|(kind, name)| FileLink::new(kind, blob, name).to_string().into_bytes())
        .to_vec()
}

/// Shares of each kind, and operations.
pub(crate) fn shares() -> Vec<Vec<u8>> {
    let counted = Counted::default().plus(70_000).and_then(|it| it.plus(-3)).expect("it counts");
    let mut set = Entries::default();
    set.add("light blue", Dot::from_raw(1 << 40), ());
    set.add("red", Dot::from_raw(7), ());
    set.removals.insert(identity(2).public_key(), Dot::from_raw(1 << 50));
    let mut map = Entries::default();
    map.add("db1", Dot::from_raw(9), Bytes::from_static(b"10.0.0.7"));
    let shares = [Share::Counter(counted), Share::Set(set), Share::Map(map)];
    let elements = vec!["red".to_owned(), "green".to_owned()];
    let (field, value) = ("db1".to_owned(), Bytes::from_static(b"x"));
    let operations = [
        Operation::Count(-70_000),
        Operation::AddElements(elements.clone()),
        Operation::RemoveElements(elements),
        Operation::SetField { field: field.clone(), value },
        Operation::UnsetField { field },
    ];
    let operations = operations.iter().map(|operation| operation.encode().to_vec());
    shares.iter().map(|share| share.encode().to_vec()).chain(operations).collect()
}
