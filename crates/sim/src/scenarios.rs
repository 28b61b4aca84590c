//! All scenarios by name.

mod accepted;
mod admission;
mod broadcast;
mod calm;
mod canary;
mod churn;
mod clock_back;
mod clocks;
mod clone;
mod comeback;
mod concurrent_writers;
mod corrupt_rows;
mod crash_restart;
mod detect;
mod files;
mod flood;
mod idle;
mod insiders;
mod join;
mod kinds;
mod kinds_of_records;
mod leave;
mod lies;
mod lives;
mod long_split;
mod lossy;
mod mass_failure;
mod members;
mod nat;
mod open_join;
mod partition;
mod pauses;
mod publications;
mod read_storm;
mod repair;
mod routes;
mod search;
mod settings;
mod sick_disks;
mod silence;
mod sleep;
mod slow_sources;
mod turns;
mod watch;

use crate::report::Report;
use crate::scenario::{Params, Scenario, ScenarioError, play};

/// Every scenario.
pub const ALL: &[Scenario] = &[
    join::JOIN,
    calm::CALM,
    mass_failure::MASS_FAILURE,
    mass_failure::MASS_FAILURE_R3,
    repair::REPAIR,
    churn::CHURN,
    leave::LEAVE,
    pauses::PAUSES,
    partition::PARTITION,
    crash_restart::CRASH_RESTART,
    canary::POWER_CUT,
    sick_disks::SICK_DISKS,
    corrupt_rows::CORRUPT_ROWS,
    kinds_of_records::KINDS_OF_RECORDS,
    kinds::KINDS,
    lossy::LOSSY,
    clock_back::CLOCK_BACK,
    clocks::CLOCKS,
    admission::ADMISSION,
    open_join::OPEN_JOIN,
    clone::CLONE,
    lives::LIVES,
    settings::SETTINGS,
    turns::TURNS,
    flood::FLOOD,
    idle::IDLE,
    idle::IDLE_OPEN,
    detect::DETECT,
    detect::DETECT_OPEN,
    comeback::COMEBACK,
    accepted::ACCEPTED,
    members::MEMBERS_LOSSY,
    members::MEMBERS_STARVED,
    members::MEMBERS_BAD_LINES,
    members::MEMBERS_FORGED,
    broadcast::BROADCAST,
    broadcast::BROADCAST_OPEN,
    silence::SILENCE,
    silence::SILENCE_OPEN,
    search::SEARCH,
    search::SEARCH_FLOOD,
    long_split::LONG_SPLIT,
    long_split::OPEN_SPLIT,
    sleep::SLEEP,
    files::FILES,
    files::FILES_CLEAN,
    slow_sources::SLOW_SOURCES,
    nat::NAT,
    concurrent_writers::CONCURRENT_WRITERS,
    read_storm::READ_STORM,
    watch::WATCH,
    insiders::INSIDER_WRITERS,
    insiders::INSIDER_CONTEXT,
    insiders::INSIDER_OFFER,
    insiders::INSIDER_MISPLACED,
    insiders::INSIDER_CPU,
    insiders::INSIDER_NEWS,
    insiders::INSIDER_FULL_RATE,
    insiders::NEAR_LIARS,
    insiders::SYBIL_NEAR,
    insiders::CROWDED_KEY,
    insiders::ROLLBACK,
    insiders::REPLAYED_TOPIC,
    insiders::CONTACTS,
    insiders::HOG,
    insiders::ECLIPSE,
    insiders::DRIP,
    insiders::WRONG_SIZE,
    insiders::BAD_COMPANY,
    routes::ROUTES_POISONED_20,
    routes::ROUTES_POISONED_30,
    routes::ROUTES_HIDDEN,
    routes::ROUTES_GROUND,
    routes::ROUTES_JOINER,
    routes::ROUTES_DEAD,
    canary::CANARY,
];

/// The scenario with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// Runs the scenario with this name.
///
/// # Errors
/// [`ScenarioError`]: there is no such scenario, it needs more nodes, or checks failed.
pub fn run(name: &str, params: &Params) -> Result<Report, ScenarioError> {
    let scenario = find(name).ok_or_else(|| ScenarioError::Unknown(name.to_owned()))?;
    play(scenario, params)
}
