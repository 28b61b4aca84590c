//! What a demo measured, as a table and as one object.

use serde_json::{Value, json};

use super::clients::{Pace, round};
use super::detection::Detection;
use super::files::FileFigures;
use crate::commands::table::{mib, table};
use crate::text::count;

/// The figures of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) nodes: usize,
    pub(super) join_seconds: f64,
    pub(super) records: usize,
    pub(super) written: usize,
    pub(super) read_back: usize,
    pub(super) after_kill: usize,
    pub(super) conflicts_made: usize,
    pub(super) conflicts_merged: usize,
    pub(super) put: Pace,
    pub(super) get: Pace,
    pub(super) hops: Hops,
    pub(super) file: Option<FileFigures>,
    pub(super) killed: usize,
    pub(super) detection: Detection,
    pub(super) memory_mib: f64,
    /// The largest share of the records that one node held as a replica.
    pub(super) largest_share: f64,
}

/// The hops of lookups.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hops {
    pub(super) mean: f64,
    pub(super) max: u8,
    pub(super) lookups: usize,
}

/// Bytes below which a file may come from one node without counting as a shortcoming.
const SMALL_BYTES: u64 = 16 << 20;

/// Highest share of all records that one node may hold. A higher limit would let one node hold nearly
/// everything.
pub(super) const SHARE_MAX: f64 = 0.7;

impl Figures {
    /// The figures that fall short of what the demo should show, one sentence each.
    pub(super) fn shortcomings(&self) -> Vec<String> {
        let mut list = Vec::new();
        let mut need = |good: bool, what: String| {
            if !good {
                list.push(what);
            }
        };
        let all = self.records;
        need(self.written == all, format!("only {} of {all} records were written", self.written));
        need(
            self.read_back == all,
            format!("only {} of {all} records were read back", self.read_back),
        );
        need(
            self.after_kill == all,
            format!("only {} of {all} records were read after the kills", self.after_kill),
        );
        need(
            self.conflicts_made > 0 && self.conflicts_merged == self.conflicts_made,
            format!("{} of {} conflicts were merged", self.conflicts_merged, self.conflicts_made),
        );
        need(
            self.detection.missed == 0 && self.detection.noticed > 0,
            format!("{} deaths were not noticed in time", self.detection.missed),
        );
        let file = self.file.unwrap_or_default();
        need(file.verified, "the file did not come through as it was".to_owned());
        need(
            file.sources > 1 || file.holders < 2 || file.bytes < SMALL_BYTES,
            format!("the file came from {} node, though {} had it", file.sources, file.holders),
        );
        need(self.hops.max > 0, "no lookup had to ask another node".to_owned());
        need(
            self.largest_share <= SHARE_MAX,
            format!("a node held {:.0} % of the records", self.largest_share * 100.0),
        );
        list
    }

    /// The two sentences that matter: that nothing was lost, and that more sources are faster.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut all = vec![format!(
            "{} of {} records were read back after the death of {} of {} nodes.",
            self.after_kill, self.records, self.killed, self.nodes
        )];
        if let Some(file) = self.file.filter(|file| file.sources > 1) {
            let times = file.first_seconds / file.seconds.max(0.001);
            all.push(format!(
                "The file came {times:.1} times as fast from {} as from one.",
                count(file.sources as u64, "node")
            ));
        }
        all
    }

    /// The table for a terminal.
    pub(super) fn to_table(&self) -> String {
        let pace = |pace: &Pace| {
            format!(
                "{:.0} a second, p50 {:.1} ms, p99 {:.1} ms",
                pace.per_second, pace.p50_ms, pace.p99_ms
            )
        };
        let rows = [
            ["measured in this run", ""],
            ["nodes joined", &format!("{} in {:.1} s", self.nodes, self.join_seconds)],
            ["records written", &format!("{} of {}", self.written, self.records)],
            ["read back, all nodes alive", &format!("{} of {}", self.read_back, self.records)],
            [
                &format!("read back, {} killed", count(self.killed as u64, "node")),
                &format!("{} of {}", self.after_kill, self.records),
            ],
            ["conflicts merged", &format!("{} of {}", self.conflicts_merged, self.conflicts_made)],
            ["puts", &pace(&self.put)],
            ["gets", &pace(&self.get)],
            [
                "hops of a lookup",
                &format!(
                    "mean {:.2}, at most {} ({} lookups)",
                    self.hops.mean, self.hops.max, self.hops.lookups
                ),
            ],
            ["file from one node", &file_pace(self.file.map(|it| (it.bytes, it.first_seconds)))],
            [
                &format!(
                    "file from {}",
                    count(self.file.map_or(0, |file| file.sources) as u64, "node")
                ),
                &file_pace(self.file.map(|file| (file.bytes, file.seconds))),
            ],
            [
                "a death noticed after",
                &format!(
                    "median {:.1} s, at most {:.1} s",
                    self.detection.median_seconds, self.detection.max_seconds
                ),
            ],
            ["most records on one node", &format!("{:.0} %", self.largest_share * 100.0)],
            ["memory a node", &format!("{:.1} MiB", self.memory_mib)],
        ];
        table(&rows.map(|row| row.map(ToString::to_string)))
    }

    /// The object for programs (`--json`).
    pub(super) fn to_json(&self) -> Value {
        let mut get = self.get.to_json();
        get["hops"] = json!({"mean": round(self.hops.mean, 2), "max": self.hops.max});
        json!({
            "nodes": self.nodes,
            "joinSeconds": round(self.join_seconds, 2),
            "records": {
                "written": self.written,
                "readBack": self.read_back,
                "afterKill": self.after_kill,
            },
            "conflicts": {"made": self.conflicts_made, "merged": self.conflicts_merged},
            "put": self.put.to_json(),
            "get": get,
            "file": self.file.map(|file| json!({
                "bytes": file.bytes,
                "seconds": round(file.seconds, 2),
                "sources": file.sources,
                "verified": file.verified,
            })),
            "killed": self.killed,
            "detectionSeconds": {
                "median": round(self.detection.median_seconds, 2),
                "max": round(self.detection.max_seconds, 2),
            },
            "memoryMiBPerNode": round(self.memory_mib, 1),
            "ok": self.shortcomings().is_empty(),
        })
    }
}

