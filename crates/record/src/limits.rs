//! The limits of a record, in one place, related to each other by assertions.

use std::time::Duration;

use crate::Space;

/// Longest name in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 512;
/// Largest single value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most values that one writer keeps alive under one key: its own unmerged siblings.
pub const VALUES_MAX: usize = 8;
/// Most bytes of values in one envelope. Half of what a call carries, so that any envelope fits in
/// one call with room for its head.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Most entries of a context. Four times [`WRITERS_MAX`]: ingress holds the writers of a key down,
/// merge does not, and a context must be able to cover what merge let in.
pub const CONTEXT_ENTRIES_MAX: usize = 128;
/// Most writers of one key; refused at ingress, never at merge (limits at merge once made objects
/// unrepairable in Riak).
pub const WRITERS_MAX: u16 = 32;
/// Largest encoded head: name, context and value entries together with their framing.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Largest encoded envelope.
pub const ENVELOPE_BYTES_MAX: usize = HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX + 128;
/// How far a dot may lie ahead of a replica's clock at ingress. Bounds the harm of a writer that
/// inflates a dot or a context to these minutes.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest life of a record in `invite` and `lab` networks, and the default.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest life of a provider record.
pub const PROVIDER_LIFE: Duration = Duration::from_secs(3600);
/// Most provider records of one key, kept by a replica and named by an answer. Beyond, those that expire
/// last are kept.
pub const PROVIDERS_MAX: u16 = 128;

/// Most writers of a key of this space.
#[must_use]
pub const fn writers_max(space: Space) -> u16 {
    match space {
        Space::Provider => PROVIDERS_MAX,
        _ => WRITERS_MAX,
    }
}

const _: () = assert!(PROVIDERS_MAX as usize <= CONTEXT_ENTRIES_MAX);
const _: () = assert!(VALUE_BYTES_MAX <= PAYLOAD_BYTES_MAX);
const _: () =
    assert!(HEAD_BYTES_MAX >= NAME_BYTES_MAX + CONTEXT_ENTRIES_MAX * 48 + VALUES_MAX * 32);
const _: () = assert!(ENVELOPE_BYTES_MAX < 256 * 1024);
