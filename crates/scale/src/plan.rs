//! `plan`: what a network for given users needs, costs and survives, by the formulas of [`model`].

use crate::model;
use crate::report::{Axis, Line, Plot, Report, Style, Table, number, share, span};
use crate::studies::Wrong;

/// The requirements of the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// Users that are present at a time, each with a node.
    pub users: f64,
    /// How long a node stays, on average.
    pub session_seconds: f64,
    /// Records that each user keeps in the network.
    pub records: f64,
    /// Bytes of a record.
    pub record_bytes: f64,
    /// Bytes of files that each user adds.
    pub file_bytes: f64,
    /// Bits a second that a node may send.
    pub uplink_bits: f64,
    /// Milliseconds of a round trip.
    pub round_trip_seconds: f64,
    /// The share of all nodes that may vanish at once.
    pub gone: f64,
}

impl Default for Need {
    fn default() -> Self {
        Self {
            users: 1e4,
            session_seconds: 2.9 * 3600.0,
            records: 10.0,
            record_bytes: 500.0,
            file_bytes: 1e9,
            uplink_bits: 20e6,
            round_trip_seconds: 0.1,
            gone: 0.3,
        }
    }
}

/// Most replicas that can be configured.
const REPLICAS_MAX: u32 = 32;
/// Replicas without a setting.
const REPLICAS_DEFAULT: u32 = 16;
/// Contacts in a bucket, and requests in flight at once, as in the product.
const K: u32 = 16;
const ALPHA: u32 = 3;
/// Bytes of a record besides its value: name, writer, version, signature and index.
const ENVELOPE_BYTES: f64 = 300.0;
/// Seconds until the death of a holder is detected and its records are copied: a heartbeat every 5 s with
/// three tries, and a round of repair. A guess for the sum; the detection alone was measured as 3 to 4 s.
const REPAIR_SECONDS: f64 = 60.0;
/// Bytes a second, each way, of an idle node among 10,000, and the number of its contacts: measured with
/// whole nodes (`potluck sim idle --nodes 10000 --minutes 10`).
const IDLE_BYTES: f64 = 763.0;
const IDLE_NODES: f64 = 1e4;
/// Seconds between two checks of an old contact beyond the close group.
const CONTACT_CHECK_SECONDS: f64 = 600.0;
/// Bytes of a datagram of a check, with headers and seal: the measured bytes divided by their number.
const CHECK_BYTES: f64 = 220.0;
/// Bytes of memory of a process, measured with 64 processes, and of a contact with its session.
const PROCESS_BYTES: f64 = 24.5e6;
const CONTACT_BYTES: f64 = 400.0;
/// The share of the uplink that upkeep may use.
const UPKEEP_SHARE: f64 = 0.1;

/// The results for a [`Need`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Replicas of a record; `None` if no number up to 32 is enough.
    pub replicas: Option<u32>,
    /// Records expected to be lost if the share vanishes at once, with these replicas.
    pub lost_at_once: f64,
    /// Records expected lost in a year of churn.
    pub lost_a_year: f64,
    /// Bytes a second each way that a node sends for repair and hand-over of records.
    pub repair_bytes_a_second: f64,
    /// Bytes a second each way of an idle node.
    pub idle_bytes_a_second: f64,
    /// Bytes of other nodes' records on a node's disk.
    pub disk_bytes: f64,
    /// Bytes of memory of a node.
    pub memory_bytes: f64,
    /// Hops of a lookup.
    pub hops: f64,
    /// Requests of a lookup for all holders.
    pub requests: f64,
    /// Seconds of a read.
    pub read_seconds: f64,
    /// Seconds of a write.
    pub write_seconds: f64,
    /// Whether upkeep of records stays within a tenth of the uplink.
    pub records_fit: bool,
    /// Bytes a second each way if strangers kept the files, with three copies.
    pub file_repair_bytes_a_second: f64,
    /// Whether that is within a tenth of the uplink.
    pub files_fit: bool,
    /// Seconds until 1,000 readers have a file of 1 GB from one node and from each other.
    pub fetch_seconds: f64,
}

