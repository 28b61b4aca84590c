//! The parameters of a demo, checked for being able to show what it should.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::text::count;

/// Replicas of a record in a demo of the default size, five of twelve nodes. More replicas let more
/// nodes be killed and leave each node a larger share of the records.
const REPLICATION: u16 = 5;

/// The parameters of a demo.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) kill: usize,
    pub(super) keys: usize,
    pub(super) load: Option<PathBuf>,
    /// The real path of the file to share.
    pub(super) file: PathBuf,
    pub(super) replication: u16,
    pub(super) seed: u64,
}

/// Nodes that fetch the file before its sharer is killed. More of them are more sources for the
/// last fetch.
const FETCHERS: usize = 4;

impl Plan {
    /// Nodes that fetch the file before its sharer is killed: at most [`FETCHERS`], and one survivor is
    /// kept back to fetch it afterwards.
    pub(super) fn fetchers(&self) -> usize {
        FETCHERS.min(self.nodes - self.kill - 1)
    }

    /// The plan that the arguments describe.
    ///
    /// # Errors
    /// Wrong usage: a demo with these arguments could not show what it should.
    pub(super) fn of(args: &DemoArgs) -> Result<Self, Failure> {
        let DemoArgs { nodes, kill, keys, load, file, seed, .. } = args;
        if *kill == 0 || kill >= nodes {
            return Err(Failure::usage("--kill must be at least 1 and leave a node alive")
                .hint("leave it out to kill a third"));
        }
        let replication = replication(*nodes, *kill).ok_or_else(|| {
            Failure::usage(format!(
                "{nodes} nodes are too few to survive {} without that every node holds everything",
                count(*kill, "kill")
            ))
            .hint(format!("use --nodes {} or more, or kill fewer", 2 * (kill + 1)))
        })?;
        if let Some(folder) = load
            && !folder.is_dir()
        {
            return Err(Failure::usage(format!("--load {} is no folder", folder.display())));
        }
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = clock.map_or(0, |since| since.as_millis() as u64 % 1_000_000);
        Ok(Self {
            nodes: (*nodes).into(),
            kill: (*kill).into(),
            keys: *keys as usize,
            load: load.clone(),
            file: file_of(file.as_deref())?,
            replication,
            seed: seed.unwrap_or(clock),
        })
    }
}

/// The file given by `--file`, or this program.
fn file_of(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match asked {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?,
    };
    let wrong = |why: &str| Failure::usage(format!("--file {} {why}", path.display()));
    let about = path.metadata().map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if !about.is_file() || about.len() == 0 {
        return Err(wrong("is no file with bytes in it"));
    }
    let real = path.canonicalize().map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if real.to_str().is_none() { Err(wrong("has a path that is no UTF-8")) } else { Ok(real) }
}

/// A replication factor that survives `kill` simultaneous kills and is at most half the nodes.
fn replication(nodes: u16, kill: u16) -> Option<u16> {
    let usual = (nodes * REPLICATION / 12).clamp(2, REPLICATION);
    let needed = usual.max(kill + 1);
    (needed * 2 <= nodes).then_some(needed).filter(|needed| *needed <= 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_outlives_the_kills_and_nobody_holds_them_all() {
        assert_eq!(replication(12, 4), Some(5));
        assert_eq!(replication(5, 1), Some(2));
        assert_eq!(replication(64, 4), Some(5));
        assert_eq!(replication(20, 6), Some(7));
        assert_eq!(replication(5, 3), None);
        for nodes in 4..=64 {
            for kill in 1..nodes {
                if let Some(replication) = replication(nodes, kill) {
                    assert!(replication > kill && replication * 2 <= nodes);
                }
            }
        }
    }
}
