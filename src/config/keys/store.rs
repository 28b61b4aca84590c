//! `[store]`: the limits of the record store.

use toml::Value;

use super::{Key, Shown, number, unset};

/// Largest number of records that can be set as a limit.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// Room for the largest envelope of one writer.
const KEY_BYTES_MIN: u64 = 256 << 10;

fn or_unset(value: Option<u64>, example: i64) -> Shown {
    value.map_or(Shown::Unset(Value::Integer(example)), number)
}

pub(super) const STORE: &[Key] = &[
    key!(
        "store",
        "memory_bytes",
        "Memory for cached blocks and write buffers.",
        |s, i| i.bytes().map(|it| s.store.memory_bytes = it),
        |s| number(s.store.memory_bytes),
    ),
    key!(
        "store",
        "disk_bytes",
        "Most bytes of records to keep; not set: as the disk allows.",
        |s, i| i.bytes().map(|it| s.store.disk_bytes = Some(it)),
        |s| s.store.disk_bytes.map_or_else(|| unset("10GiB"), number),
    ),
    key!(
        "store",
        "records",
        "Most records of others to keep, one for each writer of a name. When they are reached, a record closer to \
         this node displaces a farther one, and one of a member below its fair share one of a member over its share.",
        |s, i| i.whole(1, COUNT_MAX).map(|it| s.store.quotas.records = Some(it)),
        |s| or_unset(s.store.quotas.records, 10_000_000),
    ),
    key!(
        "store",
        "member_records",
        "Most records of one member that this node takes from it; what other nodes hold comes in by repair.",
        |s, i| i.whole(1, COUNT_MAX).map(|it| s.store.quotas.member_records = Some(it)),
        |s| or_unset(s.store.quotas.member_records, 100_000),
    ),
    key!(
        "store",
        "member_bytes",
        "Most bytes of records of one member that this node takes from it.",
        |s, i| i.bytes().map(|it| s.store.quotas.member_bytes = Some(it)),
        |s| s.store.quotas.member_bytes.map_or_else(|| unset("1GiB"), number),
    ),
    key!(
        "store",
        "key_bytes",
        "Most bytes that all writers of one name have together, at least 256KiB.",
        |s, i| {
            let bytes = i.bytes()?;
            if bytes < KEY_BYTES_MIN {
                return Err("must be at least 256KiB, what one writer may need".into());
            }
            s.store.quotas.key_bytes = Some(bytes);
            Ok(())
        },
        |s| s.store.quotas.key_bytes.map_or_else(|| unset("1MiB"), number),
    ),
    key!(
        "store",
        "sync",
        "Acknowledge only what is on the disk; false trusts the operating system with it.",
        |s, i| i.boolean().map(|it| s.store.sync = it),
        |s| Shown::Set(Value::Boolean(s.store.sync)),
    ),
];
