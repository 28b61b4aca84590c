//! Facts about this process and this machine from the operating system. Read from `/proc` and control groups
//! where they exist; elsewhere the functions return `None` or 0.

use std::fs;
use std::path::Path;

/// Milliseconds of processor time that this process has used.
pub(crate) fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    stat.and_then(|stat| cpu_ms_of(&stat)).unwrap_or(0)
}

/// The fields 14 and 15 of `stat`: ticks of a hundredth of a second in programs of users on Linux.
fn cpu_ms_of(stat: &str) -> Option<u64> {
    // The name of the program stands in parentheses and may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10)
}

/// The memory that the process may use: the limit of its control group, or all of the machine's.
pub(crate) fn memory_limit() -> Option<u64> {
    let machine =
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib_of(&text, "MemTotal:"));
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        fs::read_to_string(
            Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')).join("memory.max"),
        )
        .ok()?
        .trim()
        .parse()
        .ok()
    });
    match (group, machine) {
        (Some(group), Some(machine)) => Some(u64::min(group, machine)),
        (one, other) => one.or(other),
    }
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The free bytes for this user on the disk of a folder, and its size in bytes.
pub(crate) fn disk_space(folder: &Path) -> Option<(u64, u64)> {
    let existing = folder.ancestors().find(|path| path.exists())?;
    Some((fs4::available_space(existing).ok()?, fs4::total_space(existing).ok()?))
}

/// The share of the last ten seconds in which some process waited for a disk, in percent.
pub(crate) fn disk_pressure() -> Option<f64> {
    let text = fs::read_to_string("/proc/pressure/io").ok()?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

/// The limit of open descriptors of the process, and how many are open.
pub(crate) fn descriptors() -> Option<(u64, u64)> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let limit = line.split_whitespace().next()?;
    let limit = if limit == "unlimited" { u64::MAX } else { limit.parse().ok()? };
    let open = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some((limit, open))
}

/// The most bytes that the system grants a socket as its receive buffer.
pub(crate) fn receive_buffer_limit() -> Option<u64> {
    fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()
}

/// Datagrams that the system dropped because the receive buffer of a UDP socket on this port was full,
/// since the socket was made.
pub(crate) fn udp_drops(port: u16) -> Option<u64> {
    let mut found = None;
    for file in ["/proc/net/udp", "/proc/net/udp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Some(drops) = drops_of(&text, port) {
            found = Some(found.unwrap_or(0) + drops);
        }
    }
    found
}

fn drops_of(table: &str, port: u16) -> Option<u64> {
    let port = format!("{port:04X}");
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        (local == port).then(|| fields.last()?.parse::<u64>().ok()).flatten()
    });
    rows.fold(None, |sum, drops| Some(sum.unwrap_or(0) + drops))
}

/// The state letter of a process: `T` is stopped.
pub(crate) fn process_state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 5";
        assert_eq!(cpu_ms_of(stat), Some(2000));
        assert_eq!(cpu_ms_of("7 (a"), None);
    }

    #[test]
    fn drops_are_those_of_the_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
                     timeout inode ref pointer drops\n\
                     1: 0100007F:3039 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 5\n\
                     2: 00000000:3039 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 2\n\
                     3: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 9\n";
        assert_eq!((drops_of(table, 12345), drops_of(table, 80)), (Some(7), None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_all_of_it() {
        assert!(memory_limit().is_some_and(|bytes| bytes > 1 << 20));
        assert!(descriptors().is_some_and(|(limit, open)| limit >= open && open > 0));
        assert!(disk_space(Path::new("/")).is_some_and(|(free, all)| all >= free && all > 0));
        assert!(process_state(std::process::id()).is_some());
    }
}
