//! Conditional and range requests (RFC 9110): which part of a file is asked for, and whether the client has
//! it already.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Nothing,
}

/// The answer that these headers require for a file of this length and tag. As the RFC allows, a request with
/// several ranges, with a unit other than bytes or with a malformed range gets the whole file.
pub(super) fn wanted(headers: &HeaderMap, bytes: u64, tag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::Whole };
    if text(header::IF_RANGE).is_some_and(|known| known.trim() != tag) {
        return Wanted::Whole;
    }
    let spec = range.trim().strip_prefix("bytes=").filter(|spec| !spec.contains(','));
    let Some((first, last)) = spec.and_then(|spec| spec.trim().split_once('-')) else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Some(None), Some(Some(0))) => Wanted::Nothing,
        (Some(None), Some(Some(suffix))) if bytes > 0 => {
            Wanted::Part(bytes.saturating_sub(suffix)..bytes)
        }
        (Some(None), Some(Some(_))) => Wanted::Nothing,
        (Some(Some(first)), Some(Some(last))) if first > last => Wanted::Whole,
        (Some(Some(first)), Some(_)) if first >= bytes => Wanted::Nothing,
        (Some(Some(first)), Some(last)) => {
            let end = last.map_or(bytes, |last| last.saturating_add(1).min(bytes));
            Wanted::Part(first..end)
        }
        _ => Wanted::Whole,
    }
}

/// `Some(None)` of an empty text, `None` of a text that is no number.
fn number(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "" => Some(None),
        // A number that is too large is still a number, beyond the end of every file.
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Some(text.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn asked(pairs: &[(HeaderName, &'static str)], bytes: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, HeaderValue::from_static(value));
        }
        wanted(&headers, bytes, "\"tag\"")
    }

    #[test]
    fn one_range_of_bytes_is_understood() {
        let of_ten = |range| asked(&[(header::RANGE, range)], 10);
        assert_eq!(of_ten("bytes=0-0"), Wanted::Part(0..1));
        assert_eq!(of_ten("bytes=2-5"), Wanted::Part(2..6));
        assert_eq!(of_ten("bytes=2-"), Wanted::Part(2..10));
        assert_eq!(of_ten("bytes=9-99"), Wanted::Part(9..10));
        assert_eq!(of_ten("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(of_ten("bytes=-30"), Wanted::Part(0..10));
        assert_eq!(of_ten("bytes=0-99999999999999999999999"), Wanted::Part(0..10));
    }

    #[test]
    fn bytes_that_are_not_there_are_told_apart_from_what_is_no_range() {
        let of_ten = |range| asked(&[(header::RANGE, range)], 10);
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of_ten(range), Wanted::Nothing, "{range}");
        }
        for range in ["bytes=5-2", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes=0-1,3-4"] {
            assert_eq!(of_ten(range), Wanted::Whole, "{range}");
        }
        assert_eq!(asked(&[(header::RANGE, "bytes=0-")], 0), Wanted::Nothing);
        assert_eq!(asked(&[(header::RANGE, "bytes=-1")], 0), Wanted::Nothing);
        assert_eq!(asked(&[], 0), Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole_file() {
        let with = |tag| asked(&[(header::RANGE, "bytes=1-2"), (header::IF_RANGE, tag)], 10);
        assert_eq!(with("\"tag\""), Wanted::Part(1..3));
        assert_eq!(with("\"old\""), Wanted::Whole);
    }
}
