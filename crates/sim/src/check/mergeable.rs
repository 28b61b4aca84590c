//! Every state can be merged: whatever the nodes hold of a record, any member can supersede all of it with
//! one write.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Identity, Key, NetworkId, UnixMillis};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, Name, Place, Space, State};

use crate::check::Check;
use crate::world::World;

/// Keys that are checked. In larger worlds, an evenly spread sample.
const KEYS_MAX: usize = 500;
/// Pairs of a key and a node that are checked.
const LOADS_MAX: usize = 20_000;

const RULE: &str = "every record can be merged by any member";

/// For each record of the commons at a live node, merges the states of all nodes and supersedes the result,
/// like a client that reads and then writes with the context it read.
pub fn check(world: &mut World) -> Check {
    let (looked_at, wrong) = look(world);
    Check::none_of(RULE, looked_at, &wrong)
}

/// The same for the end of any run, including one without records.
pub fn check_any(world: &mut World) -> Check {
    let (looked_at, wrong) = look(world);
    Check::none_of_any(RULE, looked_at, &wrong)
}

fn look(world: &mut World) -> (usize, Vec<String>) {
    let mut states: BTreeMap<Key, State<Envelope>> = BTreeMap::new();
    let live = world.live();
    let mut keys: Vec<Key> = Vec::new();
    for node in &live {
        keys.extend(world.disk(*node).keys().into_iter().map(|(key, _)| key));
    }
    keys.sort_unstable();
    keys.dedup();
    let most = (LOADS_MAX / live.len().max(1)).clamp(1, KEYS_MAX);
    let every = keys.len().div_ceil(most).max(1);
    for key in keys.into_iter().step_by(every) {
        for node in &live {
            for envelope in world.disk(*node).envelopes(&key, Place::Replica) {
                if is_merged_by_a_write(&envelope) {
                    states.entry(key).or_default().merge(envelope);
                }
            }
        }
    }
    let (network, now) = (*world.network_id(), world.wall_clock());
    let member = Identity::from_seed([0x4d; 32]);
    let wrong: Vec<String> = states
        .iter()
        .filter_map(|(key, state)| {
            let why = merge(state, &member, &network, now).err()?;
            Some(format!("{key:?}: {why}"))
        })
        .collect();
    (states.len(), wrong)
}

/// Whether one write merges the record: readers fold the shares of counters, sets and maps, and in the other
/// spaces not every member may write.
fn is_merged_by_a_write(envelope: &Envelope) -> bool {
    let head = envelope.head();
    head.space() == Space::Commons && matches!(head.kind(), Kind::Siblings | Kind::Lww)
}

/// Supersedes a state by one write of `member`. Returns why that is impossible, if it is.
fn merge(
    state: &State<Envelope>,
    member: &Identity,
    network: &NetworkId,
    now: UnixMillis,
) -> Result<(), String> {
    let read = state.context();
    let context: Context =
        read.to_string().parse().map_err(|_| "the context is refused as printed".to_owned())?;
    let name = state.iter().next().map(|held| held.head().name().to_owned()).unwrap_or_default();
    let expires = state.last_expiry().max(UnixMillis(now.0 + 1));
    let dot = Dot::next(context.highest(), now);
    let draft = Draft {
        space: Space::Commons,
        name: Some(Name::new(name).map_err(|_| "its name is none".to_owned())?),
        kind: Kind::Siblings,
        values: vec![(dot, expires, Bytes::from_static(b"merged"))],
        dot,
        context,
        expires,
        certificate: None,
    };
    let envelope = Envelope::sign(member, network, draft).map_err(|why| why.to_string())?;
    let mut merged = state.clone();
    merged.merge(envelope);
    let live = merged.live(now);
    let only = live.len() == 1 && live.iter().all(|value| value.writer == member.public_key());
    if only { Ok(()) } else { Err(format!("{} values are left", live.len())) }
}

#[cfg(test)]
mod tests {
    use potluck_record::limits::CONTEXT_ENTRIES_MAX;

    use super::*;
    use crate::hostile::forge::{Forger, Shape};
    use crate::hostile::testing::as_member;

    #[test]
    fn a_state_full_of_invented_writers_can_be_merged() {
        as_member(|me| {
            let mut forger = Forger::new(1);
            let mut state = State::new();
            for _ in 0..40 {
                let writer = forger.throw_away();
                let context = forger.invented_context(me, CONTEXT_ENTRIES_MAX - 1);
                let shape = Shape { bytes: 16, context, ahead_ms: 0 };
                state.merge(forger.envelope(me, &writer, "name", shape));
            }
            let member = Identity::from_seed([1; 32]);
            assert_eq!(merge(&state, &member, me.network, me.wall), Ok(()));
            // Finds an envelope that is dated so far ahead that the dot of a merge cannot be higher.
            let writer = forger.throw_away();
            let far =
                Shape { bytes: 16, ahead_ms: (u64::MAX >> 17) - me.wall.0, ..Shape::default() };
            state.merge(forger.envelope(me, &writer, "name", far));
            assert_eq!(merge(&state, &member, me.network, me.wall), Ok(()), "the dot is above all");
        });
    }
}
