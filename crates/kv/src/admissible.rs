//! The limits of time that an envelope must keep to be stored here, whatever its source.

use potluck_base::UnixMillis;
use potluck_record::limits::{CLOCK_AHEAD_MAX, PROVIDER_LIFE};
use potluck_record::{SignedHead, Space};

use crate::config::Config;

/// Whether an envelope's dot or context lies further in the future than clocks may differ.
pub(crate) fn is_future_dated(head: &SignedHead, wall: UnixMillis) -> bool {
    let latest = wall.plus(CLOCK_AHEAD_MAX);
    head.dot().millis() > latest || head.context().highest().millis() > latest
}

/// Whether an envelope from any source may be stored here, apart from its signature.
pub(crate) fn is_admissible(config: &Config, head: &SignedHead, wall: UnixMillis) -> bool {
    config.keeps_space(head.space()) && !is_future_dated(head, wall) && is_alive(config, head, wall)
}

/// Whether an envelope has not expired and does not live longer than this network allows.
pub(crate) fn is_alive(config: &Config, head: &SignedHead, wall: UnixMillis) -> bool {
    let longest = if head.space() == Space::Provider { PROVIDER_LIFE } else { config.life_max };
    head.expires() > wall && head.expires() <= wall.plus(longest + CLOCK_AHEAD_MAX)
}
