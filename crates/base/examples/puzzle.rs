//! What the puzzles of an `open` network cost: to make, to check, and to place one node among the 20
//! closest to a key, for an honest program and for one that searches keys in batches.
//!
//! `cargo run --release -p potluck-base --example puzzle`, on one core of a Linux machine. The figures count
//! user time of the process, as the kernel does, so other programs change them little.
#![allow(clippy::print_stdout, reason = "telling figures is what it is for")]

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use potluck_base::puzzle::{KeySearch, SolutionSearch, solves_dynamic, solves_static};
use potluck_base::{Difficulty, Identity, NetworkId, NodeId, PublicKey, PuzzleEpoch};

/// Points that are compressed with one inversion.
const BATCH: usize = 256;
/// User time, in clock ticks of a hundredth of a second, for which each row is measured.
const TICKS: u64 = 300;
/// Places among which an attacker wants to be.
const CLOSEST: f64 = 20.0;

fn main() {
    let hardest = Difficulty::new(28, 32).expect("within the limits");
    let network = NetworkId::open("measure", hardest);

    let mut keys = KeySearch::new(network, hardest, [7; 32]);
    let honest = rate(256, || drop(keys.step(256)));
    let id = NodeId::from_bytes([9; 32]);
    let mut numbers = SolutionSearch::new(&id, hardest, PuzzleEpoch(2970));
    let hashes = rate(65_536, || {
        numbers.step(65_536);
    });
    let batched = batch_rate(&network, hardest);
    let checks = check_rate(&network, hardest);

    println!("honest key pairs        {honest:>12.0} a second");
    println!("key pairs in batches    {batched:>12.0} a second, {:.0} as many", batched / honest);
    println!("numbers                 {hashes:>12.0} a second");
    println!("check of a whole proof  {:>12.2} us", 1e6 / checks);
    println!("static puzzle, bits: mean time of an honest search, of a batched one");
    for bits in [8, 12, 16, 20, 24] {
        let tries = 2f64.powi(bits);
        println!("  {bits:>2}  {:>10}  {:>10}", text(tries / honest), text(tries / batched));
    }
    println!("dynamic puzzle, bits: mean time");
    for bits in [12, 16, 20, 22, 23, 24, 26] {
        println!("  {bits:>2}  {:>10}", text(2f64.powi(bits) / hashes));
    }
    let usual = Difficulty::DEFAULT;
    println!("one identity among the {CLOSEST} closest to a key ({usual}): tries, honest, batched");
    for nodes in [1e4, 1e6] {
        let tries = nodes / CLOSEST * 2f64.powi(usual.static_bits().into());
        println!(
            "  N = {nodes:>8.0}  {tries:>8.1e}  {:>10}  {:>10}, all {CLOSEST}: {}",
            text(tries / honest),
            text(tries / batched),
            text(CLOSEST * tries / batched)
        );
    }
    let weekly = CLOSEST * 2f64.powi(usual.dynamic_bits().into()) / hashes;
    println!("and the solutions of {CLOSEST} identities each week: {}", text(weekly));
}

/// Times a second that something happens, which `work` does `each` times.
fn rate(each: u64, mut work: impl FnMut()) -> f64 {
    work();
    let (start, mut done) = (user_ticks(), 0);
    loop {
        for _ in 0..16 {
            work();
            done += each;
        }
        let spent = user_ticks() - start;
        if spent >= TICKS {
            return done as f64 / (spent as f64 / 100.0);
        }
    }
}

/// User time of this process, in clock ticks.
fn user_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("the name is in brackets");
    fields.split_whitespace().nth(11).and_then(|ticks| ticks.parse().ok()).expect("user time")
}

/// Checks of both puzzles, from the public key on.
fn check_rate(network: &NetworkId, difficulty: Difficulty) -> f64 {
    let key = Identity::from_seed([1; 32]).public_key();
    let mut held = 0_u64;
    let rate = rate(1024, || {
        for solution in 0..1024 {
            let id = std::hint::black_box(key).node_id(network);
            // Both in any case, as for a proof that holds.
            let both = solves_static(&id, difficulty)
                | solves_dynamic(&id, difficulty, PuzzleEpoch(2970), solution);
            held += u64::from(both);
        }
    });
    std::hint::black_box(held);
    rate
}

/// Key pairs tried by an attacker: each next public key is the last one plus eight times the base point,
/// whose secret scalar is known as well, and one inversion serves for a batch.
fn batch_rate(network: &NetworkId, difficulty: Difficulty) -> f64 {
    let step = ED25519_BASEPOINT_POINT.mul_by_cofactor();
    let (mut point, mut fits) = (step, 0_u64);
    let rate = rate(BATCH as u64, || {
        let mut points = [step; BATCH];
        for slot in &mut points {
            *slot = point;
            point += step;
        }
        for compressed in EdwardsPoint::compress_batch(&points) {
            let id = PublicKey::from_bytes(compressed.to_bytes()).node_id(network);
            fits += u64::from(solves_static(&id, difficulty));
        }
    });
    std::hint::black_box(fits);
    rate
}

fn text(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}
