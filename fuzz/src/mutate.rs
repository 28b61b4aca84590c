//! Making hostile input out of honest input.

use potluck_base::Rng;

use crate::cbor;

/// Longest input of most targets.
pub(crate) const BYTES_MAX: usize = 4096;

/// What the inputs of a target are made of, which decides how they are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes of no form that mutations know.
    Bytes,
    /// CBOR items one after the other.
    Cbor,
    /// Text, with words and signs that mean something in it.
    Text(&'static [&'static str]),
}

/// One input: a sample with a few random changes, or now and then pure noise.
pub(crate) fn input(rng: &mut Rng, form: Form, samples: &[Vec<u8>]) -> Vec<u8> {
    if samples.is_empty() || rng.chance(0.01) {
        let length = rng.below(1300) as usize;
        return (0..length).map(|_| rng.next_u64() as u8).collect();
    }
    let mut bytes = pick(rng, samples).to_vec();
    for _ in 0..rng.below(5) {
        let other = pick(rng, samples);
        match form {
            Form::Cbor if rng.chance(0.6) => bytes = cbor::change(rng, &bytes, other),
            Form::Text(words) if rng.chance(0.6) => change_text(rng, &mut bytes, words),
            Form::Bytes | Form::Cbor | Form::Text(_) => change_bytes(rng, &mut bytes, other),
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn pick<'a>(rng: &mut Rng, samples: &'a [Vec<u8>]) -> &'a [u8] {
    &samples[rng.below(samples.len() as u64) as usize]
}

fn change_bytes(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    let interesting = [0x00, 0x01, 0x17, 0x18, 0x19, 0x1b, 0x5b, 0x7f, 0x80, 0x9f, 0xbf, 0xff];
    match rng.below(9) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, rng.next_u64() as u8),
        2 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        3 if at < bytes.len() => bytes[at] = interesting[rng.below(12) as usize],
        4 if at < bytes.len() => {
            bytes.remove(at);
        }
        5 => {
            // The head of this one and the tail of another.
            let from = rng.below(other.len() as u64 + 1) as usize;
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        6 => {
            // A piece of another one in the middle.
            let from = rng.below(other.len() as u64 + 1) as usize;
            let end = (from + rng.below(64) as usize).min(other.len());
            bytes.splice(at..at, other[from..end].iter().copied());
        }
        // A length of 2, 4 or 8 bytes.
        7 => {
            let number = [0, 1, 0xffff, 0x7fff_ffff, u64::MAX, 1 << 63][rng.below(6) as usize];
            let width = 2 << rng.below(3);
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, number.to_be_bytes()[8 - width..].iter().copied());
        }
        _ => {
            let end = (at + rng.below(16) as usize).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

fn change_text(rng: &mut Rng, bytes: &mut Vec<u8>, words: &[&str]) {
    const SIGNS: [&str; 28] = [
        "/",
        "..",
        "%",
        "%2F",
        "%00",
        "%c3",
        "\0",
        "\n",
        "\r\n",
        "\u{7f}",
        "\u{202e}",
        "é",
        "\"",
        "\\",
        "'",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "=",
        "&",
        "?",
        "#",
        "-",
        "18446744073709551616",
        " ",
    ];
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    match rng.below(7) {
        0 | 1 if !words.is_empty() => {
            let word = words[rng.below(words.len() as u64) as usize];
            bytes.splice(at..at, word.bytes());
        }
        2 => {
            let sign = SIGNS[rng.below(SIGNS.len() as u64) as usize];
            bytes.splice(at..at, sign.bytes());
        }
        // Many of one sign: long names, deep nesting.
        3 => {
            let sign = SIGNS[rng.below(SIGNS.len() as u64) as usize];
            let times = 1 << rng.below(11);
            bytes.splice(at..at, sign.repeat(times).into_bytes());
        }
        // Another digit.
        4 => {
            let digits: Vec<usize> =
                (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let at = digits[rng.below(digits.len() as u64) as usize];
                bytes[at] = b'0' + rng.below(10) as u8;
            }
        }
        // Two lines or words change places.
        5 => {
            let end = (at + rng.below(32) as usize).min(bytes.len());
            let piece: Vec<u8> = bytes.drain(at..end).collect();
            let to = rng.below(bytes.len() as u64 + 1) as usize;
            bytes.splice(to..to, piece);
        }
        _ => {
            let end = (at + rng.below(8) as usize).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}
