//! Messages between neighbours of the overlay of all nodes, to find shared files by name.
//!
//! No message contains an address: hits return link by link, so a search cannot be directed at a node.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use potluck_base::{BlobId, PublicKey};

use crate::codec::{cbor_blob, cbor_public_key};

/// Most words in a search.
pub const WORDS_MAX: usize = 8;
/// Longest word in characters.
pub const WORD_CHARS_MAX: usize = potluck_base::words::WORD_CHARS_MAX;
/// Most bytes of all words of a search. With them a search stays below 400 bytes.
pub const WORDS_BYTES_MAX: usize = 320;
/// The farthest ring of a search, in hops.
pub const RINGS_MAX: u8 = 4;
/// Most walkers in one bundle.
pub const WALKERS_MAX: u8 = 192;
/// Most steps of a walker.
pub const STEPS_MAX: u8 = 16;
/// Most hits in one message, and for one search.
pub const HITS_MAX: usize = 32;
/// Longest name of a shared file in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The smallest filter of keywords that is not empty, in bytes.
pub const FILTER_BYTES_MIN: usize = 64;
/// The largest filter of keywords in bytes: fits in a datagram.
pub const FILTER_BYTES_MAX: usize = 1024;

/// Identifies a search. The number is random, and does not reveal the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct QueryId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// A search message from one neighbour to another. The answer is [`crate::Response::Taken`] or
/// [`crate::Refusal::Busy`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum SearchRequest {
    /// A Bloom filter of the words in the names that the sender shares; it replaces the one before. Empty, or
    /// a power of two from 64 to 1024 bytes.
    #[n(0)]
    Keywords {
        /// The filter.
        #[cbor(n(0), with = "cbor_filter")]
        filter: Bytes,
    },
    /// A search that is flooded over a number of hops.
    #[n(1)]
    Query {
        /// Its id.
        #[n(0)]
        query: QueryId,
        /// The words that must all be in a file's name, see [`WORDS_MAX`].
        #[cbor(n(1), with = "cbor_words")]
        words: Vec<String>,
        /// The number of the ring, from 1: how often the origin has sent the search. Each ring reaches
        /// farther.
        #[n(2)]
        ring: u8,
        /// The number of links that it may still pass beyond the receiver; less than `ring`.
        #[n(3)]
        hops: u8,
    },
    /// Walkers of a search.
    #[n(2)]
    Walk {
        /// Its id.
        #[n(0)]
        query: QueryId,
        /// The words, as in a query.
        #[cbor(n(1), with = "cbor_words")]
        words: Vec<String>,
        /// The number of walkers. They separate where they can.
        #[n(2)]
        walkers: u8,
        /// The number of links that each may still pass beyond the receiver.
        #[n(3)]
        steps: u8,
    },
    /// Hits, sent back along the links on which the search came.
    #[n(3)]
    Hits {
        /// The search.
        #[n(0)]
        query: QueryId,
        /// The hits.
        #[cbor(n(1), with = "cbor_hits")]
        hits: Vec<Hit>,
    },
}

impl SearchRequest {
    /// Whether the numbers are within their limits. Lists and texts are checked when they are decoded.
    #[must_use]
    pub const fn is_within_limits(&self) -> bool {
        match self {
            Self::Query { ring, hops, .. } => 1 <= *ring && *ring <= RINGS_MAX && *hops < *ring,
            Self::Walk { walkers, steps, .. } => {
                1 <= *walkers && *walkers <= WALKERS_MAX && *steps < STEPS_MAX
            }
            Self::Keywords { .. } | Self::Hits { .. } => true,
        }
    }
}

/// A shared file whose name matches.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hit {
    /// The name it is shared under.
    #[cbor(n(0), with = "cbor_name")]
    pub name: String,
    /// The id in its link.
    #[cbor(n(1), with = "cbor_blob")]
    pub root: BlobId,
    /// Its size in bytes; of a folder, the size of all its files.
    #[n(2)]
    pub bytes: u64,
    /// Whether it is a folder.
    #[n(3)]
    pub folder: bool,
    /// The node that claims to have it.
    #[cbor(n(4), with = "cbor_public_key")]
    pub holder: PublicKey,
}

mod cbor_filter {
    //! A filter as a byte string.
    use super::{FILTER_BYTES_MAX, FILTER_BYTES_MIN};
    use crate::codec::Written;
    use bytes::Bytes;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(filter: &Bytes, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.bytes(filter)?;
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Bytes, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        let sizes = FILTER_BYTES_MIN..=FILTER_BYTES_MAX;
        let good = sizes.contains(&bytes.len()) && bytes.len().is_power_of_two();
        if bytes.is_empty() || good {
            Ok(Bytes::copy_from_slice(bytes))
        } else {
            Err(minicbor::decode::Error::message("size of a filter"))
        }
    }
}

