//! How much memory the process takes.

/// Bytes of memory that are resident for the whole process, where the system tells without unsafe
/// code: on Linux.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    if cfg!(target_os = "linux") {
        // `statm` counts in pages, whose size only libc knows; `status` counts in KiB.
        resident_of(&std::fs::read_to_string("/proc/self/status").ok()?)
    } else {
        None
    }
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_line_is_found_and_garbage_is_not_taken_for_it() {
        let status = "Name:\tpotluck\nVmPeak:\t  999 kB\nVmRSS:\t   1234 kB\nThreads:\t3\n";
        assert_eq!(resident_of(status), Some(1234 * 1024));
        assert_eq!(resident_of("VmRSS:\tmuch kB\n"), None);
        assert_eq!(resident_of("VmRSS:\t12 pages\n"), None);
        assert_eq!(resident_of(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_some_memory() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100 * 1024));
    }
}
