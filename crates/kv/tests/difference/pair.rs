//! Two nodes that compare what they hold, without disks and network. What they say to each other is counted
//! in encoded bytes.
#![allow(dead_code, reason = "the tests and the measurement use a part each")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use potluck_base::{
    Admission, Contact, Identity, Instant, Key, Machine as _, NetworkId, Peer, Rng, UnixMillis,
};
use potluck_kv::{AskId, Config, Delivery, Input, Kv, Output, PeerRequest, ServeId, Stats};
use potluck_record::{
    Context, Dot, Draft, Envelope, Fingerprint, Kind, Merged, Name, OpId, Prefix, Space,
    StateDigest, StorageOp, StorageReply,
};
use potluck_wire::limits::{CALL_BYTES_MAX, DATAGRAM_BYTES_MAX, MESSAGE_BYTES_MAX};
use potluck_wire::{Loaded, Request, Response, encode_request, encode_response};

/// What a message takes besides its own bytes: a whole header with cookie and seal, IP and UDP.
const OVERHEAD: usize = DATAGRAM_BYTES_MAX - MESSAGE_BYTES_MAX + 48;
const WALL: UnixMillis = UnixMillis(1_800_000_000_000);

pub(crate) type Records = BTreeMap<Key, StateDigest>;

/// A node and the records that it holds, as digests only.
pub(crate) struct Side {
    pub(crate) kv: Kv,
    pub(crate) me: Peer,
    pub(crate) held: Arc<Records>,
}

/// Two nodes that know each other.
pub(crate) struct Pair {
    pub(crate) sides: [Side; 2],
    pub(crate) now: Instant,
    /// Bytes of comparisons and offers.
    pub(crate) bytes: usize,
    /// Messages of comparisons and offers.
    pub(crate) messages: usize,
    /// Whether messages arrive.
    pub(crate) connected: bool,
    /// The side that keeps nothing of what it pulls.
    pub(crate) forgetful: Option<usize>,
    asks: BTreeMap<(usize, AskId), Request>,
}

pub(crate) fn peer(number: u8) -> Peer {
    let network = NetworkId::new("test", Admission::Lab, None);
    let public_key = Identity::from_seed([number; 32]).public_key();
    Contact::new(public_key, ([127, 0, 0, 1], u16::from(number)).into()).in_network(&network)
}

impl Side {
    fn new(number: u8, held: Arc<Records>) -> Self {
        let network = NetworkId::new("test", Admission::Lab, None);
        let (identity, me) = (Identity::from_seed([number; 32]), peer(number));
        Self { kv: Kv::new(identity, network, me, true, Config::default()), me, held }
    }

    fn sum(&self, prefix: &Prefix) -> Fingerprint {
        let range = self.held.range(prefix.first()..=prefix.last());
        range.fold(Fingerprint::default(), |sum, (_, digest)| sum.with(*digest))
    }

    fn stored(&self, op: &StorageOp) -> StorageReply {
        match op {
            StorageOp::Fingerprints { prefixes } => {
                StorageReply::Fingerprints(prefixes.iter().map(|it| self.sum(it)).collect())
            }
            StorageOp::Entries { prefixes, limit, .. } => {
                let all = prefixes.iter().flat_map(|it| self.held.range(it.first()..=it.last()));
                let mut entries: Vec<_> =
                    all.take(*limit as usize + 1).map(|(key, digest)| (*key, *digest)).collect();
                let more = entries.len() > *limit as usize;
                entries.truncate(*limit as usize);
                StorageReply::Scanned { entries, more }
            }
            StorageOp::Scan { from, to, .. } => {
                // One key. The repair after the first change of the close group finds nothing to do.
                let held = self.held.get_key_value(from).filter(|_| from == to);
                let entries = held.map(|(key, digest)| (*key, *digest)).into_iter().collect();
                StorageReply::Scanned { entries, more: false }
            }
            StorageOp::Index { .. } => StorageReply::Indexed { more: false },
            StorageOp::ScanOwn { .. } => StorageReply::OwnHeads { heads: Vec::new(), next: None },
            StorageOp::Expire { .. } => StorageReply::Expired { dropped: 0, more: false },
            other => panic!("no record is merged here: {other:?}"),
        }
    }
}

impl Pair {
    pub(crate) fn new(held: [Records; 2]) -> Self {
        let [left, right] = held;
        Self::holding([Arc::new(left), Arc::new(right)])
    }

    pub(crate) fn holding(held: [Arc<Records>; 2]) -> Self {
        let [left, right] = held;
        let sides = [Side::new(1, left), Side::new(2, right)];
        let now = Instant::ZERO;
        let mut pair = Self {
            sides,
            now,
            bytes: 0,
            messages: 0,
            connected: true,
            forgetful: None,
            asks: BTreeMap::new(),
        };
        for index in [0, 1] {
            let other = pair.sides[1 - index].me;
            pair.give(index, Input::WallClock { now: WALL, offset: 0 });
            pair.give(index, Input::CloseGroup(vec![other]));
        }
        pair
    }

    pub(crate) fn give(&mut self, index: usize, input: Input) {
        let mut inputs = vec![(index, input)];
        while let Some((index, input)) = inputs.pop() {
            self.sides[index].kv.handle(self.now, input);
            while let Some(output) = self.sides[index].kv.poll_output() {
                inputs.extend(self.act(index, output));
            }
        }
    }

