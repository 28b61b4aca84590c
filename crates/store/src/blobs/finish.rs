//! The end of a fetch: completes the blob, and moves its files to their final paths.
//!
//! **Invariant:** a crash leaves the blob partial or complete, and its files before or after their move, never
//! in between.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::blob::Blob;
use super::entry::HAVE;
use super::folder::{end_move, note_place};
use super::meta::{Meta, Move, Phase};
use super::opened::open_to_write;
use super::place::{Segment, Segments, Stamp};
use super::{BlobError, files};
use crate::backend::Changes;

impl Blob {
    /// Ends a fetch: commits, creates the empty segments, marks executables and makes the blob complete. Does
    /// nothing if the blob is complete.
    ///
    /// # Errors
    /// [`BlobError::Incomplete`] if granules are missing, including those of files that another program
    /// removed or truncated meanwhile. They must be fetched again.
    pub fn finish(&self) -> Result<(), BlobError> {
        let _one = self.committing.lock();
        {
            let progress = self.progress.lock();
            match progress.phase {
                Phase::Complete => return Ok(()),
                Phase::Changed => return Err(BlobError::Damaged),
                Phase::Partial => {}
            }
            let granules = progress.have.length() - progress.have.count();
            if granules > 0 {
                return Err(BlobError::Incomplete { granules });
            }
        }
        self.make_empty_segments()?;
        self.give_room_back();
        self.commit_alone()?;
        let stamped = {
            let segments = self.segments();
            let stamps = self.stamps(&segments)?;
            self.entry.meta().outside.is_some().then(|| segments.stamped(stamps))
        };
        let place = match &stamped {
            Some(segments) => note_place(&self.entry.folder, &self.entry.id, 0, segments)?,
            None => Changes::new(),
        };
        self.entry.change_with(|meta| meta.phase = Phase::Complete, place)?;
        if let Some(segments) = stamped {
            *self.segments.write() = segments;
        }
        let mut progress = self.progress.lock();
        progress.phase = Phase::Complete;
        progress.journal = None;
        progress.saved_nodes.clear();
        drop(progress);
        self.close_files();
        let journal = self.entry.file(HAVE);
        files::remove_if_there(&journal).map_err(BlobError::at(&journal))
    }

