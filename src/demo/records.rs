//! The records of a demo: generated from its seed, or the files of a folder.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use potluck_base::Rng;
use potluck_record::Name;
use potluck_record::limits::VALUE_BYTES_MAX;

use super::plan::Plan;
use super::printer::Printer;
use crate::failure::Failure;

/// Most files of a folder that are stored. More of them make the demo longer.
const FILES_MAX: usize = 2000;
/// Deepest nesting of folders that is read; it bounds the recursion.
const DEPTH_MAX: usize = 64;

/// One record to store.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DemoRecord {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// The records of a plan.
///
/// # Errors
/// The folder cannot be read, or holds nothing that can be stored.
pub(super) fn of(plan: &Plan, printer: &Printer) -> Result<Vec<DemoRecord>, Failure> {
    let Some(folder) = &plan.load else { return Ok(made_up(plan)) };
    let mut found = Found::default();
    walk(folder, "", 0, &mut found)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", folder.display())))?;
    for name in &found.links {
        printer.note(format!("{name} is a symlink, skipped"));
    }
    let Found { records, too_large, unusable, left_out, .. } = found;
    for (count, what) in [
        (too_large, "files are larger than 64 KiB"),
        (unusable, "names or files cannot be read as records"),
        (left_out, "files are beyond the first 2000"),
    ] {
        if count > 0 {
            printer.note(format!("{count} {what}, skipped"));
        }
    }
    if records.is_empty() {
        let message = format!("{} holds no file of at most 64 KiB", folder.display());
        return Err(Failure::usage(message).hint("name another folder with --load"));
    }
    Ok(records)
}

/// Values from a few bytes to some KiB: small ones travel in datagrams, large ones over QUIC.
fn made_up(plan: &Plan) -> Vec<DemoRecord> {
    let mut rng = Rng::from_number(plan.seed).fork("menu");
    (0..plan.keys)
        .map(|number| {
            let most = if rng.chance(0.2) { 8192 } else { 512 };
            let length = 1 + rng.below(most) as usize;
            let bytes: Vec<u8> =
                std::iter::repeat_with(|| rng.bytes::<32>()).flatten().take(length).collect();
            DemoRecord { name: format!("demo/dish-{number:05}"), bytes: bytes.into() }
        })
        .collect()
}

#[derive(Debug, Default)]
struct Found {
    records: Vec<DemoRecord>,
    links: Vec<String>,
    too_large: usize,
    unusable: usize,
    left_out: usize,
}

/// Takes the files below `folder` in order of their names.
fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Found) -> std::io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(part) = entry.file_name().into_string() else {
            found.unusable += 1;
            continue;
        };
        let name = if prefix.is_empty() { part } else { format!("{prefix}/{part}") };
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            found.links.push(name);
        } else if kind.is_dir() {
            // A folder that cannot be read is left out, as its files would be.
            if depth >= DEPTH_MAX || walk(&entry.path(), &name, depth + 1, found).is_err() {
                found.unusable += 1;
            }
        } else if kind.is_file() {
            take(&entry, name, found);
        }
    }
    Ok(())
}

fn take(entry: &fs::DirEntry, name: String, found: &mut Found) {
    if entry.metadata().is_ok_and(|about| about.len() > VALUE_BYTES_MAX as u64) {
        found.too_large += 1;
    } else if found.records.len() >= FILES_MAX {
        found.left_out += 1;
    } else if Name::new(name.as_str()).is_err() {
        found.unusable += 1;
    } else {
        match fs::read(entry.path()) {
            Ok(bytes) if bytes.len() <= VALUE_BYTES_MAX => {
                found.records.push(DemoRecord { name, bytes: bytes.into() });
            }
            Ok(_) => found.too_large += 1,
            Err(_) => found.unusable += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan { nodes: 12, kill: 4, keys: 50, load: None, file: "x".into(), replication: 5, seed }
    }

    #[test]
    fn a_seed_makes_the_same_records_again() {
        assert_eq!(made_up(&plan(1)), made_up(&plan(1)));
        assert_ne!(made_up(&plan(1)), made_up(&plan(2)));
        let sizes: Vec<usize> = made_up(&plan(1)).iter().map(|record| record.bytes.len()).collect();
        assert!(sizes.iter().any(|size| *size > 1200) && sizes.iter().all(|size| *size <= 8192));
    }

    #[test]
    fn files_become_records_under_their_relative_paths() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("b")).expect("folder");
        fs::write(at("b/c.txt"), "hi").expect("file");
        fs::write(at("a"), "").expect("file");
        fs::write(at("large"), vec![0; VALUE_BYTES_MAX + 1]).expect("file");
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", at("link")).expect("link");
        let mut found = Found::default();
        walk(folder.path(), "", 0, &mut found).expect("readable");
        let names: Vec<&str> = found.records.iter().map(|record| record.name.as_str()).collect();
        assert_eq!(names, ["a", "b/c.txt"]);
        assert_eq!(found.too_large, 1);
        assert_eq!(found.links, if cfg!(unix) { vec!["link"] } else { vec![] });
    }
}
