//! Kept inputs: `corpus/<target>/<name>`, one file each, named by the first 8 bytes of its hash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::target::Target;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 16;

/// The corpus that is committed.
#[must_use]
pub fn committed() -> PathBuf {
    // Two checkouts may share a target folder, and so this program: what cargo says now counts.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).join("corpus")
}

/// Reads the inputs of a target, in the order of their names. There are none where no folder is.
///
/// # Errors
/// If the folder or a file cannot be read.
pub fn read(corpus: &Path, target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let folder = corpus.join(target.name);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.retain(|path| fs::metadata(path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX));
    paths.iter().map(fs::read).collect()
}

/// Writes an input, and says where.
///
/// # Errors
/// If the folder or the file cannot be written.
pub fn write(corpus: &Path, target: &Target, input: &[u8]) -> io::Result<PathBuf> {
    let folder = corpus.join(target.name);
    fs::create_dir_all(&folder)?;
    let path = folder.join(&blake3::hash(input).to_hex()[..16]);
    fs::write(&path, input)?;
    Ok(path)
}

/// Puts these inputs in the place of all that a target has.
///
/// # Errors
/// If the folder or a file cannot be written.
pub fn replace(corpus: &Path, target: &Target, inputs: &[Vec<u8>]) -> io::Result<()> {
    match fs::remove_dir_all(corpus.join(target.name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    inputs.iter().try_for_each(|input| write(corpus, target, input).map(|_| ()))
}