impl Need {
    /// Checks the options; fails with the one that is out of range.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn check(&self) -> Result<(), Wrong> {
        for (name, value, low, high) in [
            ("users", self.users, 2.0, 1e10),
            ("session", self.session_seconds, 10.0, 1e9),
            ("records", self.records, 0.0, 1e9),
            ("record-bytes", self.record_bytes, 0.0, 65_536.0),
            ("files", self.file_bytes, 0.0, 1e15),
            ("uplink", self.uplink_bits, 1e3, 1e12),
            ("round-trip", self.round_trip_seconds, 0.0, 60.0),
            ("gone", self.gone, 0.0, 0.95),
        ] {
            if !(low..=high).contains(&value) {
                let (value, low, high) = (number(value), number(low), number(high));
                return Err(Wrong(format!("--{name}: {value} is outside {low} to {high}")));
            }
        }
        Ok(())
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let records = self.users * self.records;
        let at_once = model::replicas_for(records, self.gone, 1.0, REPLICAS_MAX);
        let enough =
            |r: &u32| model::lost_a_year(records, *r, self.session_seconds, REPAIR_SECONDS) <= 1.0;
        let by_churn = (1..=REPLICAS_MAX).find(enough);
        let possible = (self.users as u64).min(u64::from(REPLICAS_MAX)) as u32;
        let replicas = at_once.zip(by_churn).map(|(a, b)| a.max(b).max(3.min(possible)));
        let replicas = replicas.filter(|replicas| *replicas <= possible);
        let used = replicas.unwrap_or(REPLICAS_DEFAULT.min(possible));
        let unique = self.records * (self.record_bytes + ENVELOPE_BYTES);
        let contacts = model::table_contacts(self.users, K);
        let more = contacts - model::table_contacts(IDLE_NODES.min(self.users), K);
        let dead = model::stale_share(CONTACT_CHECK_SECONDS, self.session_seconds);
        let hops = model::hops(self.users, K, ALPHA);
        let rounds = model::rounds(self.users, K, ALPHA, dead);
        let idle =
            IDLE_BYTES + model::check_bytes_a_second(more, CONTACT_CHECK_SECONDS, CHECK_BYTES);
        let repair = model::repair_bytes_a_second(unique, used, self.session_seconds);
        let upkeep_max = self.uplink_bits / 8.0 * UPKEEP_SHARE;
        let file_repair = model::repair_bytes_a_second(self.file_bytes, 3, self.session_seconds);
        let timeout = 3.0 * self.round_trip_seconds;
        let held = f64::from(used) * self.records;
        Plan {
            replicas,
            lost_at_once: model::lost_at_once(records, used, self.gone),
            lost_a_year: model::lost_a_year(records, used, self.session_seconds, REPAIR_SECONDS),
            repair_bytes_a_second: repair,
            idle_bytes_a_second: idle,
            disk_bytes: f64::from(used) * unique,
            memory_bytes: model::memory_bytes(PROCESS_BYTES, contacts, CONTACT_BYTES, held, 64.0),
            hops,
            requests: model::requests(self.users, K, ALPHA, dead),
            read_seconds: model::read_seconds(hops, ALPHA, self.round_trip_seconds, dead, timeout),
            write_seconds: model::lookup_seconds(rounds + 1.0, self.round_trip_seconds),
            records_fit: repair + idle <= upkeep_max,
            file_repair_bytes_a_second: file_repair,
            files_fit: file_repair <= upkeep_max,
            fetch_seconds: model::peer_to_peer_seconds(
                1000.0,
                8e9,
                self.uplink_bits,
                self.uplink_bits,
                self.uplink_bits * 5.0,
            ),
        }
    }

    /// The most bytes of files per user that strangers can keep, with three copies.
    #[must_use]
    pub fn file_bytes_max(&self) -> f64 {
        model::unique_bytes_max(self.uplink_bits / 8.0 * UPKEEP_SHARE, 3, self.session_seconds)
    }
}

