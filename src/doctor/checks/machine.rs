//! Checks of the machine: clock, disk, memory, port, process.

use super::super::{Evidence, Finding, Severity, thresholds};
use super::node;
use crate::commands::table::{bytes, span};

/// The clock's drift; the node's health reports a clock that is far off.
pub(super) fn clock(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let offset = node.clock_offset_ms?;
        let told = node.reasons.iter().any(|reason| reason.code == "clock.off");
        (!told && offset.unsigned_abs() > thresholds::CLOCK_DRIFT_MS).then(|| {
            let seen = format!(
                "this machine's clock is {:.1} s {} those of the other nodes (threshold {} s; at 5 minutes \
                 writes are refused)",
                offset.unsigned_abs() as f64 / 1000.0,
                if offset < 0 { "ahead of" } else { "behind" },
                thresholds::CLOCK_DRIFT_MS / 1000
            );
            Finding::new("clock.drift", Severity::Warning, seen)
        })
    })
}

pub(super) fn certificate(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let certificate = node.certificate.as_ref()?;
        let told = node.reasons.iter().any(|reason| reason.code.starts_with("member."));
        let ends = certificate.seconds_left < thresholds::CERTIFICATE_SECONDS;
        (ends && !certificate.is_issuer && !told).then(|| {
            let left = u64::try_from(certificate.seconds_left).unwrap_or(0);
            let why = certificate.trouble.as_deref().unwrap_or("no signer answered yet");
            let seen = format!("this node's certificate ends in {}; {why}", span(left));
            Finding::new("certificate.ending", Severity::Warning, seen)
        })
    })
}

pub(super) fn damage(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        (node.store.corrupt_rows > 0).then(|| {
            let seen = format!("{} damaged rows were met since the start", node.store.corrupt_rows);
            Finding::new("store.damage", Severity::Warning, seen)
        })
    })
}

pub(super) fn store_room(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let store = &node.store;
        let told = node.reasons.iter().any(|reason| reason.code == "store.full");
        let free = store.disk_limit_bytes.saturating_sub(store.disk_bytes);
        let low = store.disk_limit_bytes > 0
            && free * 100 < store.disk_limit_bytes * thresholds::STORE_FREE_PERCENT;
        (low && !told).then(|| {
            let seen = format!(
                "the store takes {} of {} ([store] disk_bytes; under {} % left)",
                bytes(store.disk_bytes),
                bytes(store.disk_limit_bytes),
                thresholds::STORE_FREE_PERCENT
            );
            Finding::new("store.room", Severity::Warning, seen)
        })
    })
}

pub(super) fn receive_buffer(evidence: &Evidence) -> Vec<Finding> {
    let Some(socket) = &evidence.machine.socket else { return Vec::new() };
    let drops = socket.drops.unwrap_or(0);
    let small = socket.receive_buffer_bytes < thresholds::RECEIVE_BUFFER_BYTES;
    if !small && drops == 0 {
        return Vec::new();
    }
    let seen = format!(
        "the UDP receive buffer is {} (threshold {}, the system allows {}) and {drops} datagrams were dropped \
         for want of a place in it",
        bytes(socket.receive_buffer_bytes),
        bytes(thresholds::RECEIVE_BUFFER_BYTES),
        socket.receive_buffer_limit.map_or("?".into(), bytes),
    );
    vec![Finding::new("socket.buffer", Severity::Warning, seen)]
}

pub(super) fn sending(evidence: &Evidence) -> Vec<Finding> {
    let Some(socket) = &evidence.machine.socket else { return Vec::new() };
    node(evidence, |_| {
        (socket.send_failed + socket.send_full > 0.0).then(|| {
            let seen = format!(
                "in the last second the system refused to send {:.0} datagrams, and had no room for {:.0}",
                socket.send_failed, socket.send_full
            );
            Finding::new("socket.send", Severity::Warning, seen)
        })
    })
}

pub(super) fn disk_room(evidence: &Evidence) -> Vec<Finding> {
    let Some(free) = evidence.machine.disk_free_bytes else { return Vec::new() };
    let told =
        |reason: &crate::api::ReasonView| matches!(&*reason.code, "store.full" | "store.stopped");
    let told = evidence.node.as_ref().is_some_and(|node| node.reasons.iter().any(told));
    if free >= thresholds::DISK_FREE_BYTES || told {
        return Vec::new();
    }
    let seen = format!(
        "the disk of the data folder has {} left of {} (threshold {})",
        bytes(free),
        evidence.machine.disk_total_bytes.map_or("?".into(), bytes),
        bytes(thresholds::DISK_FREE_BYTES)
    );
    vec![Finding::new("disk.room", Severity::Warning, seen)]
}

