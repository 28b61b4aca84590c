//! What a node waits for as long as it is not in its network: said after some seconds, then ever more
//! rarely.

use std::net::SocketAddr;
use std::time::Duration;

use potluck::{DEFAULT_LISTEN, EntryReport, Node};
use potluck_base::Addresses;
use potluck_dht::EntryPoint;
use potluck_host::socket::Families;
use tokio::time::sleep;

use super::Entering;
use crate::out::Out;

/// When it is said the first time: what goes well takes less.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause; each is three times the one before.
const LONGEST: Duration = Duration::from_secs(10 * 60);
const FACTOR: u32 = 3;

/// Says why no node of a ticket has let this one in yet; never ends by itself.
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

/// Says why a node is not ready yet; never ends by itself.
pub(super) async fn for_company<T>(out: Out, node: &Node) -> T {
    let mut pause = FIRST;
    loop {
        sleep(pause).await;
        // A node that has stopped is told elsewhere.
        let Ok(verdict) = node.health().await else { return std::future::pending().await };
        if verdict.is_ready() {
            return std::future::pending().await;
        }
        let why = verdict.sentences().join("; ");
        let reports = node.silent_entry_points().await.unwrap_or_default();
        let details = if reports.is_empty() { String::new() } else { joined(&reports) + ". " };
        out.note(format!("not ready yet: {details}{why}"));
        pause = (pause * FACTOR).min(LONGEST);
    }
}

fn joined(reports: &[EntryReport]) -> String {
    let all: Vec<String> = reports.iter().map(ToString::to_string).collect();
    all.join("; ")
}
