//! The limits of a record, in one place, related to each other by assertions.

use std::time::Duration;

use crate::{Kind, Space};

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
/// Most envelopes of one key where writers' nodes store, those that others supersede included. A superseded
/// envelope gives up its place among the writers and stays until it expires. Raising it lets more nodes take
/// turns at one record within its life, and makes its state, which a read of a stale replica fetches, larger.
pub const WRITERS_KEPT_MAX: u16 = 1024;
/// Bytes of a key's envelopes from which no further writer beyond the limit of writers is let in: what
/// [`WRITERS_MAX`] writers can have at most, so that superseded envelopes make no state larger than that.
pub const STATE_BYTES_MAX: u64 = WRITERS_MAX as u64 * ENVELOPE_BYTES_MAX as u64;
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

/// Most writers of one counter, set or map, beside [`SHARED_HOLDERS_MAX`]; refused at ingress, never
/// at merge. Raising it makes each read of a much-written record larger.
pub const SHARED_WRITERS_MAX: u16 = 256;
/// Further writers of one counter, set or map that are among the nodes closest to the key: the nodes
/// that carry out operations for others when [`SHARED_WRITERS_MAX`] writers are there. Twice the
/// largest replication.
pub const SHARED_HOLDERS_MAX: u16 = 64;
/// Largest share of one writer of a counter, set or map. All shares of a key together, 5 MiB at most,
/// must fit the pages that a read fetches from one replica.
pub const SHARE_BYTES_MAX: usize = 16 * 1024;
/// Most elements or fields in the share of one writer, the removals that it keeps included. Raising it
/// makes an operation on a large set slower.
pub const SHARE_ENTRIES_MAX: usize = 1024;
/// Longest element of a set and longest name of a map's field, in bytes of UTF-8.
pub const ELEMENT_BYTES_MAX: usize = 512;
/// Most elements in one operation on a set.
pub const OPERATION_ELEMENTS_MAX: usize = 256;
/// Largest operation as it is sent to a replica: an operation that cannot fit a share is not sent.
pub const OPERATION_BYTES_MAX: usize = SHARE_BYTES_MAX + 1024;

/// Most writers of a team beside its owner. Raising it makes each list larger, which every holder and
/// reader of the team's records keeps in memory.
pub const TEAM_WRITERS_MAX: usize = 256;
/// Largest encoded list of a team's writers.
pub const TEAM_LIST_BYTES_MAX: usize = TEAM_WRITERS_MAX * 34 + NAME_BYTES_MAX + 32;

/// Most writers of a key of this space and kind.
#[must_use]
pub const fn writers_max(space: Space, kind: Kind) -> u16 {
    match space {
        Space::Provider => PROVIDERS_MAX,
        _ if kind.is_shared() => SHARED_WRITERS_MAX + SHARED_HOLDERS_MAX,
        _ => WRITERS_MAX,
    }
}

const _: () = assert!(SHARE_BYTES_MAX <= VALUE_BYTES_MAX);
const _: () = assert!(
    (SHARED_WRITERS_MAX + SHARED_HOLDERS_MAX) as usize * SHARE_BYTES_MAX <= 5 * 1024 * 1024
);

const _: () = assert!(TEAM_LIST_BYTES_MAX <= VALUE_BYTES_MAX);
const _: () = assert!(PROVIDERS_MAX as usize <= CONTEXT_ENTRIES_MAX);
const _: () = assert!(VALUE_BYTES_MAX <= PAYLOAD_BYTES_MAX);
const _: () =
    assert!(HEAD_BYTES_MAX >= NAME_BYTES_MAX + CONTEXT_ENTRIES_MAX * 48 + VALUES_MAX * 32);
const _: () = assert!(ENVELOPE_BYTES_MAX < 256 * 1024);
