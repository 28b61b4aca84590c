//! The one timer of a drive loop.
//!
//! Most datagrams change the node's next deadline, nearly always to a later time. So the timer is set
//! again only when it would fire too late. When it fires too early, it is set to the deadline.

use std::pin::Pin;
use std::time::Duration;

use potluck_base::Instant;
use tokio::time::Sleep;

use crate::clock::Clock;

/// A timer that fires at or before a deadline.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When it will fire; `None`: it has fired, or was never set.
    set_to: Option<Instant>,
}

impl Timer {
    /// A timer that is not set.
    pub(super) fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(Duration::ZERO)), set_to: None }
    }

    /// Makes it fire at `deadline` or earlier. If there is no deadline any more, it stays set and fires
    /// once without effect.
    pub(super) fn arm(&mut self, deadline: Option<Instant>, clock: &Clock) {
        if let Some(deadline) = deadline
            && self.set_to.is_none_or(|set_to| deadline < set_to)
        {
            self.sleep.as_mut().reset(clock.os_instant(deadline).into());
            self.set_to = Some(deadline);
        }
    }

    /// Whether it is set.
    pub(super) const fn is_set(&self) -> bool {
        self.set_to.is_some()
    }

    /// Waits until it fires; after that it is not set. May be dropped and called again.
    pub(super) async fn fired(&mut self) {
        self.sleep.as_mut().await;
        self.set_to = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_fires_for_the_earliest_deadline_and_never_after_it_was_due() {
        let clock = Clock::start();
        let mut timer = Timer::new();
        assert!(!timer.is_set());
        timer.arm(None, &clock);
        assert!(!timer.is_set());
        let hour = clock.now() + Duration::from_secs(3600);
        timer.arm(Some(hour), &clock);
        // An earlier deadline sets it again, a later one does not.
        let soon = clock.now() + Duration::from_millis(2);
        timer.arm(Some(soon), &clock);
        timer.arm(Some(hour), &clock);
        tokio::time::timeout(Duration::from_secs(30), timer.fired()).await.expect("in time");
        assert!(clock.now() >= soon, "not before what it was set to");
        assert!(!timer.is_set());
    }
}
