//! The fuzz targets: what is fed, to what, and what well-formed input looks like.

mod mutate;
mod samples;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::Bytes;
use potluck_base::machine::drain;
use potluck_base::{Contact, Instant, Machine, PublicKey, Rng};
use potluck_node::{InboundId, Input, Node};
use potluck_record::{Context, Envelope, Kind, Operation, Share, SignedHead};
use potluck_swarm::{FileLink, Manifest};
use potluck_wire::{FetchRequest, Provider};

/// One decoder or machine under attack.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    samples: fn() -> Vec<Vec<u8>>,
    start: fn() -> Box<Feed>,
}

/// Feeds one input; true if it was taken for well-formed.
type Feed = dyn FnMut(&[u8]) -> bool;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "request", samples: samples::requests, start: || Box::new(request) },
    Target { name: "response", samples: samples::responses, start: || Box::new(response) },
    Target { name: "envelope", samples: samples::envelopes, start: || Box::new(envelope) },
    Target { name: "share", samples: samples::shares, start: || Box::new(share) },
    Target { name: "text", samples: samples::texts, start: || Box::new(text) },
    Target { name: "files", samples: samples::files, start: || Box::new(files) },
    Target { name: "datagram", samples: samples::datagrams, start: datagram },
    Target { name: "call", samples: samples::requests, start: call },
];

/// Feeds `rounds` inputs made from `seed` and gives how many were taken for well-formed.
///
/// # Panics
/// If the target does; the seed and round are printed first.
pub fn run(target: &Target, seed: u64, rounds: u64) -> u64 {
    let mut rng = Rng::from_number(seed).fork(target.name);
    let samples = (target.samples)();
    let mut feed = (target.start)();
    let mut taken = 0;
    for round in 0..rounds {
        let input = mutate::input(&mut rng, &samples);
        match catch_unwind(AssertUnwindSafe(|| feed(&input))) {
            Ok(well_formed) => taken += u64::from(well_formed),
            Err(panic) => {
                report(target.name, seed, round);
                resume_unwind(panic);
            }
        }
    }
    taken
}

#[expect(clippy::print_stderr, reason = "the replay line of a failing seed")]
fn report(name: &str, seed: u64, round: u64) {
    eprintln!("replay: cargo xtask fuzz {name} --seed {seed} --rounds {}", round + 1);
}

fn request(bytes: &[u8]) -> bool {
    // What was decoded must encode to something that decodes to the same.
    potluck_wire::decode_request(bytes).is_ok_and(|request| {
        let again = potluck_wire::decode_request(&potluck_wire::encode_request(&request));
        assert_eq!(again.as_ref(), Ok(&request));
        true
    })
}

fn response(bytes: &[u8]) -> bool {
    potluck_wire::decode_response(bytes).is_ok_and(|response| {
        let again = potluck_wire::decode_response(&potluck_wire::encode_response(&response));
        assert_eq!(again.as_ref(), Ok(&response));
        true
    })
}

fn envelope(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let _ = SignedHead::decode(&bytes);
    Envelope::decode(&bytes).is_ok_and(|envelope| {
        let values: usize = envelope.values().map(|(_, value)| value.len()).sum();
        assert_eq!(values, envelope.head().payload_len());
        assert_eq!(Envelope::decode(&envelope.encode()).as_ref(), Ok(&envelope));
        true
    })
}

/// The share of a counter, set or map, or an operation on one.
fn share(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let share = [Kind::Counter, Kind::Set, Kind::Map].into_iter().any(|kind| {
        Share::decode(kind, &bytes).is_ok_and(|share| {
            assert_eq!(Share::decode(kind, &share.encode()), Ok(share));
            true
        })
    });
    let operation = Operation::decode(&bytes).is_ok_and(|operation| {
        assert_eq!(Operation::decode(&operation.encode()), Ok(operation));
        true
    });
    share || operation
}

fn text(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let contact = text.parse::<Contact>().is_ok();
    let key = text.parse::<PublicKey>().is_ok();
    let context = text.parse::<Context>().is_ok_and(|context| {
        assert_eq!(context.to_string().parse(), Ok(context));
        true
    });
    contact || key || context
}

fn files(bytes: &[u8]) -> bool {
    let manifest = Manifest::from_bytes(bytes).is_ok_and(|manifest| {
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).as_ref(), Ok(&manifest));
        true
    });
    let request = FetchRequest::from_bytes(bytes).is_ok_and(|request| {
        assert!(request.granules(100).len() <= 100);
        true
    });
    let provider = Provider::from_bytes(bytes).is_ok();
    let link = String::from_utf8_lossy(bytes).parse::<FileLink>().is_ok_and(|link| {
        assert_eq!(link.to_string().parse(), Ok(link));
        true
    });
    manifest || request || provider || link
}

fn datagram() -> Box<Feed> {
    let mut node = samples::node(1);
    let mut number = 0_u64;
    Box::new(move |bytes| {
        number += 1;
        let from = ([127, 0, (number >> 8) as u8, number as u8], 4000).into();
        let now = Instant::from_micros(number * 10);
        node.handle_datagram(now, from, bytes);
        let sent: usize = outgoing(&mut node);
        assert!(sent <= bytes.len(), "{sent} bytes out for {} in", bytes.len());
        sent > 0
    })
}

/// Bytes that the node wants to send.
fn outgoing(node: &mut Node) -> usize {
    drain(node)
        .into_iter()
        .map(|output| match output {
            potluck_node::Output::Transmit { bytes, .. } => bytes.len(),
            _ => 0,
        })
        .sum()
}

fn call() -> Box<Feed> {
    let mut node = samples::node(1);
    let mut number = 0_u64;
    Box::new(move |bytes| {
        number += 1;
        let input = Input::Called {
            from: samples::identity(2).public_key(),
            address: ([127, 0, 0, 1], 4001).into(),
            inbound: InboundId(number),
            bytes: Bytes::copy_from_slice(bytes),
        };
        node.handle(Instant::from_micros(number * 10), input);
        drain(&mut node).iter().any(|o| matches!(o, potluck_node::Output::Storage { .. }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_of_every_target_finds_nothing_and_gets_past_the_first_bytes() {
        for target in TARGETS {
            let taken = run(target, 7, 3000);
            assert!(taken > 0, "{}: no input was taken for well-formed", target.name);
        }
    }
}