pub(super) fn disk_wait(evidence: &Evidence) -> Vec<Finding> {
    let waiting = evidence.node.as_ref().map_or(0, |node| node.load.waiting_for_disk);
    let Some(percent) = evidence.machine.disk_pressure_percent else { return Vec::new() };
    if percent < thresholds::DISK_PRESSURE {
        return Vec::new();
    }
    let seen = format!(
        "processes of this machine waited for a disk {percent:.0} % of the last ten seconds (threshold \
         {:.0} %); {waiting} operations of the store wait now",
        thresholds::DISK_PRESSURE
    );
    vec![Finding::new("disk.slow", Severity::Warning, seen)]
}

pub(super) fn descriptors(evidence: &Evidence) -> Vec<Finding> {
    let (Some(max), Some(open)) =
        (evidence.machine.descriptors_max, evidence.machine.descriptors_open)
    else {
        return Vec::new();
    };
    let used = open.saturating_mul(100) / max.max(1);
    if max >= thresholds::DESCRIPTORS_MIN && used < thresholds::DESCRIPTORS_PERCENT {
        return Vec::new();
    }
    let seen = format!(
        "the process may have {max} descriptors open and has {open} (thresholds {} and {} % in use)",
        thresholds::DESCRIPTORS_MIN,
        thresholds::DESCRIPTORS_PERCENT
    );
    vec![Finding::new("os.descriptors", Severity::Warning, seen)]
}

pub(super) fn memory(evidence: &Evidence) -> Vec<Finding> {
    let machine = &evidence.machine;
    let Some(limit) = machine.memory_limit_bytes else { return Vec::new() };
    let wanted = machine.memory_wanted_bytes.map(|bytes| bytes + thresholds::MEMORY_BESIDE_STORE);
    let used = machine.memory_bytes.unwrap_or(0);
    let over = used.saturating_mul(100) / limit.max(1) >= thresholds::MEMORY_PERCENT;
    if !over && wanted.is_none_or(|wanted| wanted <= limit) {
        return Vec::new();
    }
    let seen = format!(
        "the process may take {} of memory and has {}; the store alone may take {}",
        bytes(limit),
        bytes(used),
        machine.memory_wanted_bytes.map_or("?".into(), bytes)
    );
    vec![Finding::new("os.memory", Severity::Warning, seen)]
}

/// Findings about a node that does not answer.
pub(super) fn down(evidence: &Evidence) -> Vec<Finding> {
    let Some(folder) = &evidence.folder else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(why) = &folder.unusable {
        let seen = format!("the data folder {} cannot be used: {why}", folder.path);
        found.push(Finding::new("folder.unusable", Severity::Bad, seen));
    }
    if folder.clock_behind_seconds > thresholds::CLOCK_BACK_SECONDS {
        let seen = format!(
            "this machine's clock stands {} behind the last write in the data folder",
            span(folder.clock_behind_seconds)
        );
        found.push(Finding::new("clock.back", Severity::Warning, seen));
    }
    for name in &folder.unresolved {
        let seen = format!("the entry point {name} does not resolve");
        let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
        let command = format!("getent hosts {}", crate::text::quoted(host));
        found.push(Finding::new("entry.name", Severity::Bad, seen).command(command));
    }
    if let Some(what) = &folder.foreign {
        let seen = format!("what answers at {} is no Potluck node: {what}", folder.url);
        found.push(Finding::new("node.port", Severity::Bad, seen));
    } else if folder.locked {
        let (seen, command) = match folder.process {
            Some((id, 'T' | 't')) => (
                format!("the node's process {id} is stopped, so it answers nothing"),
                format!("kill -CONT {id}"),
            ),
            Some((id, state)) => (
                format!(
                    "the node's process {id} runs (state {state}) and does not answer at {}",
                    folder.url
                ),
                format!("kill {id} && potluck up --data {}", folder.path),
            ),
            None => (
                format!("a process holds {} and does not answer at {}", folder.path, folder.url),
                format!("fuser -v {}/lock", folder.path),
            ),
        };
        found.push(Finding::new("node.stuck", Severity::Bad, seen).command(command));
    } else if folder.unusable.is_none() {
        let place = match (&folder.network, folder.exists) {
            (Some(network), _) => format!("; {} belongs to network {network}", folder.path),
            (None, true) => format!("; {} belongs to no network yet", folder.path),
            (None, false) => format!("; there is no data folder at {}", folder.path),
        };
        let seen = format!("no node answers at {}{place}", folder.url);
        found.push(Finding::new("node.down", Severity::Bad, seen));
    }
    if let Some(port) = folder.port_taken {
        let seen = format!("UDP port {port} is taken by another program");
        found.push(Finding::new("port.taken", Severity::Warning, seen));
    }
    found
}
