//! The cells that must succeed, by the kinds of the pair.
//!
//! The table lists what the program promises: a cell that may fail and succeeds is no fault, a cell that must
//! succeed and fails is one. A cell that may fail must fail in time and with an error message that gives the
//! reason.

use super::kind::Kind;
use super::kind::Kind::{Blocked, Cgn, Home, Leaky, None, Open, Strict};

/// The default pairs: all those in which every cell must succeed, and one example of each other sort.
pub(super) const PAIRS: [(Kind, Kind); 12] = [
    (None, None),
    (None, Open),
    (None, Home),
    (Open, Open),
    (Home, Open),
    (Home, Home),
    (Home, Strict),
    (Strict, Strict),
    (Home, Cgn),
    (Cgn, Cgn),
    (Home, Leaky),
    (Home, Blocked),
];

/// A file shared behind the first kind must be fetched from behind each of these. A node behind `none` is
/// dialed, and every router but `blocked` lets its own side dial. Between two routers both must map a socket
/// to one port for all destinations (endpoint-independent mapping), and the nodes must learn each other's
/// port in time.
const FILES: [(Kind, &[Kind]); 7] = [
    (None, &[None, Open, Home, Strict, Cgn, Leaky]),
    (Open, &[None, Open, Home]),
    (Home, &[None, Open, Home]),
    (Strict, &[]),
    (Cgn, &[]),
    (Leaky, &[]),
    (Blocked, &[]),
];

/// Parts of the error messages that a failed command may print: each names what was not reached.
const SENTENCES: [&str; 5] = [
    // fetch
    "could be reached",
    // up, behind `blocked`
    "no entry point lets this node in",
    // a cell of a node whose `up` printed the line above
    "is not in the network",
    // put and get
    "could not be reached",
    "replicas",
];

/// The kinds of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A node lists all five as alive.
    Members,
    /// A record written here is read there.
    Record,
    /// A file shared here is fetched there.
    File,
}

/// Whether a cell must succeed from behind one kind to behind another.
pub(super) fn must(what: What, from: Kind, to: Kind) -> bool {
    match what {
        What::Members | What::Record => from != Blocked && to != Blocked,
        What::File => {
            FILES.iter().any(|(sharer, fetchers)| *sharer == from && fetchers.contains(&to))
        }
    }
}

/// Whether an error message is allowed in a cell that may fail.
pub(super) fn is_right(sentence: &str) -> bool {
    SENTENCES.iter().any(|words| sentence.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_must_arrive_between_the_four_pairs_that_are_promised_both_ways() {
        for (one, two) in [(Home, Home), (Open, Open), (Home, Open), (None, Home)] {
            assert!(must(What::File, one, two) && must(What::File, two, one), "{one} {two}");
            assert!(PAIRS.contains(&(one, two)), "{one} {two}");
        }
    }

    #[test]
    fn a_router_that_gives_every_peer_another_port_may_keep_a_file() {
        assert!(!must(What::File, Strict, None) && !must(What::File, Home, Strict));
        assert!(must(What::File, None, Strict), "it dials out");
        for kind in Kind::ALL {
            assert!(!must(What::File, Blocked, kind) && !must(What::File, kind, Blocked), "{kind}");
            assert!(!must(What::Record, Blocked, kind), "{kind}");
        }
    }

    #[test]
    fn every_kind_has_one_row_and_is_tried() {
        for kind in Kind::ALL {
            assert_eq!(FILES.iter().filter(|(sharer, _)| *sharer == kind).count(), 1, "{kind}");
            assert!(PAIRS.iter().any(|(one, two)| *one == kind || *two == kind), "{kind}");
        }
    }

    #[test]
    fn a_failure_must_say_what_was_not_reached() {
        assert!(is_right("no node that has it could be reached"));
        for wrong in ["", "internal error", "thread 'main' panicked at src/main.rs"] {
            assert!(!is_right(wrong), "{wrong}");
        }
    }
}
