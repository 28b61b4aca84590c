//! Listing names: one page of the names that a node holds as a replica.
//!
//! The asking node merges the pages of all members. An entry therefore contains what decides which of several
//! states of a name is the newest, and a deleted name has an entry too.

use minicbor::{Decode, Encode};
use potluck_record::NAMES_PAGE_MAX;
use potluck_record::limits::NAME_BYTES_MAX;

use crate::codec::cbor_writer;

/// Most entries of one answer.
pub const NAMES_MAX: usize = NAMES_PAGE_MAX as usize;
/// Most bytes of the fields of an entry besides its name, with their framing.
pub const NAME_ENTRY_BYTES: usize = 64;

/// A request for a page of names, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Names {
    /// The number of the space, as in an envelope.
    #[n(0)]
    pub space: u8,
    /// The owner of an own space.
    #[cbor(n(1), with = "cbor_writer", has_nil)]
    pub owner: Option<[u8; 32]>,
    /// Only names with this prefix.
    #[cbor(n(2), with = "cbor_text")]
    pub prefix: String,
    /// Only names after this one; empty: from the first.
    #[cbor(n(3), with = "cbor_text")]
    pub after: String,
    /// Only names up to and including this one; empty: to the last.
    #[cbor(n(4), with = "cbor_text")]
    pub until: String,
    /// Most entries.
    #[n(5)]
    pub limit: u32,
}

/// The answer to [`Names`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct NamesFound {
    /// The states of names, in the order of names.
    #[cbor(n(0), with = "cbor_entries")]
    pub entries: Vec<NameEntry>,
    /// The last name that was read, if there may be more after it; empty: there are no more.
    #[cbor(n(1), with = "cbor_text")]
    pub next: String,
}

/// The answering node's state of one name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NameEntry {
    /// The name.
    #[cbor(n(0), with = "cbor_text")]
    pub name: String,
    /// The newest dot of the state's envelopes.
    #[n(1)]
    pub newest: u64,
    /// The sum of the dots of all its envelopes, big-endian.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub dots: [u8; 16],
    /// The number of the kind of the newest envelope.
    #[n(3)]
    pub kind: u8,
    /// Values that a reader sees; 0 if it is deleted.
    #[n(4)]
    pub values: u32,
    /// Bytes of the live values.
    #[n(5)]
    pub bytes: u64,
    /// The expiry of the last live value, in milliseconds since 1970.
    #[n(6)]
    pub expires_ms: u64,
}

const _: () = assert!(256 * (NAME_BYTES_MAX + NAME_ENTRY_BYTES) < crate::limits::CALL_BYTES_MAX);

type Wrong = minicbor::decode::Error;

mod cbor_text {
    //! A name or a prefix, within the limit of names.
    use super::{NAME_BYTES_MAX, Wrong};
    use crate::codec::Written;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(text: &str, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.str(text)?;
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, Wrong> {
        let text = d.str()?;
        if text.len() > NAME_BYTES_MAX {
            return Err(Wrong::message("name over its limit"));
        }
        Ok(text.to_owned())
    }
}

mod cbor_entries {
    //! The entries, within the limit.
    use super::{NAMES_MAX, NameEntry, Wrong};
    use crate::codec::{Written, elements};
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        entries: &[NameEntry],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(entries.len() as u64)?;
        entries.iter().try_for_each(|entry| e.encode(entry).map(drop))
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<NameEntry>, Wrong> {
        elements(d, NAMES_MAX, Decoder::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, Response};
    use crate::{decode_request, decode_response, encode_request, encode_response};

    fn question(prefix: &str) -> Request {
        Request::Names(Names {
            space: 1,
            owner: Some([7; 32]),
            prefix: prefix.to_owned(),
            after: "b".to_owned(),
            until: String::new(),
            limit: 9,
        })
    }

    fn entry(name: &str) -> NameEntry {
        NameEntry {
            name: name.to_owned(),
            newest: u64::MAX,
            dots: [0xff; 16],
            kind: 255,
            values: u32::MAX,
            bytes: u64::MAX,
            expires_ms: u64::MAX,
        }
    }

    fn found(entries: usize) -> Response {
        let entries = vec![entry("n"); entries];
        Response::Names(NamesFound { entries, next: "n".to_owned() })
    }

    #[test]
    fn a_question_and_its_answer_are_these_bytes() {
        let bytes = encode_request(&question("a/"));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let owner = "07".repeat(32);
        assert_eq!(
            hex,
            format!("02821181a60001015820{owner}0262612f0361620460 0509").replace(' ', "")
        );
        assert_eq!(decode_request(&bytes), Ok(question("a/")));
        let answer = Response::Names(NamesFound {
            entries: vec![NameEntry {
                name: "a/b".to_owned(),
                newest: 1,
                dots: [1; 16],
                kind: 0,
                values: 2,
                bytes: 3,
                expires_ms: 4,
            }],
            next: String::new(),
        });
        let bytes = encode_response(&answer);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let dots = "01".repeat(16);
        assert_eq!(hex, format!("02820f81a200818763612f620150{dots}000203040160"));
        assert_eq!(decode_response(&bytes), Ok(answer));
    }

    #[test]
    fn the_longest_entry_fits_in_what_is_reckoned_for_it() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let bytes = minicbor::to_vec(entry(&name)).expect("memory");
        assert!(bytes.len() <= NAME_BYTES_MAX + NAME_ENTRY_BYTES, "{}", bytes.len());
    }

    #[test]
    fn names_and_lists_over_their_limits_are_refused() {
        let long = |length: usize| encode_request(&question(&"x".repeat(length)));
        assert!(decode_request(&long(NAME_BYTES_MAX)).is_ok());
        assert!(decode_request(&long(NAME_BYTES_MAX + 1)).is_err());
        assert!(decode_response(&encode_response(&found(NAMES_MAX))).is_ok());
        assert!(decode_response(&encode_response(&found(NAMES_MAX + 1))).is_err());
    }
}
