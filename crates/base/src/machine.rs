//! The contract between a protocol and whatever drives it.
//!
//! Every protocol is a pure state machine: no clock, socket, file, thread or global randomness.
//! The real shell and the simulator drive the same code through [`Machine`].
//!
//! - **In:** [`Machine::handle`], one transition per call. `now` never goes back. Bytes from the
//!   network can make it drop and count, never panic and never grow without bound.
//! - **Out:** [`Machine::poll_output`], drained to `None` after every `handle`.
//! - **Time:** [`Machine::poll_timeout`] announces the earliest armed timer. A late wake-up is
//!   legal, an early one changes nothing, and after the wake-up the next deadline is later.
//!   [`check_timer_contract`] holds a machine to that.

use std::fmt::Debug;
use std::time::Duration;

use crate::{Deadline, Instant};

/// A pure protocol state machine. See the module for its contract.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it wants done.
    type Output;

    /// One transition. Never panics on remote data.
    fn handle(&mut self, now: Instant, input: Self::Input);

    /// The next thing to be done; call until `None` after every [`handle`](Self::handle).
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// The earliest armed timer with its reason; `None` if nothing is scheduled.
    fn poll_timeout(&self) -> Option<Deadline>;
}

/// Drives `machine` to its next deadline and checks the timer contract there. Gives the instant it
/// was woken at and what it did then, or `None` if no timer is armed.
///
/// # Panics
/// If the machine does anything, or moves its deadline, when woken one microsecond early; or if
/// after the wake-up at `t` its next deadline is not later than `t`.
pub fn check_timer_contract<M>(
    machine: &mut M,
    now: Instant,
    timeout: impl Fn() -> M::Input,
) -> Option<(Instant, Vec<M::Output>)>
where
    M: Machine,
    M::Output: Debug,
{
    let deadline = machine.poll_timeout()?;
    let early = deadline.at - Duration::from_micros(1);
    if early >= now && early < deadline.at {
        machine.handle(early, timeout());
        let did = drain(machine);
        assert!(did.is_empty(), "woken before '{}' and did {did:?}", deadline.why);
        assert_eq!(machine.poll_timeout(), Some(deadline), "an early wake-up moved the deadline");
    }
    let at = deadline.at.max(now);
    machine.handle(at, timeout());
    let did = drain(machine);
    if let Some(next) = machine.poll_timeout() {
        assert!(
            next.at > at,
            "woken at {at:?} for '{}', yet '{}' is due at {:?}",
            deadline.why,
            next.why,
            next.at
        );
    }
    Some((at, did))
}

/// All pending outputs of a machine.
pub fn drain<M: Machine>(machine: &mut M) -> Vec<M::Output> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beeps every second; `broken` makes it forget to move its deadline.
    struct Beeper {
        next: Instant,
        beeps: Vec<&'static str>,
        broken: bool,
    }

    impl Machine for Beeper {
        type Input = ();
        type Output = &'static str;

        fn handle(&mut self, now: Instant, (): ()) {
            if now >= self.next {
                self.beeps.push("beep");
                if !self.broken {
                    self.next = now + Duration::from_secs(1);
                }
            }
        }

        fn poll_output(&mut self) -> Option<&'static str> {
            self.beeps.pop()
        }

        fn poll_timeout(&self) -> Option<Deadline> {
            Some(Deadline::new(self.next, "beep"))
        }
    }

    fn beeper(broken: bool) -> Beeper {
        Beeper { next: Instant::from_micros(5), beeps: Vec::new(), broken }
    }

    #[test]
    fn an_honest_machine_passes() {
        let did = check_timer_contract(&mut beeper(false), Instant::ZERO, || ());
        assert_eq!(did, Some((Instant::from_micros(5), vec!["beep"])));
    }

    #[test]
    #[should_panic(expected = "yet 'beep' is due")]
    fn a_machine_that_keeps_its_deadline_fails() {
        check_timer_contract(&mut beeper(true), Instant::ZERO, || ());
    }
}