/// The plan as a report.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn report(need: &Need, command: &str) -> Result<Report, Wrong> {
    need.check()?;
    let plan = need.plan();
    let mut report = Report {
        study: "plan",
        question: format!("What does a network of {} users take?", number(need.users)),
        verdict: verdict(need, &plan),
        command: command.to_owned(),
        ..Report::default()
    };
    report.tables.push(costs(need, &plan));
    report.tables.push(losses(need));
    report.plots.push(loss_plot(need));
    report.notes.push(
        "Formulas, not measurements of your network: losses by share^r, churn and repair after Blake and \
         Rodrigues (HotOS 2003), hops after Cai and Devroye (2013), files after Kumar and Ross (2006)."
            .into(),
    );
    report.notes.push(
        "A share gone at once means nodes chosen at random. Nodes in one building, or of one version, go \
         together: put replicas' owners apart, or count them as one."
            .into(),
    );
    report.notes.push(format!(
        "A dead holder's records are taken to be copied within {REPAIR_SECONDS} s. `potluck sim loss` \
         measures the table of losses, `potluck sim live` the traffic of repair."
    ));
    Ok(report)
}

fn verdict(need: &Need, plan: &Plan) -> String {
    let mut text = match plan.replicas {
        None if need.users < f64::from(REPLICAS_MAX) => format!(
            "It cannot be promised: {} nodes cannot hold enough replicas to survive {} of them gone at once.",
            number(need.users),
            share(need.gone)
        ),
        None => format!(
            "It cannot be promised: even {REPLICAS_MAX} replicas lose records if {} of the nodes are gone \
             at once.",
            share(need.gone)
        ),
        Some(_) if !plan.records_fit => format!(
            "It does not work: upkeep of records would take {}/s of {}/s. Fewer or smaller records, or \
             nodes that stay longer.",
            bytes(plan.repair_bytes_a_second + plan.idle_bytes_a_second),
            bytes(need.uplink_bits / 8.0)
        ),
        Some(REPLICAS_DEFAULT) => {
            format!(
                "It works with the default of {REPLICAS_DEFAULT} replicas: nothing to configure."
            )
        }
        Some(replicas) => {
            format!(
                "It works with {replicas} replicas: potluck network set replication {replicas}."
            )
        }
    };
    if need.file_bytes > 0.0 {
        text.push_str(&if plan.files_fit {
            " Files of this size could even be kept by strangers, though nodes here keep what they want."
                .to_owned()
        } else {
            format!(
                " Files that no node wants cannot be kept by strangers (three copies would cost each node \
                 {}/s; up to {} a user would do): they live where they are shared, pinned or followed.",
                bytes(plan.file_repair_bytes_a_second),
                bytes(need.file_bytes_max())
            )
        });
    }
    text
}

/// Bytes in a unit that people would use.
fn bytes(value: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{} {name}", number(value / unit)),
        None => format!("{} B", number(value)),
    }
}

fn costs(need: &Need, plan: &Plan) -> Table {
    let row = |name: &str, value: String, why: &str| vec![name.to_owned(), value, why.to_owned()];
    let replicas = plan.replicas.map_or_else(|| "none".to_owned(), |it| it.to_string());
    let gone = share(need.gone);
    Table {
        title: "A node, on average".into(),
        columns: vec!["what", "figure", "from"],
        rows: vec![
            row("replicas of a record", replicas, "fewest with at most 1 loss"),
            row(&format!("records lost, {gone} gone at once"), number(plan.lost_at_once), "N f^r"),
            row(
                "records lost in a year of churn",
                number(plan.lost_a_year),
                "all r within a repair",
            ),
            row(
                "repair of records, each way",
                format!("{}/s", bytes(plan.repair_bytes_a_second)),
                "2 r D / L",
            ),
            row(
                "idle, each way",
                format!("{}/s", bytes(plan.idle_bytes_a_second)),
                "measured, and checks",
            ),
            row("disk for others' records", bytes(plan.disk_bytes), "r D"),
            row("memory", bytes(plan.memory_bytes), "measured, and contacts"),
            row("hops of a lookup", number(plan.hops), "c log N"),
            row("requests of a lookup", number(plan.requests), "k + alpha (hops - 1.27)"),
            row("time of a read", span(plan.read_seconds), "hops x round trip"),
            row("time of a write", span(plan.write_seconds), "rounds x round trip"),
            row("1 GB to 1,000 readers", span(plan.fetch_seconds), "Kumar and Ross"),
            row(
                "files kept by strangers",
                format!("{}/s", bytes(plan.file_repair_bytes_a_second)),
                "2 r D / L, r = 3",
            ),
        ],
    }
}

