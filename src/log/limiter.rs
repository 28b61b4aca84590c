//! One warning a minute for each place in the source.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;

/// Time within which a place writes one line. Raising it writes fewer lines, and later.
const PERIOD: Duration = Duration::from_secs(60);

/// When each place wrote its last line. It has at most as many members as the program has places that warn.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    places: HashMap<Identifier, Place>,
}

#[derive(Debug)]
struct Place {
    last: Instant,
    /// Lines that were left out since then.
    left_out: u64,
}

impl Limiter {
    /// Whether a line of this place may be written at `now`; if so, the number of lines left out before it.
    pub(super) fn pass(&mut self, place: Identifier, now: Instant) -> Option<u64> {
        let Some(place) = self.places.get_mut(&place) else {
            self.places.insert(place, Place { last: now, left_out: 0 });
            return Some(0);
        };
        if now.duration_since(place.last) < PERIOD {
            place.left_out = place.left_out.saturating_add(1);
            return None;
        }
        place.last = now;
        Some(std::mem::take(&mut place.left_out))
    }
}

#[cfg(test)]
mod tests {
    use tracing::field::FieldSet;
    use tracing::{Metadata, metadata::Kind};

    use super::*;

    struct Callsite;
    static METADATA: Metadata<'static> = Metadata::new(
        "test",
        "test",
        tracing::Level::WARN,
        None,
        None,
        None,
        FieldSet::new(&[], Identifier(&Callsite)),
        Kind::EVENT,
    );

    impl tracing::Callsite for Callsite {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            &METADATA
        }
    }

    #[test]
    fn a_place_writes_once_a_minute_and_counts_what_was_left_out() {
        let (mut limiter, begin) = (Limiter::default(), Instant::now());
        let place = || Identifier(&Callsite);
        assert_eq!(limiter.pass(place(), begin), Some(0));
        for second in 1..60 {
            assert_eq!(limiter.pass(place(), begin + Duration::from_secs(second)), None);
        }
        assert_eq!(limiter.pass(place(), begin + PERIOD), Some(59));
        assert_eq!(limiter.pass(place(), begin + PERIOD * 2), Some(0));
    }
}
