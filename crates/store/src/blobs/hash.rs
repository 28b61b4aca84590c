//! Hashes the concatenation of files once, with several threads, and builds the hash tree at the same time.
//!
//! **Invariant:** memory does not depend on the size of the blob: each thread has a small buffer, and the
//! nodes of a span are written as soon as the span is hashed.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bao_tree::io::outboard::{EmptyOutboard, PreOrderMemOutboard, PreOrderOutboard};
use bao_tree::{BaoTree, BlockSize};
use blake3::Hash;
use parking_lot::Mutex;
use potluck_base::{BlobId, GROUP_BYTES};

use super::entry::OUTBOARD;
use super::place::Segments;
use super::tree::{self, NODE_BYTES};
use super::{BlobError, files};

/// The bytes that a thread hashes at a time. The largest blob has about a million such spans.
const SPAN: BlockSize = BlockSize::from_chunk_log(12);
const SPAN_BYTES: u64 = SPAN.bytes() as u64;
const NO_HASH: Hash = Hash::from_bytes([0; 32]);
/// Bytes per read. Raising it saves system calls; the bytes should still be in the processor cache when they
/// are hashed.
const READ_BYTES: u64 = 4 * GROUP_BYTES;
/// Most hashing threads. A guess: more threads would only wait for the disk.
const THREADS_MAX: usize = 8;

/// Called with the number of hashed bytes. It may stop the import.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) -> ControlFlow<()> + Sync);

/// Opens one of the files to be hashed, by its path.
pub(crate) type Opener<'a> = &'a (dyn Fn(&Path) -> Result<Arc<File>, BlobError> + Sync);

/// Hashes the concatenation of files and returns its id. Writes the tree nodes to `outboard` in `folder`, and
/// the bytes to `copy`.
pub(crate) fn hash(
    source: &Segments,
    open: Opener<'_>,
    folder: &Path,
    copy: Option<&File>,
    progress: Progress<'_>,
) -> Result<BlobId, BlobError> {
    let size = source.bytes();
    let path = folder.join(OUTBOARD);
    let tree = tree::of(size);
    let outboard = match tree.outboard_size() {
        0 => None,
        _ => Some(File::create(&path).map_err(BlobError::at(&path))?),
    };
    let above = BaoTree::new(size, SPAN);
    let spans = above.blocks();
    let work = Work {
        source,
        open,
        tree,
        copy,
        outboard: outboard.as_ref(),
        folder,
        progress,
        spans,
        next: AtomicU64::new(0),
        done_bytes: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        outcome: Mutex::new(Ok(vec![NO_HASH; spans as usize])),
    };
    let threads = if spans == 1 {
        // For one span, counting the cores takes longer than hashing.
        1
    } else {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        cores.min(THREADS_MAX).min(spans as usize)
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work.run());
        }
        work.run();
    });
    let parts = work.outcome.into_inner()?;
    let built = match outboard {
        None => tree::build(above, &parts, true, EmptyOutboard { tree, root: NO_HASH }),
        Some(data) => {
            let mut outboard = PreOrderOutboard { tree, root: NO_HASH, data };
            tree::build(above, &parts, true, &mut outboard)
                .and_then(|root| outboard.data.sync_all().map(|()| root))
        }
    };
    built.map(|root| BlobId::from_bytes(root.into())).map_err(BlobError::at(&path))
}

/// The state that the threads of one import share.
struct Work<'a> {
    source: &'a Segments,
    open: Opener<'a>,
    tree: BaoTree,
    copy: Option<&'a File>,
    outboard: Option<&'a File>,
    folder: &'a Path,
    progress: Progress<'a>,
    spans: u64,
    next: AtomicU64,
    done_bytes: AtomicU64,
    stopped: AtomicBool,
    /// The hashes of the spans, or the first error.
    outcome: Mutex<Result<Vec<Hash>, BlobError>>,
}