    /// Moves the files of a complete blob by renaming `from`, which is the only file or a folder above all
    /// files, to `to`. The move is recorded before it begins, so a crash does not lose the files. Creates the
    /// folder above `to`.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if `to` exists; an error of the operating system if `from` and `to` are on
    /// different file systems. In both cases nothing changed.
    pub fn move_to(&self, from: &Path, to: &Path) -> Result<(), BlobError> {
        let _one = self.committing.lock();
        if !self.is_complete() || self.entry.meta().outside.is_none() {
            return Err(BlobError::WrongSegments);
        }
        let from = std::path::absolute(from).map_err(BlobError::at(from))?;
        let to = std::path::absolute(to).map_err(BlobError::at(to))?;
        // No reader checks the files while they move.
        let mut segments = self.segments.write();
        let moved = segments.moved(&from, &to).ok_or(BlobError::WrongSegments)?;
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(BlobError::at(folder))?;
        }
        if to.symlink_metadata().is_ok() {
            return Err(BlobError::Exists(to));
        }
        self.close_files();
        self.entry.change(|meta| {
            meta.moving = Some(Move { from: from.clone(), to: to.clone() });
        })?;
        if let Err(source) = std::fs::rename(&from, &to) {
            self.entry.change(|meta| meta.moving = None)?;
            return Err(BlobError::Io { path: to, source });
        }
        *segments = moved;
        let folders = [from.parent(), to.parent()];
        for folder in folders.into_iter().flatten() {
            files::sync_folder(folder).map_err(BlobError::at(folder))?;
        }
        end_move(&self.entry, &segments)
    }

    /// Lets `work` move the files of a complete blob, one by one, from below `from` to the same paths below
    /// `to`. `work` returns whether all of them are there. Before `work` begins, and if it fails, the blob
    /// counts as changed, so after a crash in between no reader takes the files for complete.
    ///
    /// # Errors
    /// An error of `work`; [`BlobError::Changed`] if one of the files is not at its new path.
    pub fn merge_to(
        &self,
        from: &Path,
        to: &Path,
        work: impl FnOnce() -> Result<bool, BlobError>,
    ) -> Result<(), BlobError> {
        let _one = self.committing.lock();
        if !self.is_complete() || self.entry.meta().outside.is_none() {
            return Err(BlobError::WrongSegments);
        }
        // No reader checks the files while they move.
        let mut segments = self.segments.write();
        let moved = segments.moved(from, to).ok_or(BlobError::WrongSegments)?;
        self.close_files();
        self.entry.change(|meta| meta.phase = Phase::Changed)?;
        self.progress.lock().phase = Phase::Changed;
        if !work()? {
            return Ok(());
        }
        let mut stamps = Vec::with_capacity(moved.len());
        let mut folders = BTreeSet::new();
        for (number, segment) in moved.iter().enumerate() {
            let path = moved.path(number);
            let seen = path.symlink_metadata().map_err(BlobError::at(&path))?;
            if !seen.is_file() || seen.len() != segment.bytes {
                return Err(BlobError::Changed(path));
            }
            stamps.push(Stamp::of(&seen));
            folders.extend(path.parent().map(Path::to_owned));
        }
        for folder in &folders {
            files::sync_folder(folder).map_err(BlobError::at(folder))?;
        }
        *segments = moved.stamped(stamps);
        let place = note_place(&self.entry.folder, &self.entry.id, 0, &segments)?;
        let there = |meta: &mut Meta| {
            meta.outside = Some((segments.base().to_owned(), segments.len() as u32));
            meta.phase = Phase::Complete;
        };
        self.entry.change_with(there, place)?;
        self.progress.lock().phase = Phase::Complete;
        Ok(())
    }

    fn make_empty_segments(&self) -> Result<(), BlobError> {
        let segments = self.segments();
        let mut made = Vec::new();
        for (number, segment) in segments.iter().enumerate() {
            if segment.bytes == 0 {
                let path = segments.path(number);
                open_to_write(&path, false).map_err(BlobError::at(&path))?;
                made.push(number);
            }
        }
        self.progress.lock().touched.extend(made);
        Ok(())
    }

    /// The stamps of all files, now that their bytes are right. If files are missing or too short, their
    /// granules count as lost.
    fn stamps(&self, segments: &Segments) -> Result<Vec<Stamp>, BlobError> {
        let mut stamps = Vec::with_capacity(segments.len());
        let mut lost = 0;
        for (number, segment) in segments.iter().enumerate() {
            let path = segments.path(number);
            match stamp(&path, segment) {
                Ok(stamp) => stamps.push(stamp),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let mut progress = self.progress.lock();
                    let held = progress.have.count();
                    let range = segments.range(number);
                    self.lose(&mut progress, self.division.covering(&range));
                    lost += held - progress.have.count();
                }
                Err(source) => return Err(BlobError::Io { path, source }),
            }
        }
        if stamps.len() == segments.len() {
            return Ok(stamps);
        }
        self.close_files();
        Err(BlobError::Incomplete { granules: lost })
    }
}

/// Sets the permissions and the time of a file as requested, and returns its stamp. A file that is too short
/// counts as not found. Surplus bytes are cut off, because the file belongs to the store until now.
fn stamp(path: &Path, segment: &Segment) -> io::Result<Stamp> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if metadata.len() < segment.bytes {
        return Err(io::ErrorKind::NotFound.into());
    }
    if metadata.len() > segment.bytes {
        open_to_write(path, false)?.set_len(segment.bytes)?;
    }
    if segment.executable || segment.mtime.is_some() {
        files::mark(&open_to_write(path, false)?, segment.executable, segment.mtime)?;
    }
    Ok(Stamp::of(&path.symlink_metadata()?))
}
