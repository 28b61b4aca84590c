//! Which values are renewed, and when.
//!
//! A writer that names a lifetime wishes the record to end; one that names none wishes it to stay. The
//! wish is in the signed expiry itself, so that it survives a restart, a lost store and any later change
//! of the default: an expiry at a whole second is renewed, any other is not.

use std::time::Duration;

use potluck_base::UnixMillis;
use potluck_record::{SignedHead, ValueEntry};

use super::BEHIND_PART;
use crate::config::Config;

const SECOND_MS: u64 = 1000;
/// A covering envelope is looked after in this part of the default life after its half-life.
const CHECK_PART: u32 = 20;

/// The expiry of a value whose writer named no lifetime: renewed by its node. At most `life` away, and
/// at a whole second.
pub(crate) fn renewable(wall: UnixMillis, life: Duration) -> UnixMillis {
    let end = wall.plus(life).0;
    // A life below a second has no whole second in it; it is not renewed.
    match end - end % SECOND_MS {
        whole if whole > wall.0 => UnixMillis(whole),
        _ => fixed(wall, life),
    }
}

/// The expiry of a value whose writer named this lifetime: it ends then. Never at a whole second.
pub(crate) fn fixed(wall: UnixMillis, life: Duration) -> UnixMillis {
    match wall.plus(life) {
        UnixMillis(end) if end.is_multiple_of(SECOND_MS) => UnixMillis(end.saturating_sub(1)),
        end => end,
    }
}

/// Whether the writer's node renews this value.
pub(crate) fn is_renewable(value: &ValueEntry) -> bool {
    value.expires().0.is_multiple_of(SECOND_MS)
}

/// What is due for an own envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    No,
    /// No value of it is renewed, but it may cover values of other writers that were: whether it must
    /// outlive them is to be looked up.
    Check,
    /// A value passed its half-life this long ago.
    Late(Duration),
}

impl Due {
    /// Whether this is so late that the node is behind.
    pub(crate) fn is_behind(self, config: &Config) -> bool {
        matches!(self, Self::Late(late) if late > config.life_default / BEHIND_PART)
    }
}

/// When half of the time from `signed` to `expires` is over, and earlier if less than a quarter of the
/// default life is left: a value that a later write carries along has an older expiry.
fn half_life(config: &Config, signed: UnixMillis, expires: UnixMillis) -> UnixMillis {
    let middle = signed.0.midpoint(expires.0);
    let quarter = u64::try_from((config.life_default / 4).as_millis()).unwrap_or(u64::MAX);
    UnixMillis(middle.min(expires.0.saturating_sub(quarter)))
}

/// What is due for the own envelope with this head.
pub(crate) fn due(config: &Config, head: &SignedHead, wall: UnixMillis) -> Due {
    let signed = head.dot().millis();
    let renewed = head.values().iter().filter(|it| is_renewable(it) && it.expires() > wall);
    if let Some(first) = renewed.map(ValueEntry::expires).min() {
        let half = half_life(config, signed, first);
        return if wall >= half { Due::Late(wall.since(half)) } else { Due::No };
    }
    let half = UnixMillis(signed.0.midpoint(head.expires().0));
    let looked_after = half <= wall && wall < half.plus(config.life_default / CHECK_PART);
    if !head.context().is_empty() && looked_after { Due::Check } else { Due::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: UnixMillis = UnixMillis(1_700_000_000_123);

    #[test]
    fn a_chosen_life_never_looks_like_a_default_one() {
        for offset in 0..2500 {
            let wall = UnixMillis(WALL.0 + offset);
            for life in [1, 1000, 1500, 90_000, 31_536_000_000].map(Duration::from_millis) {
                let chosen = fixed(wall, life);
                assert!(!chosen.0.is_multiple_of(1000), "{chosen:?}");
                assert!(wall.plus(life).since(chosen) <= Duration::from_millis(1));
                let stays = renewable(wall, life);
                assert!(stays > wall || life == Duration::from_millis(1), "{life:?}");
                assert!(stays <= wall.plus(life), "it never exceeds the longest life");
                if life >= Duration::from_secs(1) {
                    assert!(stays.0.is_multiple_of(1000));
                }
            }
        }
    }
}