fn losses(need: &Need) -> Table {
    let records = need.users * need.records;
    let rows = [1, 2, 3, 5, 8, 12, 16].into_iter().map(|replicas| {
        let lost = |gone| number(model::lost_at_once(records, replicas, gone));
        let year = model::lost_a_year(records, replicas, need.session_seconds, REPAIR_SECONDS);
        vec![replicas.to_string(), lost(0.1), lost(0.3), lost(0.5), number(year)]
    });
    Table {
        title: format!("Records lost of {}", number(records)),
        columns: vec!["replicas", "10 % gone", "30 % gone", "50 % gone", "a year of churn"],
        rows: rows.collect(),
    }
}

fn loss_plot(need: &Need) -> Plot {
    let records = need.users * need.records;
    let line = |gone: f64| Line {
        name: format!("{} gone at once", share(gone)),
        style: Style::Formula,
        points: (1..=16).map(|r| (f64::from(r), model::lost_at_once(records, r, gone))).collect(),
        ranges: Vec::new(),
    };
    Plot {
        title: "Records lost against replicas".into(),
        x: Axis { name: "replicas".into(), log: false },
        y: Axis { name: "records lost".into(), log: true },
        lines: [0.1, 0.3, 0.5].map(line).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_million_users_can_have_records_and_no_unread_files() {
        let need = Need { users: 1e7, ..Need::default() };
        let report = report(&need, "potluck plan --users 10000000").expect("a plan");
        assert!(
            report.verdict.starts_with("It works with the default of 16"),
            "{}",
            report.verdict
        );
        assert!(report.verdict.contains("cannot be kept by strangers"));
        assert!(report.to_string().lines().all(|line| line.chars().count() <= 80), "{report}");
        assert!(!need.plan().files_fit && need.plan().records_fit);
    }

    #[test]
    fn an_impossible_plan_is_reported() {
        let verdict = |need: Need| report(&need, "").expect("a plan").verdict;
        assert!(verdict(Need { gone: 0.9, ..Need::default() }).contains("cannot be promised"));
        assert!(
            verdict(Need { users: 4.0, gone: 0.7, ..Need::default() })
                .contains("4 nodes cannot hold")
        );
        let much = Need { records: 1e6, ..Need::default() };
        assert!(verdict(much).starts_with("It does not work"));
        let wrong = report(&Need { users: 0.0, ..Need::default() }, "").expect_err("none");
        assert!(wrong.0.starts_with("--users: 0 is outside 2"), "{wrong}");
    }

    proptest! {
        #[test]
        fn more_to_keep_costs_more(users in 100.0..1e8f64, records in 1.0..1e4f64, session in 600.0..1e7f64) {
            let need = Need { users, records, session_seconds: session, ..Need::default() };
            let more = Need { records: records * 2.0, ..need };
            let longer = Need { session_seconds: session * 2.0, ..need };
            let plan = need.plan();
            prop_assert!(more.plan().disk_bytes > plan.disk_bytes);
            prop_assert!(more.plan().replicas.unwrap_or(33) >= plan.replicas.unwrap_or(33));
            prop_assert!(longer.plan().repair_bytes_a_second < plan.repair_bytes_a_second);
            prop_assert!(plan.hops.is_finite() && plan.memory_bytes.is_finite());
        }
    }
}
