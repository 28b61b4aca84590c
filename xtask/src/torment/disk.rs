//! A small disk for each node, and a way to fill it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::tools::call;

/// Size of a node's disk: 64 MiB that it keeps free, and room for the data of a run.
const DISK: &str = "320m";
/// The file that takes all free room.
const BALLAST: &str = "ballast";

/// Mounts the disk of a node below `folder`, which is made.
pub(super) fn make(folder: &Path) -> Result<PathBuf, String> {
    let at = folder.display();
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {at}: {error}"))?;
    call(&format!("mount -t tmpfs -o size={DISK},mode=700 torment {at}"))?;
    let data = folder.join("data");
    fs::create_dir(&data).map_err(|error| format!("cannot make {}: {error}", data.display()))?;
    Ok(data)
}

/// Takes all free room.
pub(super) fn fill(folder: &Path) -> Result<(), String> {
    let path = folder.join(BALLAST);
    let mut file =
        File::create(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    for size in [1 << 20, 1 << 12] {
        let block = vec![0; size];
        // The loop ends with the error that the disk is full.
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

/// Frees the room again.
pub(super) fn empty(folder: &Path) -> Result<(), String> {
    let path = folder.join(BALLAST);
    fs::remove_file(&path).map_err(|error| format!("cannot remove {}: {error}", path.display()))
}
