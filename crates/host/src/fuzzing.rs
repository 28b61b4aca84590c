//! For fuzz targets: what reads the files of a data folder, fed with any text.

use std::fmt::Debug;

use crate::{folder, membership};

/// Told what was read: by which reader, whether it was taken, and what came out.
pub type Say<'a> = dyn FnMut(&'static str, bool, &dyn Debug) + 'a;

/// The files of a data folder that are text.
///
/// # Panics
/// If what was read is written in another way.
pub fn texts(text: &str, say: &mut Say<'_>) {
    folder::fuzzing::texts(text, say);
    membership::fuzzing::book(text.as_bytes(), say);
    let entry = crate::parse_entry_point(text);
    say("entry point", entry.is_ok(), &entry);
}

/// Texts that they take.
#[must_use]
pub fn samples() -> Vec<String> {
    let mut samples = folder::fuzzing::samples();
    samples.push(membership::fuzzing::sample());
    samples.extend(["10.0.0.1:7", "seed.example.org", "[::1]:9", "::1"].map(str::to_owned));
    samples
}
