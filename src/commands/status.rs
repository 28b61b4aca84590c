//! `status` and `peers`.

use serde_json::Value;

use super::table::{bytes, millis, short, span, table};
use crate::api::{OwnAddress, Peers, Status};
use crate::cli::Global;
use crate::client::Client;
use crate::failure::Failure;
use crate::text::count;

/// The network's name, with what is special about it.
fn network(status: &Status) -> String {
    match &status.difficulty {
        Some(difficulty) => {
            format!("{} ({}, difficulty {difficulty})", status.network, status.admission)
        }
        None => status.network.clone(),
    }
}

/// Runs `status`.
pub(crate) fn status(global: &Global) -> Result<(), Failure> {
    let out = global.out();
    let answer = Client::of(global)?.get("/v1/status")?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let status: Status = answer.json()?;
    let others = status.network_size_estimate.saturating_sub(1);
    let rows = [
        ["health", &status.sentence],
        ["network", &network(&status)],
        ["node", &status.node_id],
        ["contact", &status.contact],
        ["listens", &status.listening.join(", ")],
        ["reached", &reached(&status)],
        ["running", &format!("version {} for {}", status.version, span(status.uptime_seconds))],
        [
            "knows",
            &format!(
                "{}; the network has about {} more",
                count(status.peers as u64, "node"),
                others
            ),
        ],
        ["clock", &clock(status.clock_offset_ms)],
        ["holds", &format!("{}, {}", count(status.records, "record"), bytes(status.record_bytes))],
        ["files", &format!("{}, {}", count(status.blobs, "file"), bytes(status.blob_bytes))],
        ["memory", &bytes(status.memory_bytes)],
        ["ending", &ending(status.records_expiring_7d)],
    ];
    out.bytes(table(&rows.map(|row| row.map(ToString::to_string))).as_bytes())?;
    // The first reason is in the row of health.
    for reason in status.reasons.iter().skip(1) {
        out.line(format!("note     {reason}"))?;
    }
    if !status.restart_needed.is_empty() {
        let keys = status.restart_needed.join(", ");
        out.line(format!(
            "note     the configuration was changed; a restart is needed for {keys}"
        ))?;
    }
    if status.announced_in_turn {
        out.line(
            "note     too many files are shared to announce all at once; they are announced in turn, \
             and most links are found by asking this node",
        )?;
    }
    Ok(())
}

/// The addresses at which others reach the node, and the origin of each.
fn reached(status: &Status) -> String {
    let known = |own: &OwnAddress| match own.source.as_str() {
        "advertised" => "as advertised".to_owned(),
        "observed" => format!("as peers of {} see it", count(own.witnesses as u64, "subnet")),
        _ if own.witnesses > 0 => "its own, and peers see it there".to_owned(),
        _ => "its own".to_owned(),
    };
    let all = status.addresses.iter().map(|own| format!("{} ({})", own.address, known(own)));
    let mut text = all.collect::<Vec<_>>().join(", ");
    if status.reachability == "varies" {
        text.push_str("; its router gives it another port for each peer, so most cannot dial it");
    }
    text
}

/// The number of this node's own records that end soon.
fn ending(records: u64) -> String {
    match records {
        0 => "no record of this node ends within 7 days".to_owned(),
        1 => "1 record of this node ends within 7 days".to_owned(),
        more => format!("{more} records of this node end within 7 days"),
    }
}

/// The offset of the node's clock from those of its peers.
fn clock(offset_ms: Option<i64>) -> String {
    match offset_ms {
        None => "not compared with another node's yet".to_owned(),
        Some(-999..=999) => "within a second of those of the other nodes".to_owned(),
        Some(offset) => {
            let where_to = if offset < 0 { "ahead of" } else { "behind" };
            let by = span(offset.unsigned_abs() / 1_000);
            format!("{by} {where_to} those of the other nodes")
        }
    }
}

/// Runs `peers`.
pub(crate) fn peers(global: &Global) -> Result<(), Failure> {
    let out = global.out();
    let client = Client::of(global)?;
    let answer = client.get("/v1/peers")?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let peers = answer.json::<Peers>()?.peers;
    let mut rows = vec![["node", "address", "state", "round trip", "heard"].map(str::to_owned)];
    rows.extend(peers.iter().map(|peer| {
        [
            short(&peer.id).to_owned(),
            peer.address.clone(),
            peer.state.clone(),
            millis(peer.rtt_ms),
            format!("{:.1} s ago", peer.last_seen_seconds),
        ]
    }));
    out.bytes(table(&rows).as_bytes())?;
    if peers.is_empty() {
        let status: Status = client.get_json("/v1/status")?;
        let alone =
            "no other node is known; give this one an entry point with potluck join CONTACT";
        out.note(status.reasons.first().map_or(alone, String::as_str));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_with_its_direction() {
        assert!(clock(None).contains("not compared"));
        for same in [0, 999, -999] {
            assert!(clock(Some(same)).starts_with("within a second"), "{same}");
        }
        assert_eq!(clock(Some(1_000)), "1 s behind those of the other nodes");
        assert_eq!(clock(Some(-61_000)), "1 min 1 s ahead of those of the other nodes");
    }
}