impl Work<'_> {
    /// Hashes spans until none is left.
    fn run(&self) {
        let mut reader = Reader { source: self.source, opener: self.open, open: None };
        let mut buffer = vec![0; READ_BYTES.min(self.source.bytes()) as usize];
        while !self.stopped.load(Ordering::Relaxed) {
            let span = self.next.fetch_add(1, Ordering::Relaxed);
            if span >= self.spans {
                return;
            }
            match self.span(span, &mut reader, &mut buffer) {
                Ok(hash) => {
                    if let Ok(hashes) = &mut *self.outcome.lock() {
                        hashes[span as usize] = hash;
                    }
                }
                Err(error) => {
                    self.stopped.store(true, Ordering::Relaxed);
                    let mut outcome = self.outcome.lock();
                    if outcome.is_ok() {
                        *outcome = Err(error);
                    }
                }
            }
        }
    }

    fn span(
        &self,
        span: u64,
        reader: &mut Reader<'_>,
        buffer: &mut [u8],
    ) -> Result<Hash, BlobError> {
        let size = self.tree.size();
        let begin = span * SPAN_BYTES;
        let end = (begin + SPAN_BYTES).min(size);
        let mut hashes = Vec::with_capacity((SPAN_BYTES / GROUP_BYTES) as usize);
        let mut at = begin;
        loop {
            let part = &mut buffer[..READ_BYTES.min(end - at) as usize];
            reader.fill(at..at + part.len() as u64, part)?;
            if let Some(copy) = self.copy {
                files::write_sparse(copy, part, at).map_err(BlobError::at(self.folder))?;
            }
            for (number, group) in part.chunks(GROUP_BYTES as usize).enumerate() {
                let offset = at + number as u64 * GROUP_BYTES;
                hashes.push(tree::hash_group(offset, group, self.tree.blocks() == 1));
            }
            at += part.len() as u64;
            if at >= end {
                break;
            }
        }
        if hashes.is_empty() {
            hashes.push(tree::hash_group(0, &[], true));
        }
        let done = self.done_bytes.fetch_add(end - begin, Ordering::Relaxed) + end - begin;
        if (self.progress)(done).is_break() {
            return Err(BlobError::Cancelled);
        }
        self.join(&(begin..end), &hashes).map_err(BlobError::at(self.folder))
    }

    /// Builds and writes the tree over the groups of one span. Its nodes are contiguous in the outboard.
    fn join(&self, span: &Range<u64>, hashes: &[Hash]) -> io::Result<Hash> {
        let tree = tree::of(span.end - span.start);
        let data = vec![0; tree.outboard_size() as usize];
        let mut nodes = PreOrderMemOutboard { tree, root: NO_HASH, data };
        let hash = tree::build(tree, hashes, self.spans == 1, &mut nodes)?;
        if let Some(outboard) = self.outboard
            && let Some(first) = tree::first_node(self.tree, span)
        {
            files::write_at(outboard, &nodes.data, first * NODE_BYTES as u64)?;
        }
        Ok(hash)
    }
}

/// Reads the concatenation of files, and keeps the last file open.
struct Reader<'a> {
    source: &'a Segments,
    opener: Opener<'a>,
    open: Option<(usize, Arc<File>)>,
}

impl Reader<'_> {
    fn fill(&mut self, range: Range<u64>, buffer: &mut [u8]) -> Result<(), BlobError> {
        let begin = range.start;
        for piece in self.source.pieces(range) {
            let part = (piece.range.start - begin) as usize..(piece.range.end - begin) as usize;
            let failed = |error: io::Error| {
                let path = self.source.path(piece.segment);
                match error.kind() {
                    io::ErrorKind::UnexpectedEof => BlobError::Changed(path),
                    _ => BlobError::Io { path, source: error },
                }
            };
            let file = match &self.open {
                Some((number, file)) if *number == piece.segment => file,
                _ => {
                    let file = (self.opener)(&self.source.path(piece.segment))?;
                    &self.open.insert((piece.segment, file)).1
                }
            };
            files::read_at(file, &mut buffer[part], piece.offset).map_err(failed)?;
        }
        Ok(())
    }
}
