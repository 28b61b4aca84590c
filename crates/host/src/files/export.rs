//! Putting what was fetched in its place: a rename if it was fetched for this, a copy if it lies
//! elsewhere on this node.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use potluck_store::blobs::{Blob, BlobError, BlobPlace, READ_BYTES_MAX, create_file};
use potluck_swarm::Manifest;

use super::way::Way;
use super::{Files, FilesError};
use crate::folder::sync_folder;

impl Files {
    /// Moves or copies a complete blob to where it belongs.
    pub(super) fn put_in_place(
        &self,
        blob: &Blob,
        way: &Way,
        folder: Option<&Manifest>,
    ) -> Result<(), FilesError> {
        let view = self.view(&blob.id()).ok_or(FilesError::Unknown)?;
        let aside =
            matches!(&view.place, BlobPlace::Outside { path, .. } if path.starts_with(&way.aside));
        if aside {
            return Ok(blob.move_to(&way.aside, &way.there)?);
        }
        let io = |source| BlobError::Io { path: way.aside.clone(), source };
        copy_aside(blob, way, folder)?;
        std::fs::rename(&way.aside, &way.there).map_err(io)?;
        Ok(way.there.parent().map_or(Ok(()), sync_folder).map_err(io)?)
    }
}

/// Copies a complete blob to where it lies before it is put in its place.
pub(super) fn copy_aside(
    blob: &Blob,
    way: &Way,
    folder: Option<&Manifest>,
) -> Result<(), FilesError> {
    let io = |source| BlobError::Io { path: way.aside.clone(), source };
    // What an earlier copy left when it was interrupted.
    match way.aside.symlink_metadata() {
        Ok(left) if left.is_dir() => std::fs::remove_dir_all(&way.aside).map_err(io)?,
        Ok(_) => std::fs::remove_file(&way.aside).map_err(io)?,
        Err(_) => {}
    }
    match folder {
        None => drop(copy(blob, 0..blob.division().size(), &way.aside)?),
        Some(manifest) => copy_folder(blob, manifest, &way.aside)?,
    }
    Ok(())
}

fn copy_folder(blob: &Blob, manifest: &Manifest, to: &Path) -> Result<(), FilesError> {
    let mut begin = 0;
    for file in manifest.files() {
        let path = to.join(&file.path);
        let io = |source| BlobError::Io { path: path.clone(), source };
        let written = copy(blob, begin..begin + file.bytes, &path)?;
        begin += file.bytes;
        if file.executable {
            make_executable(&written).map_err(io)?;
        }
    }
    Ok(())
}

/// Lets everybody execute a file who may read it, where the system knows such a thing.
pub(super) fn make_executable(file: &File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata()?.permissions().mode();
        file.set_permissions(std::fs::Permissions::from_mode(mode | (mode & 0o444) >> 2))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

fn copy(blob: &Blob, range: std::ops::Range<u64>, to: &Path) -> Result<File, FilesError> {
    let io = |source| BlobError::Io { path: to.to_owned(), source };
    let mut file = create_file(to).map_err(io)?;
    let mut begin = range.start;
    while begin < range.end {
        let end = range.end.min(begin + READ_BYTES_MAX);
        file.write_all(&blob.read(begin..end)?).map_err(io)?;
        begin = end;
    }
    file.sync_data().map_err(io)?;
    Ok(file)
}
