//! What a person at a terminal sees while a node runs: who joins, who falls silent and comes back, as lines
//! that scroll; below them a page of a few lines with the state of now, and the ticket last.
//!
//! Where stdout or stderr is no terminal there is no page, only the bare lines that scripts rely on.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::api::{Happening, Overview, Transfer};
use crate::commands::table::{bytes, fitted, span, wrapped};
use crate::http::{self, App};
use crate::out::{Out, page};
use crate::text::{count, printable};

/// How often the page is drawn: what a person can follow.
const PACE: Duration = Duration::from_secs(1);
/// Transfers on the page.
const TRANSFERS: usize = 3;

/// Whether there is someone to see a page.
pub(super) fn is_seen(out: Out) -> bool {
    let terminals = io::stderr().is_terminal() && io::stdout().is_terminal();
    // A terminal that cannot move its cursor gets bare lines.
    let plain = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    terminals && !plain && !out.quiet && !out.json && !crate::log::is_json()
}

/// Takes the page away when the node stops.
struct Shown;

impl Drop for Shown {
    fn drop(&mut self) {
        page::draw(Vec::new());
    }
}

/// What the page is about.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) url: &'a str,
}

/// Draws the page until the node stops; never ends by itself. The invitation goes when another node came: a ticket
/// may be used up then.
pub(super) async fn go_on<T>(Place { app, url }: Place<'_>, mut invitation: Option<&str>) -> T {
    let _shown = Shown;
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut told: Option<(String, String)> = None;
    loop {
        ticks.tick().await;
        // A node that has stopped is told elsewhere.
        let Some(overview) = http::glance(app).await else { return std::future::pending().await };
        for event in news(&overview.events, told.as_ref()) {
            // There is no other place to say that it cannot be said.
            let _ = page::above(&line_of(event));
        }
        told = overview.events.first().map(|it| (it.at.clone(), it.what.clone())).or(told);
        invitation = invitation.filter(|_| overview.network.alive < 2);
        page::draw(lines(&overview, url, invitation, page::columns()));
    }
}

/// Events that were not told yet, oldest first.
fn news<'a>(events: &'a [Happening], told: Option<&(String, String)>) -> Vec<&'a Happening> {
    let old =
        |event: &Happening| told.is_some_and(|(at, what)| event.at == *at && event.what == *what);
    let mut new: Vec<&Happening> = events.iter().take_while(|event| !old(event)).collect();
    new.reverse();
    new
}

fn line_of(event: &Happening) -> String {
    let time = event.at.get(11..19).unwrap_or_default();
    let mark = match event.tone.as_str() {
        "good" => '+',
        "bad" => '!',
        _ => ' ',
    };
    format!("{time} {mark} {}", printable(&event.what))
}

/// The lines of the page; only the invitation may be wider than the terminal.
fn lines(overview: &Overview, url: &str, invitation: Option<&str>, columns: usize) -> Vec<String> {
    let (machine, network) = (&overview.machine, &overview.network);
    let mut members = count(network.alive as u64, "member");
    if network.suspect > 0 {
        members.push_str(&format!(" ({} suspected)", network.suspect));
    }
    let rate = |rate: f64| match rate as u64 {
        0..1024 => "0".to_owned(),
        rate => format!("{}/s", bytes(rate)),
    };
    let both = &overview.traffic.bytes_per_second;
    let mut all = vec![
        String::new(),
        overview.health.sentence.clone(),
        format!(
            "network {}: {members}, {}, up {}; in {}, out {}",
            network.name,
            count(overview.records.held, "record"),
            span(machine.uptime_seconds),
            rate(both.r#in),
            rate(both.out)
        ),
    ];
    let under_way = overview.transfers.iter().filter(|it| it.state == "running");
    all.extend(under_way.take(TRANSFERS).map(transfer));
    all.push(format!("dashboard {url}   potluck invite, top, doctor   Ctrl-C leaves"));
    let mut all: Vec<String> =
        all.into_iter().map(|line| fitted(&printable(&line), columns - 1)).collect();
    // What is wrong is told in full.
    let sentence = printable(&overview.health.sentence);
    all.splice(1..2, wrapped(&sentence, columns - 1));
    all.extend(invitation.map(printable));
    all
}

fn transfer(it: &Transfer) -> String {
    let share = match it.bytes_total {
        0 => bytes(it.bytes),
        all => format!("{:.0} % of {}", it.bytes as f64 * 100.0 / all as f64, bytes(all)),
    };
    let left = it.eta_seconds.map_or(String::new(), |left| format!(", {} left", span(left)));
    format!(
        "fetching {}: {share}, {}/s from {}{left}",
        it.name,
        bytes(it.rate as u64),
        count(it.active as u64, "node")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{HealthView, NetworkCounts};

    fn event(at: &str, what: &str) -> Happening {
        Happening { at: at.into(), what: what.into(), tone: "good".into(), ..Happening::default() }
    }

    #[test]
    fn each_event_is_told_once_and_in_order() {
        let events = [event("3", "c"), event("2", "b"), event("1", "a")];
        let whats = |told: Option<(String, String)>| -> Vec<String> {
            news(&events, told.as_ref()).iter().map(|it| it.what.clone()).collect()
        };
        assert_eq!(whats(None), ["a", "b", "c"]);
        assert_eq!(whats(Some(("1".into(), "a".into()))), ["b", "c"]);
        assert_eq!(whats(Some(("3".into(), "c".into()))), [""; 0]);
        let line = line_of(&event("2026-11-29T19:50:01Z", "lab-7 (ab12cd34) joined\x1b[31m"));
        assert_eq!(line, "19:50:01 + lab-7 (ab12cd34) joined?[31m");
    }

    #[test]
    fn the_page_fits_and_the_ticket_is_last() {
        let overview = Overview {
            health: HealthView {
                sentence: "ok: this node does its work".into(),
                ..HealthView::default()
            },
            network: NetworkCounts {
                name: "n".repeat(90),
                alive: 5,
                suspect: 1,
                ..NetworkCounts::default()
            },
            transfers: vec![Transfer {
                name: "weights.bin".into(),
                state: "running".into(),
                bytes: 3 << 20,
                bytes_total: 12 << 20,
                rate: 1_048_576.0,
                active: 2,
                eta_seconds: Some(9),
                ..Transfer::default()
            }],
            ..Overview::default()
        };
        let ticket = format!("on the next machine: potluck up {}", "t".repeat(200));
        let lines = lines(&overview, "http://127.0.0.1:8080", Some(&ticket), 80);
        assert_eq!(lines.last(), Some(&ticket));
        assert!(lines[..lines.len() - 1].iter().all(|line| line.chars().count() < 80), "{lines:?}");
        assert_eq!(lines[1], "ok: this node does its work");
        assert_eq!(
            lines[3],
            "fetching weights.bin: 25 % of 12.0 MiB, 1.0 MiB/s from 2 nodes, 9 s left"
        );
    }
}
