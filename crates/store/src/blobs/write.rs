//! Writing granules: each is verified as a whole, written, and then recorded in the journal.
//!
//! **Invariants:** a corrupt granule changes nothing; each byte is written once, even if several threads
//! write the same granule.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use potluck_base::GROUP_BYTES;

use super::blob::{Blob, Handle, Progress};
use super::meta::Phase;
use super::opened::open_to_write;
use super::place::{Piece, Segments};
use super::tree::{self, Decoded, NODE_BYTES};
use super::{WriteError, files};

/// The exclusive right of one thread to write a granule.
struct Claim<'a> {
    blob: &'a Blob,
    granule: u32,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.blob.progress.lock().claimed.remove(&self.granule);
        self.blob.resolved.notify_all();
    }
}

impl Blob {
    /// Verifies the encoding of a granule and writes it. Returns whether it was new; a stored granule is not
    /// verified again. If another thread is writing the same granule, waits for it.
    ///
    /// After this the granule survives the end of the process, and a loss of power after the next
    /// [`Blob::commit`].
    ///
    /// # Errors
    /// [`WriteError::Corrupt`]: nothing was written. Or the disk refused.
    pub fn write(&self, granule: u32, encoded: &[u8]) -> Result<bool, WriteError> {
        if granule >= self.division.count() || self.is_changed() {
            return Err(WriteError::Corrupt);
        }
        if self.has(granule) {
            return Ok(false);
        }
        let bytes = self.division.bytes(granule);
        let root = (*self.entry.id.as_bytes()).into();
        let tree = tree::of(self.division.size());
        let decoded = tree::decode(root, tree, &tree::groups_of(&bytes), encoded)
            .ok_or(WriteError::Corrupt)?;
        self.keep(granule, &bytes, &decoded)
    }

    /// Writes a granule that was verified, and records it. Returns whether it was new.
    pub(crate) fn keep(
        &self,
        granule: u32,
        bytes: &Range<u64>,
        decoded: &Decoded<'_>,
    ) -> Result<bool, WriteError> {
        let Some(claim) = self.claim(granule) else { return Ok(false) };
        let segments = self.segments();
        for piece in segments.pieces(bytes.clone()) {
            self.write_piece(&segments, &piece, decoded)?;
        }
        let above = self.write_nodes(decoded)?;
        let mut progress = self.progress.lock();
        let journal = progress.journal.as_mut().ok_or(WriteError::Corrupt)?;
        journal.have(granule)?;
        progress.have.insert(granule);
        progress.saved_nodes.extend(above);
        progress.unsynced_bytes += bytes.end - bytes.start;
        progress.touched.extend(segments.pieces(bytes.clone()).map(|piece| piece.segment));
        self.note_have_bytes(&progress);
        drop(progress);
        drop(claim);
        Ok(true)
    }

    /// Claims a granule for this thread. `None` if it is stored, or if the blob is not partial.
    fn claim(&self, granule: u32) -> Option<Claim<'_>> {
        let mut progress = self.progress.lock();
        loop {
            if progress.phase != Phase::Partial || progress.have.contains(granule) {
                return None;
            }
            if progress.claimed.insert(granule) {
                return Some(Claim { blob: self, granule });
            }
            self.resolved.wait(&mut progress);
        }
    }

    fn write_piece(
        &self,
        segments: &Segments,
        piece: &Piece,
        decoded: &Decoded<'_>,
    ) -> io::Result<()> {
        let file = self.writer(segments, piece)?;
        let mut offset = piece.offset;
        for part in slices(decoded, &piece.range) {
            files::write_sparse(&file, part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// The file to write a piece to. A file that is written as a whole is opened for one write; other files
    /// stay open.
    pub(crate) fn writer(&self, segments: &Segments, piece: &Piece) -> io::Result<Arc<File>> {
        let path = segments.path(piece.segment);
        let bytes = segments.get(piece.segment).bytes;
        if piece.whole {
            return open_at_length(&path, bytes).map(Arc::new);
        }
        let mut handles = self.handles.lock();
        if let Some(handle) = handles.get_mut(&piece.segment) {
            return Ok(handle.file.clone());
        }
        let file = Arc::new(open_at_length(&path, bytes)?);
        handles.insert(piece.segment, Handle { file: file.clone(), checked: Instant::now() });
        Ok(file)
    }

    /// Writes the nodes that are not stored yet. Returns those above the granule, which other granules need
    /// too.
    fn write_nodes(&self, decoded: &Decoded<'_>) -> io::Result<Vec<u64>> {
        let Some(outboard) = &self.outboard else { return Ok(Vec::new()) };
        let below = decoded.groups.len().saturating_sub(1);
        let (above, own) = decoded.nodes.split_at(decoded.nodes.len().saturating_sub(below));
        let saved = |index: &u64| self.progress.lock().saved_nodes.contains(index);
        let above: Vec<_> = above.iter().filter(|(index, _)| !saved(index)).copied().collect();
        let mut run = Vec::new();
        let mut first = 0;
        for (index, node) in above.iter().chain(own).copied() {
            if first + (run.len() / NODE_BYTES) as u64 != index {
                files::write_at(outboard, &run, first * NODE_BYTES as u64)?;
                run.clear();
                first = index;
            }
            run.extend_from_slice(node);
        }
        files::write_at(outboard, &run, first * NODE_BYTES as u64)?;
        Ok(above.iter().map(|(index, _)| *index).collect())
    }

    /// Records that granules are not stored after all, so that they are fetched again.
    pub(crate) fn lose(&self, progress: &mut Progress, granules: Range<u32>) {
        let lost: Vec<u32> = granules.filter(|granule| progress.have.remove(*granule)).collect();
        // If this fails, the next read of the granules finds again that they are wrong.
        if let Some(journal) = &mut progress.journal {
            let _ = journal.lost(lost);
        }
        // The fault may be in the nodes, so they are written again.
        progress.saved_nodes.clear();
        self.note_have_bytes(progress);
    }
}

/// Opens a file for writing and sets its final length, so that zeros need not be written.
fn open_at_length(path: &Path, bytes: u64) -> io::Result<File> {
    let file = open_to_write(path, false)?;
    if file.metadata()?.len() < bytes {
        file.set_len(bytes)?;
    }
    Ok(file)
}

/// The slices of a verified encoding that hold a range of the blob.
fn slices<'a>(decoded: &Decoded<'a>, range: &Range<u64>) -> impl Iterator<Item = &'a [u8]> {
    let begin = decoded.groups.first().map_or(0, |(begin, _)| *begin);
    let first = (range.start.saturating_sub(begin) / GROUP_BYTES) as usize;
    let after = (range.end.saturating_sub(begin).div_ceil(GROUP_BYTES) as usize).max(first);
    decoded.groups[first..after].iter().map(|(begin, data)| {
        let from = range.start.saturating_sub(*begin) as usize;
        let to = ((range.end - begin) as usize).min(data.len());
        &data[from..to]
    })
}
