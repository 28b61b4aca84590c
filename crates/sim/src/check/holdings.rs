//! The disk space of one key and of one member at a node.

use std::collections::BTreeMap;

use potluck_base::PublicKey;
use potluck_record::limits::{STATE_BYTES_MAX, WRITERS_KEPT_MAX};
use potluck_record::{Place, Space};

use crate::check::Check;
use crate::world::World;

/// Most disk space of keys and members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Envelopes of one key.
    pub key_writers: usize,
    /// Bytes of them.
    pub key_bytes: u64,
    /// Bytes of one member over all keys of a node; `None`: not judged.
    pub member_bytes: Option<u64>,
}

impl Default for Limits {
    /// Three times what the store accepts for one key: replicas that were separated merge everything that
    /// all of them accepted.
    fn default() -> Self {
        Self {
            key_writers: 3 * usize::from(WRITERS_KEPT_MAX),
            key_bytes: 3 * STATE_BYTES_MAX,
            member_bytes: None,
        }
    }
}

/// Keys of one node that are checked. If there are more, an evenly spread sample.
const KEYS_MAX: usize = 500;

/// Whether each key and each member is within its limits at each live node. Provider records have a limit of
/// their own and are not checked.
pub fn check(world: &mut World, limits: Limits) -> Check {
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for node in world.live() {
        let mut members: BTreeMap<PublicKey, u64> = BTreeMap::new();
        let keys = world.disk(node).keys();
        let every = match limits.member_bytes {
            Some(_) => 1,
            None => keys.len().div_ceil(KEYS_MAX).max(1),
        };
        for (key, _) in keys.into_iter().step_by(every) {
            let held = world.disk(node).envelopes(&key, Place::Replica);
            let held: Vec<_> =
                held.iter().filter(|held| held.head().space() != Space::Provider).collect();
            let bytes: u64 = held.iter().map(|held| held.encoded_len() as u64).sum();
            looked_at += 1;
            if held.len() > limits.key_writers || bytes > limits.key_bytes {
                let count = held.len();
                wrong.push(format!("{node} holds {bytes} bytes of {count} writers of {key:?}"));
            }
            for envelope in held {
                let of = members.entry(envelope.head().writer()).or_default();
                *of += envelope.encoded_len() as u64;
            }
        }
        let Some(most) = limits.member_bytes else { continue };
        for (member, bytes) in members.into_iter().filter(|(_, bytes)| *bytes > most) {
            wrong.push(format!("{node} holds {bytes} bytes of {member:?}, {most} at most"));
        }
    }
    Check::none_of_any("no key and no member outgrows its share of a disk", looked_at, &wrong)
}
