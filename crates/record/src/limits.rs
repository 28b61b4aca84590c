//! The limits of records, and assertions that relate them.

use std::time::Duration;

use crate::{Kind, Space};

/// Longest name in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 512;
/// Largest single value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most live values of one writer under one key: its own unmerged siblings.
pub const VALUES_MAX: usize = 8;
/// Most bytes of values in one envelope: half of the size of a call, so that each envelope fits into one call
/// together with its head.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Most entries of a context: four times [`WRITERS_MAX`]. A store limits the writers of a key, a merge does
/// not, and a context must be able to cover all merged writers.
pub const CONTEXT_ENTRIES_MAX: usize = 128;
/// Most writers of one key. The limit applies when a writer's node stores, never at a merge (limits at a
/// merge once made objects in Riak impossible to repair).
pub const WRITERS_MAX: u16 = 32;
/// Most envelopes of one key that writers' nodes may store, including superseded ones. A superseded envelope
/// gives up its place among the writers and stays until it expires. Raising it lets more nodes write one
/// record in turn within the life of an envelope, and makes the state larger that a read of a stale replica
/// fetches.
pub const WRITERS_KEPT_MAX: u16 = 1024;
/// Bytes of a key's envelopes from which no writer beyond [`WRITERS_MAX`] is accepted: the most that
/// [`WRITERS_MAX`] writers can have, so that superseded envelopes do not make a state larger than that.
pub const STATE_BYTES_MAX: u64 = WRITERS_MAX as u64 * ENVELOPE_BYTES_MAX as u64;
/// Largest encoded head: name, context and value entries together with their framing.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Largest encoded envelope.
pub const ENVELOPE_BYTES_MAX: usize = HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX + 128;
/// How far a dot may be ahead of a replica's clock when a writer's node stores. It bounds the harm of a
/// writer that inflates a dot or a context.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest life of a record in `invite` and `lab` networks, and the default.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest life of a provider record.
pub const PROVIDER_LIFE: Duration = Duration::from_secs(3600);
/// Most provider records of one key that a replica stores and an answer contains. If there are more, those
/// that expire last are kept.
pub const PROVIDERS_MAX: u16 = 128;

/// Most writers of one counter, set or map, besides [`SHARED_HOLDERS_MAX`]. The limit applies when a writer's
/// node stores, never at a merge. Raising it makes each read of a record with many writers larger.
pub const SHARED_WRITERS_MAX: u16 = 256;
/// Further writers of one counter, set or map that are among the nodes closest to the key. These nodes carry
/// out operations for others when there are [`SHARED_WRITERS_MAX`] writers. The value is twice the largest
/// replication.
pub const SHARED_HOLDERS_MAX: u16 = 64;
/// Largest share of one writer of a counter, set or map. All shares of a key together, at most 5 MiB, must
/// fit into the pages that a read fetches from one replica.
pub const SHARE_BYTES_MAX: usize = 16 * 1024;
/// Most elements or fields in the share of one writer, including its removals. Raising it makes an operation
/// on a large set slower.
pub const SHARE_ENTRIES_MAX: usize = 1024;
/// Longest element of a set and longest name of a map's field, in bytes of UTF-8.
pub const ELEMENT_BYTES_MAX: usize = 512;
/// Most elements in one operation on a set.
pub const OPERATION_ELEMENTS_MAX: usize = 256;
/// Largest encoded operation. An operation that cannot fit into a share is not sent.
pub const OPERATION_BYTES_MAX: usize = SHARE_BYTES_MAX + 1024;

/// Most writers of a team besides its owner. Raising it makes each list larger, which every holder and reader
/// of the team's records keeps in memory.
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