/// The transfer rate of a fetch of `(bytes, seconds)`.
fn file_pace(fetched: Option<(u64, f64)>) -> String {
    let Some((bytes, seconds)) = fetched else { return "not run".to_owned() };
    let rate = bytes as f64 / seconds.max(0.001);
    format!("{} MiB in {seconds:.1} s, {} MiB/s", mib(bytes as f64), mib(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Figures {
        Figures {
            records: 2,
            written: 2,
            read_back: 2,
            after_kill: 2,
            conflicts_made: 1,
            conflicts_merged: 1,
            hops: Hops { mean: 1.0, max: 1, lookups: 1 },
            detection: Detection { noticed: 1, ..Detection::default() },
            largest_share: 0.5,
            file: Some(FileFigures {
                bytes: 1 << 30,
                seconds: 1.0,
                sources: 4,
                holders: 4,
                first_seconds: 4.0,
                verified: true,
            }),
            ..Figures::default()
        }
    }

    #[test]
    fn a_run_is_only_good_when_nothing_is_missing() {
        assert_eq!(good().shortcomings(), Vec::<String>::new());
        let spoiled: [fn(&mut Figures); 10] = [
            |it| it.written = 1,
            |it| it.read_back = 1,
            |it| it.after_kill = 1,
            |it| it.conflicts_merged = 0,
            |it| it.conflicts_made = 0,
            |it| it.detection.missed = 1,
            |it| it.hops.max = 0,
            |it| it.largest_share = 0.71,
            |it| it.file = it.file.map(|file| FileFigures { verified: false, ..file }),
            |it| it.file = it.file.map(|file| FileFigures { sources: 1, ..file }),
        ];
        for spoil in spoiled {
            let mut figures = good();
            spoil(&mut figures);
            assert_eq!(figures.shortcomings().len(), 1, "{figures:?}");
            assert_eq!(figures.to_json()["ok"], false);
        }
    }

    #[test]
    fn the_object_has_the_fields_that_scripts_rely_on() {
        let object = good().to_json();
        for path in [
            "/nodes",
            "/joinSeconds",
            "/records/written",
            "/records/readBack",
            "/records/afterKill",
            "/conflicts/made",
            "/conflicts/merged",
            "/put/perSecond",
            "/put/p50Ms",
            "/put/p99Ms",
            "/get/perSecond",
            "/get/p50Ms",
            "/get/p99Ms",
            "/get/hops/mean",
            "/get/hops/max",
            "/file/bytes",
            "/file/seconds",
            "/file/sources",
            "/file/verified",
            "/killed",
            "/detectionSeconds/median",
            "/detectionSeconds/max",
            "/memoryMiBPerNode",
            "/ok",
        ] {
            assert!(object.pointer(path).is_some(), "{path}");
        }
        assert!(Figures::default().to_json()["file"].is_null());
    }
}
