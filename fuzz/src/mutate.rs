//! Making hostile bytes out of honest ones.

use potluck_base::Rng;

/// Longest input.
const BYTES_MAX: usize = 4096;

/// One input: a sample with a few random changes, or now and then pure noise.
pub(crate) fn input(rng: &mut Rng, samples: &[Vec<u8>]) -> Vec<u8> {
    if rng.chance(0.05) {
        let length = rng.below(1300) as usize;
        return (0..length).map(|_| rng.next_u64() as u8).collect();
    }
    let mut bytes = samples[rng.below(samples.len() as u64) as usize].clone();
    for _ in 0..rng.below(5) {
        change(rng, &mut bytes, samples);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    let interesting = [0x00, 0x01, 0x17, 0x18, 0x19, 0x1b, 0x5b, 0x7f, 0x80, 0x9f, 0xbf, 0xff];
    match rng.below(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, rng.next_u64() as u8),
        2 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        3 if at < bytes.len() => bytes[at] = interesting[rng.below(12) as usize],
        4 if at < bytes.len() => {
            bytes.remove(at);
        }
        5 => {
            // The head of this one and the tail of another.
            let other = &samples[rng.below(samples.len() as u64) as usize];
            let from = rng.below(other.len() as u64 + 1) as usize;
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            let end = (at + rng.below(16) as usize).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}
