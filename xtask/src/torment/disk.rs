//! A small disk a node, and how it is filled.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::tools::call;

/// Room for a node: what it keeps free (64 MiB), and room for what it writes in a run.
const DISK: &str = "320m";
/// The file that takes all the room there is.
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

/// Leaves no room.
pub(super) fn fill(folder: &Path) -> Result<(), String> {
    let path = folder.join(BALLAST);
    let mut file =
        File::create(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    for size in [1 << 20, 1 << 12] {
        let block = vec![0; size];
        // The error is that the disk is full, which is what is wanted.
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

/// Makes room again.
pub(super) fn empty(folder: &Path) -> Result<(), String> {
    let path = folder.join(BALLAST);
    fs::remove_file(&path).map_err(|error| format!("cannot remove {}: {error}", path.display()))
}
