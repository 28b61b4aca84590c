//! The private decoders of blobs, for [`crate::fuzzing`].

use std::ops::Range;

use blake3::Hash;

use super::index::{Counts, Noted};
use super::meta::Meta;
use super::place::Segments;
use super::tree;
use crate::fuzzing::Say;

/// The rows of the index of blobs.
pub(crate) fn rows(bytes: &[u8], say: &mut Say<'_>) {
    let meta = Meta::decode(bytes);
    say("meta", meta.is_some(), &meta);
    if let Some(again) = meta.as_ref().and_then(Meta::encode) {
        assert_eq!(Meta::decode(&again), meta);
    }
    let noted = Noted::decode(bytes);
    say("noted", noted.is_some(), &noted.is_some());
    let counts = Counts::decode(bytes);
    say("counts", counts.is_some(), &counts);
    if let Some(counts) = counts {
        assert_eq!(counts.encode(), bytes);
    }
    let place = Segments::decode(bytes);
    say("place", place.is_some(), &place.as_ref().map(Segments::bytes));
    if let Some(again) = place.as_ref().and_then(Segments::encode) {
        assert_eq!(
            Segments::decode(&again).as_ref().map(Segments::bytes),
            place.map(|it| it.bytes())
        );
    }
}

/// The groups in a verified encoding.
pub(crate) fn decoded<'a>(
    root: Hash,
    size: u64,
    bytes: &Range<u64>,
    encoded: &'a [u8],
) -> Option<Vec<(u64, &'a [u8])>> {
    let tree = tree::of(size);
    tree::decode(root, tree, &tree::groups_of(bytes), encoded).map(|decoded| decoded.groups)
}
