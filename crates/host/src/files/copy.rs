//! Writing the bytes of a blob to files outside the store.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use potluck_store::blobs::{
    Blob, BlobError, READ_BYTES_MAX, SegmentTarget, create_file, mark, write_sparse,
};

use super::FilesError;

/// Size in bytes of the blocks of zeros that are left out as holes. Smaller blocks find more holes.
const HOLE_BYTES: u64 = 64 * 1024;

/// Removes a file, or a folder with its content. Succeeds if there is none.
pub(super) fn remove_all(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Ok(left) if left.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Writes the bytes of a complete blob to `targets`, which are below `base` or `base` itself. Removes what
/// an interrupted copy left there.
pub(super) fn copy_all(
    blob: &Blob,
    base: &Path,
    targets: &[SegmentTarget],
) -> Result<(), FilesError> {
    let io = |source| BlobError::Io { path: base.to_owned(), source };
    remove_all(base).map_err(io)?;
    let mut begin = 0;
    for file in targets {
        let written = copy(blob, begin..begin + file.bytes, &file.path)?;
        begin += file.bytes;
        mark(&written, file.executable, file.mtime).map_err(io)?;
        written.sync_data().map_err(io)?;
    }
    Ok(())
}

/// Writes a range of a blob to a new file.
pub(super) fn copy(blob: &Blob, range: Range<u64>, to: &Path) -> Result<File, FilesError> {
    let io = |source| BlobError::Io { path: to.to_owned(), source };
    let file = create_file(to).map_err(io)?;
    file.set_len(range.end - range.start).map_err(io)?;
    let mut begin = range.start;
    while begin < range.end {
        let end = range.end.min(begin + READ_BYTES_MAX);
        let bytes = blob.read(begin..end)?;
        let mut offset = begin - range.start;
        for part in bytes.chunks(HOLE_BYTES as usize) {
            write_sparse(&file, part, offset).map_err(io)?;
            offset += part.len() as u64;
        }
        begin = end;
    }
    Ok(file)
}
