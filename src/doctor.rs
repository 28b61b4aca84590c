//! `doctor`: finds what is wrong with a node, its machine and its network, and says so in sentences with
//! numbers.
//!
//! [`Evidence`] is gathered once; each check is a pure function of it. So every check can be tested with
//! evidence alone, and a node that is down is judged by the same checks with less evidence.
//!
//! **Invariants:** a check without its evidence finds nothing; every code that a check can find has an
//! explanation in [`codes`]; each threshold is in [`thresholds`] with its reason.

mod checks;
pub(crate) mod codes;
mod evidence;
mod report;
pub(crate) mod thresholds;

pub(crate) use evidence::{
    Certificate, Entry, Evidence, Flap, Folder, Load, LookupFacts, Machine, MemberFacts, NodeFacts,
    RecordFacts, Replicas, Settings, Socket, Store, Trouble,
};
pub(crate) use report::{Finding, Report, Severity, judge};
