//! What an input led to, as marks that a search for new behaviour can compare.
//!
//! A stable compiler gives a program no counters of the branches that it took. Instead, the value or
//! the error that came out is printed, and each pair of neighbouring words of that print is a mark. An
//! input that makes a new mark is kept and mutated further.

use std::fmt::{self, Debug, Write};

use allocation_counter::AllocationInfo;

/// Different marks. Two marks that share a number look like one.
pub const MARKS: usize = 1 << 16;
/// Bytes of a print that are looked at. Raising it tells longer lists apart, at the cost of time.
const PRINT_BYTES_MAX: usize = 2048;

/// What one input led to.
#[derive(Debug, Default)]
pub struct Seen {
    accepted: bool,
    marks: Vec<u16>,
    /// The largest number of bytes that a measured step had allocated at once.
    pub(crate) allocated: u64,
}

impl Seen {
    /// Forgets the last input.
    pub(crate) fn clear(&mut self) {
        self.accepted = false;
        self.marks.clear();
        self.allocated = 0;
    }

    /// Whether the input was taken for well-formed.
    pub(crate) const fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// The marks, each once, ascending.
    pub(crate) fn marks(&mut self) -> &[u16] {
        self.marks.sort_unstable();
        self.marks.dedup();
        &self.marks
    }

    /// Runs a decoder and notes the memory that it allocated at once.
    pub fn measured<T>(&mut self, decode: impl FnOnce() -> T) -> T {
        let mut decoded = None;
        let AllocationInfo { bytes_max, .. } =
            allocation_counter::measure(|| decoded = Some(decode()));
        self.allocated = self.allocated.max(bytes_max);
        decoded.expect("the closure was called")
    }

    /// The input was taken, as this.
    pub fn accept(&mut self, what: &str, value: &impl Debug) {
        self.accepted = true;
        self.note(what, value);
    }

    /// Something was seen on the way, an error for example.
    pub fn note(&mut self, what: &str, value: &impl Debug) {
        let mut marker = Marker::new(what, &mut self.marks);
        // It ends early where the print is longer than what is looked at.
        let _ = write!(marker, "{value:?}");
        marker.end_word();
    }

    /// Takes over what another one saw.
    pub(crate) fn take(&mut self, other: Self) {
        self.accepted |= other.accepted;
        self.marks.extend(other.marks);
    }

    /// A number was seen; only its magnitude counts.
    pub fn count(&mut self, what: &str, number: u64) {
        let hash = fnv(fnv(FNV, what.as_bytes()), &[64 - number.leading_zeros() as u8]);
        self.marks.push(folded(hash));
    }

    /// The result of a decoder whose values have no unlimited variety.
    pub fn result<T: Debug, E: Debug>(&mut self, what: &str, result: &Result<T, E>) {
        match result {
            Ok(value) => self.accept(what, value),
            Err(error) => self.note(what, error),
        }
    }
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

const fn folded(hash: u64) -> u16 {
    (hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16
}

/// Takes a print apart into words, and makes a mark of each pair of neighbours.
///
/// Words with a digit are numbers or ids: all are one. What stands in quotation marks is what the input
/// said: only whether there is any counts.
struct Marker<'a> {
    marks: &'a mut Vec<u16>,
    begin: u64,
    before: u64,
    word: u64,
    digit: bool,
    quoted: Quoted,
    left: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoted {
    No,
    Yes,
    Escaped,
}

impl<'a> Marker<'a> {
    fn new(what: &str, marks: &'a mut Vec<u16>) -> Self {
        let begin = fnv(FNV, what.as_bytes());
        let quoted = Quoted::No;
        Self { marks, begin, before: begin, word: FNV, digit: false, quoted, left: PRINT_BYTES_MAX }
    }

    fn end_word(&mut self) {
        let word = if self.digit { fnv(FNV, b"#") } else { self.word };
        if word != FNV {
            let pair = fnv(fnv(self.begin, &self.before.to_le_bytes()), &word.to_le_bytes());
            self.marks.push(folded(pair));
            self.before = word;
        }
        (self.word, self.digit) = (FNV, false);
    }

    fn take(&mut self, byte: u8) {
        match (self.quoted, byte) {
            (Quoted::Escaped, _) => self.quoted = Quoted::Yes,
            (Quoted::Yes, b'\\') => self.quoted = Quoted::Escaped,
            (Quoted::Yes, b'"') => {
                self.quoted = Quoted::No;
                self.end_word();
            }
            (Quoted::Yes, _) => self.word = fnv(FNV, b"text"),
            (Quoted::No, b'"') => {
                self.end_word();
                self.word = fnv(FNV, b"empty text");
                self.quoted = Quoted::Yes;
            }
            (Quoted::No, b'0'..=b'9') => {
                self.digit = true;
                self.word = fnv(self.word, b"0");
            }
            (Quoted::No, b'a'..=b'z' | b'A'..=b'Z' | b'_') => self.word = fnv(self.word, &[byte]),
            (Quoted::No, b' ' | b',' | b'\n') => self.end_word(),
            (Quoted::No, _) => {
                self.end_word();
                self.word = fnv(FNV, &[byte]);
                self.end_word();
            }
        }
    }
}

impl Write for Marker<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.take(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks_of(value: &impl Debug) -> Vec<u16> {
        let mut seen = Seen::default();
        seen.note("test", value);
        seen.marks().to_vec()
    }

    #[test]
    fn values_of_another_form_have_other_marks_and_other_numbers_have_not() {
        assert_eq!(marks_of(&Some(17)), marks_of(&Some(4)));
        assert_eq!(marks_of(&["a", "b"]), marks_of(&["a\"b", "c"]));
        assert_ne!(marks_of(&Some(17)), marks_of(&Option::<u8>::None));
        assert_ne!(marks_of(&Ok::<u8, ()>(1)), marks_of(&Err::<u8, u8>(1)));
        assert_ne!(marks_of(&""), marks_of(&"a"));
    }

    #[test]
    fn a_long_print_is_looked_at_in_part() {
        assert!(marks_of(&vec![0_u8; 1 << 20]).len() < 10);
    }

    #[test]
    fn what_a_step_allocated_at_once_is_measured() {
        let mut seen = Seen::default();
        assert_eq!(seen.measured(|| vec![0_u8; 5000].len()), 5000);
        assert!((5000..6000).contains(&seen.allocated), "{}", seen.allocated);
    }
}
