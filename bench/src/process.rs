//! What a process has cost so far, as the kernel counts it.

use std::fs;

/// CPU seconds of all threads of this process, user and system. Zero where `/proc` does not exist.
pub fn cpu_seconds() -> f64 {
    cpu("self", [11, 12])
}

/// The same of another process.
pub fn cpu_seconds_of(pid: u32) -> f64 {
    cpu(&pid.to_string(), [11, 12])
}

/// The same of all children of this process that have ended and been waited for.
pub fn cpu_seconds_of_children() -> f64 {
    cpu("self", [13, 14])
}

fn cpu(process: &str, places: [usize; 2]) -> f64 {
    // Fields 14 to 17 of /proc/self/stat, in ticks of 10 ms, behind the name in parentheses.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    places.into_iter().map(ticks).sum::<f64>() / 100.0
}

/// Resident memory in kB now.
pub fn resident_kb() -> u64 {
    status_kb("self", "VmRSS:")
}

/// The same of another process: all of it, and what it does not share with other processes' files.
pub fn resident_kb_of(pid: u32) -> (u64, u64) {
    let process = pid.to_string();
    (status_kb(&process, "VmRSS:"), status_kb(&process, "RssAnon:"))
}

fn status_kb(process: &str, name: &str) -> u64 {
    fs::read_to_string(format!("/proc/{process}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// What went over the interfaces of this network namespace, as the kernel counts it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// UDP datagrams sent.
    pub datagrams: f64,
    /// Bytes of all packets with their IP headers, TCP included.
    pub bytes: f64,
}

impl Traffic {
    /// So far.
    pub fn so_far() -> Self {
        Self {
            datagrams: counter("/proc/net/snmp", "Udp:", "OutDatagrams"),
            bytes: counter("/proc/net/netstat", "IpExt:", "OutOctets"),
        }
    }

    /// Since another count.
    pub fn since(self, before: Self) -> Self {
        Self { datagrams: self.datagrams - before.datagrams, bytes: self.bytes - before.bytes }
    }
}

/// A number below its name: these files have a line of names above each line of numbers.
fn counter(file: &str, line: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().filter_map(|it| it.strip_prefix(line));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else { return 0.0 };
    let place = names.split_whitespace().position(|it| it == name);
    place
        .and_then(|place| numbers.split_whitespace().nth(place))
        .and_then(|number| number.parse().ok())
        .unwrap_or(0.0)
}
