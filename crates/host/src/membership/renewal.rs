//! The schedule of renewing a certificate, and the report while it fails.
//!
//! From the half-life of the one it has: half a year before the end of a usual one, twelve hours
//! before that of an ephemeral one. It asks for ever, at most every [`WAIT_MIN_MS`], in the long run
//! every [`WAIT_MAX_MS`]; also past the end by the own clock, since it is the issuer's that counts.

use potluck_base::UnixMillis;

/// How long to wait for a new certificate before asking again; twice as long each time. A guess: an
/// answer takes some round trips and a sync of the issuer's disk.
const WAIT_MIN_MS: u64 = 2000;
/// The longest wait.
const WAIT_MAX_MS: u64 = 10 * 60 * 1000;
/// Interval at which a missing certificate is logged.
const TELL_INTERVAL_MS: u64 = 24 * 60 * 60 * 1000;

/// The action that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    No,
    /// Ask.
    Ask,
    /// Ask, and log that it was in vain so far.
    AskAndTell,
}

/// The certificate in use, and the asking for the next one.
#[derive(Debug)]
pub(super) struct Renewal {
    issued: UnixMillis,
    expires: UnixMillis,
    /// The number of requests for the next certificate.
    tries: u32,
    asked: UnixMillis,
    wait_ms: u64,
    told: UnixMillis,
}

impl Renewal {
    /// For a certificate of these times.
    pub(super) const fn new(issued: UnixMillis, expires: UnixMillis) -> Self {
        let never = UnixMillis(0);
        Self { issued, expires, tries: 0, asked: never, wait_ms: WAIT_MIN_MS, told: never }
    }

    /// When the certificate expires.
    pub(super) const fn expires(&self) -> UnixMillis {
        self.expires
    }

    /// A new certificate is there; false if it is none that holds for longer.
    pub(super) fn renewed(&mut self, issued: UnixMillis, expires: UnixMillis) -> bool {
        let is_newer = expires > self.expires;
        if is_newer {
            *self = Self::new(issued, expires);
        }
        is_newer
    }

    /// A node that may sign the next certificate was heard: try again now.
    pub(super) const fn issuer_heard(&mut self) {
        self.wait_ms = WAIT_MIN_MS;
    }

    /// Called about once a second; what it says to do has been done, as far as this knows.
    pub(super) fn due(&mut self, now: UnixMillis) -> Due {
        let half = self.issued.0 + self.expires.0.saturating_sub(self.issued.0) / 2;
        let waited = match now.0.checked_sub(self.asked.0) {
            Some(waited) => waited >= self.wait_ms,
            // The clock was set back.
            None => true,
        };
        if now.0 < half || (self.tries > 0 && !waited) {
            return Due::No;
        }
        if self.tries > 0 {
            self.wait_ms = (self.wait_ms * 2).min(WAIT_MAX_MS);
        }
        self.tries = self.tries.saturating_add(1);
        self.asked = now;
        if self.is_in_vain() && now.0.abs_diff(self.told.0) >= TELL_INTERVAL_MS {
            self.told = now;
            return Due::AskAndTell;
        }
        Due::Ask
    }

    /// Who asks a second time got nothing the first time.
    const fn is_in_vain(&self) -> bool {
        self.tries > 1
    }

    /// What people should know of it; nothing once the certificate has expired, which is told
    /// elsewhere.
    pub(super) fn trouble(&self, now: UnixMillis) -> Option<String> {
        if !self.is_in_vain() || self.expires <= now {
            return None;
        }
        Some(format!(
            "this node's certificate expires in {} and could not be renewed yet: the node with the \
             authority key must be running, and reachable from here",
            span(self.expires.0 - now.0)
        ))
    }
}

/// In the largest unit that there are two of.
fn span(millis: u64) -> String {
    let minutes = millis / 60_000;
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / (24 * 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(1_700_000_000_000 + seconds * 1000)
    }

    /// Of a day, from second 0 on; half of it is over at second 43,200.
    fn ephemeral() -> Renewal {
        Renewal::new(at(0), UnixMillis(at(0).0 + DAY_MS))
    }

    #[test]
    fn it_is_asked_for_from_the_half_life_on_until_it_is_there() {
        let mut renewal = ephemeral();
        assert_eq!(renewal.due(at(43_199)), Due::No);
        assert_eq!(renewal.due(at(43_200)), Due::Ask);
        assert_eq!(renewal.due(at(43_201)), Due::No, "the answer is on its way");
        assert_eq!(renewal.trouble(at(43_201)), None);
        assert!(renewal.renewed(at(43_201), UnixMillis(at(43_201).0 + DAY_MS)));
        assert_eq!(renewal.due(at(60_000)), Due::No);
        assert!(!renewal.renewed(at(43_201), at(50_000)), "an older one changes nothing");
        assert_eq!(renewal.expires(), UnixMillis(at(43_201).0 + DAY_MS));
        assert_eq!(renewal.due(at(43_201 + 43_200)), Due::Ask);
    }

    #[test]
    fn who_gets_none_says_so_and_goes_on_asking_ever_more_rarely() {
        let mut renewal = ephemeral();
        let (mut asked, mut told) = (Vec::new(), 0);
        for second in 43_200..86_400 + 7200 {
            match renewal.due(at(second)) {
                Due::No => {}
                due => {
                    asked.push(second - 43_200);
                    told += u32::from(due == Due::AskAndTell);
                }
            }
        }
        assert_eq!(asked[..6], [0, 2, 6, 14, 30, 62]);
        let last = asked.windows(2).last().expect("many");
        assert_eq!((last[1] - last[0], told), (600, 1));
        assert!(asked.len() < 100, "{}", asked.len());
        let said = renewal.trouble(at(86_400 - 7200)).expect("in vain");
        assert!(said.contains("expires in 2 hours"), "{said}");
        assert_eq!(renewal.trouble(at(86_400)), None, "it has expired, which is said elsewhere");
        assert!(renewal.renewed(at(86_300), UnixMillis(at(86_300).0 + DAY_MS)));
        assert_eq!(renewal.trouble(at(86_300)), None);
    }

    #[test]
    fn an_issuer_that_is_heard_again_is_asked_soon() {
        let mut renewal = ephemeral();
        let asks = |renewal: &mut Renewal, from: u64, to: u64| {
            (from..to).filter(|second| renewal.due(at(*second)) != Due::No).count()
        };
        asks(&mut renewal, 43_200, 50_000);
        let quiet = asks(&mut renewal, 50_000, 50_100);
        renewal.issuer_heard();
        assert_eq!((quiet, renewal.due(at(50_100))), (0, Due::Ask));
        // However often it is heard, there is a pause.
        renewal.issuer_heard();
        assert_eq!(renewal.due(at(50_101)), Due::No);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_end_the_asking() {
        let mut renewal = ephemeral();
        assert_eq!(renewal.due(at(80_000)), Due::Ask);
        assert_eq!(renewal.due(at(50_000)), Due::AskAndTell);
        assert_eq!(renewal.due(at(50_001)), Due::No);
        assert_eq!(renewal.due(at(50_004)), Due::Ask);
    }
}