    /// What an output leads to, and at which side.
    fn act(&mut self, index: usize, output: Output) -> Option<(usize, Input)> {
        match output {
            Output::Storage { id, op } => {
                let reply = match &op {
                    StorageOp::Merge { envelope, .. } => {
                        let digest = StateDigest::EMPTY.with(envelope.head());
                        self.change(index, envelope.head().key(), Some(digest));
                        StorageReply::Merged { outcome: Merged::New, digest }
                    }
                    _ => self.sides[index].stored(&op),
                };
                Some((index, Input::Stored { id: OpId(id.0), reply }))
            }
            Output::Ask { id, .. } if !self.connected => Some((index, Input::Failed { ask: id })),
            Output::Ask { id, request: Request::Load(load), .. } => {
                // The records themselves: what is asked for is there from now on.
                for key in &load.keys {
                    let digest = self.sides[1 - index].held.get(key).copied();
                    let digest = digest.filter(|_| self.forgetful != Some(index));
                    Arc::make_mut(&mut self.sides[index].held)
                        .extend(digest.map(|digest| (*key, digest)));
                }
                let keys_done = load.keys.len() as u32;
                let response = Response::Loaded(Loaded { keys_done, ..Loaded::default() });
                Some((index, Input::Answered { ask: id, response }))
            }
            Output::Ask { id, request, delivery, .. } => {
                let length = encode_request(&request).len();
                self.count(length);
                let by_call = delivery == Delivery::Call || length > MESSAGE_BYTES_MAX;
                let budget = if by_call { CALL_BYTES_MAX } else { MESSAGE_BYTES_MAX };
                let from = self.sides[index].me;
                self.asks.insert((index, id), request.clone());
                let contacts = Vec::new();
                let request = PeerRequest { from, request, contacts, proven: true, budget };
                let serve = ServeId(id.0);
                Some((1 - index, Input::PeerRequest { serve, request }))
            }
            Output::Respond { serve, response } => {
                let length = encode_response(&response).len();
                assert!(length <= CALL_BYTES_MAX, "{length} bytes");
                let ask = AskId(serve.0);
                // A writer's node is not played.
                self.asks.remove(&(1 - index, ask))?;
                self.count(length);
                Some((1 - index, Input::Answered { ask, response }))
            }
            Output::Lookup { .. }
            | Output::StopLookup(_)
            | Output::Reply { .. }
            | Output::Foreign(_)
            | Output::Changed(_)
            | Output::WatchEnded(_)
            | Output::Checked { .. }
            | Output::HandedOver { .. } => None,
        }
    }

    fn count(&mut self, length: usize) {
        self.bytes += length + OVERHEAD;
        self.messages += 1;
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = [0, 1]
                .into_iter()
                .filter_map(|index| Some((self.sides[index].kv.poll_timeout()?.at, index)))
                .min();
            let Some((at, index)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.give(index, Input::Timeout);
        }
        self.now = end;
    }

    pub(crate) fn stats(&self, index: usize) -> Stats {
        self.sides[index].kv.stats()
    }

    pub(crate) fn agree(&self) -> bool {
        self.sides[0].held == self.sides[1].held
    }

    /// A writer stores a record at one side.
    pub(crate) fn write(&mut self, index: usize, number: u32) {
        let (network, writer) =
            (NetworkId::new("test", Admission::Lab, None), Identity::from_seed([7; 32]));
        let dot = Dot::from_raw(WALL.0 << 16);
        let expires = WALL.plus(Duration::from_secs(24 * 3600));
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new(format!("name {number}")).expect("good name")),
            kind: Kind::Siblings,
            values: vec![(dot, expires, "value".into())],
            dot,
            context: Context::new(),
            expires,
            certificate: None,
        };
        let envelope = Envelope::sign(&writer, &network, draft).expect("within the limits");
        let envelopes = vec![envelope.encode()];
        let request = PeerRequest {
            from: peer(7),
            request: Request::Store { envelopes, certificates: Vec::new() },
            contacts: Vec::new(),
            proven: true,
            budget: MESSAGE_BYTES_MAX,
        };
        let serve = ServeId(1 << 40 | u64::from(number));
        self.give(index, Input::PeerRequest { serve, request });
    }

    pub(crate) fn change(&mut self, index: usize, key: Key, digest: Option<StateDigest>) {
        let held = Arc::make_mut(&mut self.sides[index].held);
        match digest {
            Some(digest) => held.insert(key, digest),
            None => held.remove(&key),
        };
    }
}

pub(crate) fn records(count: usize, rng: &mut Rng) -> Records {
    (0..count).map(|_| (Key::from_bytes(rng.bytes()), digest(rng))).collect()
}

pub(crate) fn digest(rng: &mut Rng) -> StateDigest {
    StateDigest::from_bytes(rng.bytes())
}

/// Both hold `count` records, but for `differences`: a third are at the left only, a third at the right
/// only, and the others are newer at one of them.
pub(crate) fn scattered(count: usize, differences: usize) -> Pair {
    let mut rng = Rng::from_number(count as u64);
    let both = records(count, &mut rng);
    let mut keys: Vec<Key> = both.keys().copied().collect();
    rng.shuffle(&mut keys);
    let both = Arc::new(both);
    let mut pair = Pair::holding([Arc::clone(&both), both]);
    for (number, key) in keys.into_iter().take(differences).enumerate() {
        pair.change(number % 2, key, (number % 3 == 0).then(|| digest(&mut rng)));
    }
    assert!(differences == 0 || !pair.agree());
    pair
}
