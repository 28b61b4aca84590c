//! What a second of one member's calls takes of a node's core: `cargo run -p potluck-node --example attack`.
//!
//! A member makes up to 2,000 calls a second, 16 at a time, for some seconds. The clock of the node goes on by
//! the processor time of each transition, as if nothing else ran. Told is the share of the core that the calls
//! take, with the budgets of peers and without, and how many calls were answered. In the shell, connections and
//! the disk cost beside it.
#![allow(clippy::print_stdout, reason = "telling figures is what it is for")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::machine::drain;
use potluck_base::{Admission, Identity, Instant, Key, Machine, NetworkId, UnixMillis};
use potluck_node::{Config, InboundId, Input, Node, Output, Start};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, Name, Space, StateDigest, StorageReply};
use potluck_wire::{OfferEntry, Request, encode_request};

const WALL: UnixMillis = UnixMillis(1_800_000_000_000);
const SECONDS: u64 = 4;
/// Calls a second that the member makes; those that are held back keep it from making more.
const CALLS: u64 = 2_000;
/// Calls under way that the member may have.
const PARALLEL: usize = 16;

fn network() -> NetworkId {
    NetworkId::new("attack", Admission::Lab, None)
}

fn node(defended: bool) -> Node {
    let mut config = Config::default();
    config.link.lab = true;
    config.kv.defences.priced_peers = defended;
    let start = Start {
        identity: Identity::from_seed([1; 32]),
        network: network(),
        address: SocketAddr::from(([127, 0, 0, 1], 4000)),
        incarnation: 1,
        labels: Vec::new(),
        config,
        seed: [1; 32],
    };
    let mut node = Node::new(start).expect("a good configuration");
    node.handle(Instant::from_micros(1), Input::WallClock { now: WALL });
    node
}

/// A store request of 1,024 envelopes, signed by their writer, or with signatures of something else.
fn store(number: u64, forged: bool) -> Bytes {
    let writer = Identity::from_seed([3; 32]);
    let (dot, expires) = (Dot::next(Dot::ZERO, WALL), WALL.plus(Duration::from_secs(3600)));
    let sign = |text: String| {
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new("attack").expect("a name")),
            kind: Kind::Siblings,
            values: vec![(dot, expires, Bytes::from(text))],
            dot,
            context: Context::new(),
            expires,
            certificate: None,
        };
        Envelope::sign(&writer, &network(), draft).expect("a good envelope")
    };
    let other = *sign("other".to_owned()).head().signature().as_bytes();
    let envelopes = (0..1024).map(|index| {
        let envelope = sign(format!("{number}/{index}"));
        let mut bytes = envelope.encode().to_vec();
        if forged {
            let signature = envelope.head().signature().as_bytes();
            let at = bytes.windows(64).position(|window| window == signature);
            bytes[at.expect("the signature")..][..64].copy_from_slice(&other);
        }
        Bytes::from(bytes)
    });
    encode_request(&Request::Store { envelopes: envelopes.collect(), certificates: Vec::new() })
}

fn offer(number: u64) -> Bytes {
    let key = |index: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Key::from_bytes(bytes)
    };
    let digest = StateDigest::EMPTY;
    let entries = (0..4096).map(|index| OfferEntry { key: key(number * 4096 + index), digest });
    encode_request(&Request::Offer { entries: entries.collect() })
}

/// What became of the calls.
#[derive(Default)]
struct Outcome {
    made: u64,
    /// Refusals of record keeping included.
    answered: u64,
    core: Duration,
    /// The longest transition.
    longest: Duration,
}

/// Processor time of this thread so far, as the kernel counts it.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("time on the processor"))
}

/// Some seconds of calls with these requests, one after the other.
fn attack(defended: bool, requests: &[Bytes]) -> Outcome {
    let (mut node, mut outcome) = (node(defended), Outcome::default());
    let from = Identity::from_seed([2; 32]).public_key();
    let address = SocketAddr::from(([127, 0, 0, 1], 4001));
    let mut held: Vec<Instant> = Vec::new();
    let mut ignored_until = Instant::ZERO;
    let (start, pause) =
        (Instant::from_micros(1_000_000), Duration::from_micros(1_000_000 / CALLS));
    let mut now = start;
    while now.since(start) < Duration::from_secs(SECONDS) {
        let before = outcome.core;
        let mut inputs: Vec<Input> = Vec::new();
        if node.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
            inputs.push(Input::Timeout);
        }
        held.retain(|until| *until > now);
        if held.len() < PARALLEL && now >= ignored_until {
            outcome.made += 1;
            let inbound = InboundId(outcome.made);
            let bytes = requests[outcome.made as usize % requests.len()].clone();
            inputs.push(Input::Called { from, address, inbound, bytes });
        }
        while let Some(input) = inputs.pop() {
            let begun = processor_time();
            node.handle(now, input);
            let took = processor_time().saturating_sub(begun);
            outcome.core += took;
            outcome.longest = outcome.longest.max(took);
            for output in drain(&mut node) {
                match output {
                    Output::AnswerCall { .. } => outcome.answered += 1,
                    Output::RefuseCall { after, .. } => held.push(now + after),
                    Output::Ignore { time, .. } => ignored_until = now + time,
                    // A store that is full at once: what it costs is the disk's matter.
                    Output::Storage { id, .. } => {
                        let reply = StorageReply::Failed(potluck_record::StorageFailure::Full);
                        inputs.push(Input::Stored { id, reply });
                    }
                    _ => {}
                }
            }
        }
        now += pause.max(outcome.core - before);
    }
    outcome
}

fn main() {
    let kinds: [(&str, Vec<Bytes>); 3] = [
        ("1,024 forged envelopes", (0..2).map(|number| store(number, true)).collect()),
        ("1,024 good envelopes", (0..16).map(|number| store(number, false)).collect()),
        ("4,096 offered keys", (0..16).map(offer).collect()),
    ];
    println!("calls with                 budgets  calls/s  answered/s  core %  longest ms");
    for (kind, requests) in kinds {
        for defended in [false, true] {
            let Outcome { made, answered, core, longest } = attack(defended, &requests);
            println!(
                "{kind:<26} {:<8} {:>7} {:>11} {:>7.1} {:>11.2}",
                if defended { "on" } else { "off" },
                made / SECONDS,
                answered / SECONDS,
                core.as_secs_f64() * 100.0 / SECONDS as f64,
                longest.as_secs_f64() * 1000.0
            );
        }
    }
}
