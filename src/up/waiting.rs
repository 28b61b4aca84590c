//! Messages about what a node waits for while it has not joined its network: the first after some seconds,
//! later ones at growing intervals.

use std::net::SocketAddr;
use std::time::Duration;

use potluck::{DEFAULT_LISTEN, EntryReport, Node, Puzzle, PuzzleProgress};
use potluck_base::Addresses;
use potluck_dht::EntryPoint;
use potluck_host::socket::Families;
use tokio::time::sleep;

use super::Entering;
use crate::out::Out;
use crate::text::count;

/// Time before the first message: joining usually takes less.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause between messages; each is three times the one before.
const LONGEST: Duration = Duration::from_secs(10 * 60);
const FACTOR: u32 = 3;
/// When the work on a puzzle is said the first time, and how often at least: a newcomer should not take the
/// silence for a program that hangs.
const FIRST_PUZZLE: Duration = Duration::from_secs(2);
const LONGEST_PUZZLE: Duration = Duration::from_secs(30);

/// Prints why no node of a ticket has admitted this one yet; never ends by itself.
pub(super) async fn for_admission<T>(out: Out, entering: &Entering, listen: &[SocketAddr]) -> T {
    let Some(ticket) = &entering.ticket else { return std::future::pending().await };
    let listen = if listen.is_empty() { &DEFAULT_LISTEN } else { listen };
    let families = Families::of(listen);
    let points: Vec<EntryPoint> =
        ticket.entry_points.iter().flat_map(Addresses::contacts).map(EntryPoint::Contact).collect();
    let mut pause = FIRST;
    loop {
        sleep(pause).await;
        let reports = potluck_host::knock(&points, families).await;
        out.note(format!(
            "not admitted to {} yet: {}; or the ticket is used up, cancelled or expired there, or the \
             clocks of both machines differ by minutes; going on trying",
            ticket.network,
            joined(&reports)
        ));
        pause = (pause * FACTOR).min(LONGEST);
    }
}

/// Says how far the work on the puzzles of an `open` network is; never ends by itself.
pub(super) async fn for_puzzles<T>(out: Out, progress: &PuzzleProgress) -> T {
    let mut pause = FIRST_PUZZLE;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PUZZLE);
        let Some((puzzle, tries, expected)) = progress.now() else { continue };
        let (what, how_often) = match puzzle {
            Puzzle::Key => ("searching a key pair that solves this open network's puzzle", "once"),
            Puzzle::Solution => ("solving this week's puzzle of this open network", "once a week"),
        };
        out.note(format!(
            "{what} ({how_often}): {} tried, {} needed on average; Ctrl-C stops it",
            count(tries, "candidate"),
            count(expected, "candidate")
        ));
    }
}

/// Prints why a node is not ready yet; never ends by itself.
pub(super) async fn for_company<T>(out: Out, node: &Node) -> T {
    let mut pause = FIRST;
    loop {
        sleep(pause).await;
        // That the node has stopped is reported elsewhere.
        let Ok(verdict) = node.health().await else { return std::future::pending().await };
        if verdict.is_ready() {
            return std::future::pending().await;
        }
        let why = verdict.sentences().join("; ");
        let reports = node.silent_entry_points().await.unwrap_or_default();
        let details = if reports.is_empty() { String::new() } else { joined(&reports) + ". " };
        let network = match node.network().difficulty.filter(|_| !details.is_empty()) {
            Some(difficulty) => format!(
                ". An open network is entered with its exact name and difficulty, here {} and {difficulty}: \
                 compare them with potluck network show there",
                node.network().name
            ),
            None => String::new(),
        };
        out.note(format!("not ready yet: {details}{why}{network}"));
        pause = (pause * FACTOR).min(LONGEST);
    }
}

fn joined(reports: &[EntryReport]) -> String {
    let all: Vec<String> = reports.iter().map(ToString::to_string).collect();
    all.join("; ")
}
