//! What a datagram costs: `cargo run --release -p potluck-link --example seal`.
//!
//! Two links exchange requests of about 200 bytes and their answers; each step is timed by itself,
//! sealed and, to see what the cipher costs, unsealed. The figure is that of the best of many short
//! runs, so that other work on the machine does not enter.
#![allow(clippy::print_stdout, reason = "telling figures is what it is for")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant as Clock;

use bytes::Bytes;
use potluck_base::{Admission, Contact, Identity, Instant, Machine, NetworkId, Rng};
use potluck_link::{Link, LinkConfig, Output, RequestOptions};
use potluck_wire::{Request, Response};

const RUNS: u64 = 500;
const ROUNDS: u64 = 200;
const STEPS: [&str; 5] = [
    "request sealed and entered",
    "request opened and handed on",
    "answer sealed",
    "answer opened and matched",
    "replay refused",
];

fn link(seed: u8, seal: bool) -> (Link, Contact) {
    let identity = Identity::from_seed([seed; 32]);
    let address = SocketAddr::from(([10, 0, 0, seed], 12345));
    let contact = Contact::new(identity.public_key(), address);
    let network = NetworkId::new("bench", Admission::Lab, None);
    let config = LinkConfig { seal, lab: true, ..LinkConfig::default() };
    (Link::new(identity, network, config, Rng::from_number(seed.into())), contact)
}

fn transmitted(link: &mut Link) -> Bytes {
    match link.poll_output() {
        Some(Output::Transmit { bytes, .. }) => bytes,
        other => panic!("a datagram was expected, not {other:?}"),
    }
}

fn timed<T>(total: &mut u128, work: impl FnOnce() -> T) -> T {
    let start = Clock::now();
    let result = black_box(work());
    *total += start.elapsed().as_nanos();
    result
}

fn main() {
    for seal in [true, false] {
        let (bytes, best) = measure(seal);
        println!("{} request of {bytes} bytes", if seal { "sealed" } else { "unsealed" });
        for (step, nanos) in STEPS.iter().zip(best) {
            println!("  {step}: {} ns", nanos / u128::from(ROUNDS));
        }
    }
}

/// Bytes of the request, and the best run's time for each step.
fn measure(seal: bool) -> (usize, [u128; STEPS.len()]) {
    let ((mut asker, asker_is), (mut answerer, answerer_is)) = (link(1, seal), link(2, seal));
    let options = RequestOptions { tries: 1, answer_bytes_max: 100, ..RequestOptions::default() };
    let request =
        Request::Store { envelopes: vec![Bytes::from(vec![7; 95])], certificates: vec![] };
    let (mut best, mut bytes) = ([u128::MAX; STEPS.len()], 0);
    for run in 0..RUNS {
        let mut total = [0; STEPS.len()];
        for round in 0..ROUNDS {
            let now = Instant::from_micros((run * ROUNDS + round) * 1_000);
            let asked = timed(&mut total[0], || {
                asker.request(now, answerer_is, &request, options).expect("room");
                transmitted(&mut asker)
            });
            bytes = asked.len();
            timed(&mut total[1], || answerer.handle_datagram(now, asker_is.address, &asked));
            let Some(Output::Incoming { reply_to, .. }) = answerer.poll_output() else {
                panic!("the request did not arrive: {:?}", answerer.stats());
            };
            let answer = timed(&mut total[2], || {
                answerer.respond(now, &reply_to, &Response::Pong).expect("budget");
                transmitted(&mut answerer)
            });
            timed(&mut total[3], || asker.handle_datagram(now, answerer_is.address, &answer));
            assert!(matches!(asker.poll_output(), Some(Output::Answered { .. })));
            timed(&mut total[4], || answerer.handle_datagram(now, asker_is.address, &asked));
            // Only the very first one, a stranger's, is not known again.
            while answerer.poll_output().is_some() {}
        }
        best = std::array::from_fn(|step| best[step].min(total[step]));
    }
    (bytes, best)
}