mod cbor_words {
    //! Words as an array of texts.
    use super::{WORD_CHARS_MAX, WORDS_BYTES_MAX, WORDS_MAX};
    use crate::codec::{Written, elements};
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        words: &[String],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(words.len() as u64)?;
        for word in words {
            e.str(word)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<String>, minicbor::decode::Error> {
        let wrong = || minicbor::decode::Error::message("words of a search");
        let mut left = WORDS_BYTES_MAX;
        let words = elements(d, WORDS_MAX, |d| {
            let word = d.str()?;
            left = left.checked_sub(word.len()).ok_or_else(wrong)?;
            let good = !word.is_empty() && word.chars().count() <= WORD_CHARS_MAX;
            if good { Ok(word.to_owned()) } else { Err(wrong()) }
        })?;
        if words.is_empty() { Err(wrong()) } else { Ok(words) }
    }
}

mod cbor_name {
    //! A file's name as a text.
    use super::NAME_BYTES_MAX;
    use crate::codec::Written;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(name: &str, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.str(name)?;
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<String, minicbor::decode::Error> {
        let name = d.str()?;
        if (1..=NAME_BYTES_MAX).contains(&name.len()) {
            Ok(name.to_owned())
        } else {
            Err(minicbor::decode::Error::message("length of a name"))
        }
    }
}

mod cbor_hits {
    //! Hits as an array.
    use super::{HITS_MAX, Hit};
    use crate::codec::{Written, elements};
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(hits: &[Hit], e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.array(hits.len() as u64)?;
        for hit in hits {
            e.encode(hit)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<Hit>, minicbor::decode::Error> {
        elements(d, HITS_MAX, Decoder::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MESSAGE_BYTES_MAX;
    use crate::{DecodeError, Request, decode_request, encode_request};

    fn query(words: Vec<String>) -> Request {
        let query = QueryId([7; 16]);
        Request::Search(SearchRequest::Query { query, words, ring: 4, hops: 3 })
    }

    fn read(request: &Request) -> Result<Request, DecodeError> {
        decode_request(&encode_request(request))
    }

    #[test]
    fn the_longest_query_stays_under_four_hundred_bytes() {
        let longest = query(vec!["€".repeat(13) + "x"; WORDS_MAX]);
        assert!(encode_request(&longest).len() <= 400);
        assert_eq!(read(&longest), Ok(longest));
    }

    #[test]
    fn a_query_out_of_its_limits_is_no_message() {
        for words in [
            vec![],
            vec![String::new()],
            vec!["x".to_owned(); WORDS_MAX + 1],
            vec!["x".repeat(WORD_CHARS_MAX + 1)],
            vec!["€".repeat(14); WORDS_MAX],
        ] {
            assert_eq!(read(&query(words)), Err(DecodeError::Malformed));
        }
        let (query, words) = (QueryId([7; 16]), vec!["word".to_owned()]);
        for (ring, hops) in [(0, 0), (2, 2), (RINGS_MAX + 1, 0)] {
            let words = words.clone();
            let request = Request::Search(SearchRequest::Query { query, words, ring, hops });
            assert_eq!(read(&request), Err(DecodeError::Limit("reach of a search")));
        }
        for (walkers, steps) in [(0, 0), (WALKERS_MAX + 1, 0), (1, STEPS_MAX)] {
            let words = words.clone();
            let request = Request::Search(SearchRequest::Walk { query, words, walkers, steps });
            assert_eq!(read(&request), Err(DecodeError::Limit("reach of a search")));
        }
    }

    #[test]
    fn the_largest_filter_fits_in_a_datagram_and_odd_sizes_are_refused() {
        let keywords =
            |bytes| Request::Search(SearchRequest::Keywords { filter: vec![3; bytes].into() });
        assert!(encode_request(&keywords(FILTER_BYTES_MAX)).len() <= MESSAGE_BYTES_MAX);
        for good in [0, FILTER_BYTES_MIN, 512, FILTER_BYTES_MAX] {
            assert!(read(&keywords(good)).is_ok(), "{good}");
        }
        for bad in [1, 32, 65, 1000, 2048] {
            assert_eq!(read(&keywords(bad)), Err(DecodeError::Malformed), "{bad}");
        }
    }

    #[test]
    fn hits_have_bounded_names_and_a_bounded_number() {
        let hit = |length| Hit {
            name: "n".repeat(length),
            root: BlobId::from_bytes([1; 32]),
            bytes: 5,
            folder: false,
            holder: PublicKey::from_bytes([2; 32]),
        };
        let hits = |hits| Request::Search(SearchRequest::Hits { query: QueryId([7; 16]), hits });
        assert!(read(&hits(vec![hit(NAME_BYTES_MAX); HITS_MAX])).is_ok());
        for bad in [vec![hit(NAME_BYTES_MAX + 1)], vec![hit(0)], vec![hit(1); HITS_MAX + 1]] {
            assert_eq!(read(&hits(bad)), Err(DecodeError::Malformed));
        }
    }
}
