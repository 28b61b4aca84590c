//! Hashing files laid end to end: once, by several threads, with the tree built on the way.
//!
//! **Invariant:** memory does not depend on the size: each thread has a small buffer, and the nodes of a
//! span are written as soon as it is hashed.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use potluck_base::GROUP_BYTES;

use super::entry::{OUTBOARD, lock};
use super::place::Segments;
use super::tree::{self, Hash, NODE_BYTES};
use super::{BlobError, files};

/// Groups that a thread hashes at a time: a power of two. A blob of any size has at most a million of
/// such spans.
const SPAN_GROUPS: u64 = 64;
const SPAN_BYTES: u64 = SPAN_GROUPS * GROUP_BYTES;
/// Bytes read at once: few enough to stay in the cache until they are hashed.
const READ_BYTES: u64 = 4 * GROUP_BYTES;
/// More threads would only wait for the disk.
const THREADS_MAX: usize = 8;

/// Hears how many bytes were hashed, and may stop it.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) -> ControlFlow<()> + Sync);

/// Hashes files laid end to end, writes the nodes to `outboard` in `folder` and the bytes to `copy`.
pub(crate) fn hash(
    source: &Segments,
    folder: &Path,
    copy: Option<&File>,
    progress: Progress<'_>,
) -> Result<Hash, BlobError> {
    let size = source.bytes();
    let path = folder.join(OUTBOARD);
    let outboard = match tree::outboard_bytes(size) {
        0 => None,
        _ => Some(File::create(&path).map_err(BlobError::at(&path))?),
    };
    let spans = tree::groups(size).div_ceil(SPAN_GROUPS);
    let work = Work {
        source,
        copy,
        outboard: outboard.as_ref(),
        folder,
        progress,
        spans,
        next: AtomicU64::new(0),
        done_bytes: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        outcome: Mutex::new(Ok(vec![[0; 32]; spans as usize])),
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(THREADS_MAX).min(spans as usize);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work.run());
        }
        work.run();
    });
    let parts = work.outcome.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    let mut save = |index: u64, node: &tree::Node| match &outboard {
        Some(outboard) => files::write_at(outboard, node, index * NODE_BYTES as u64),
        None => Ok(()),
    };
    let root =
        tree::build(&parts, SPAN_GROUPS, 0, true, &mut save).map_err(BlobError::at(&path))?;
    if let Some(outboard) = &outboard {
        outboard.sync_all().map_err(BlobError::at(&path))?;
    }
    Ok(root)
}

/// What the threads of one import share.
struct Work<'a> {
    source: &'a Segments,
    copy: Option<&'a File>,
    outboard: Option<&'a File>,
    folder: &'a Path,
    progress: Progress<'a>,
    spans: u64,
    next: AtomicU64,
    done_bytes: AtomicU64,
    stopped: AtomicBool,
    /// The hashes of the spans, or what went wrong first.
    outcome: Mutex<Result<Vec<Hash>, BlobError>>,
}

impl Work<'_> {
    /// Hashes spans until there are no more.
    fn run(&self) {
        let mut reader = Reader { source: self.source, open: None };
        let mut buffer = vec![0; READ_BYTES.min(self.source.bytes()) as usize];
        while !self.stopped.load(Ordering::Relaxed) {
            let span = self.next.fetch_add(1, Ordering::Relaxed);
            if span >= self.spans {
                return;
            }
            match self.span(span, &mut reader, &mut buffer) {
                Ok(hash) => {
                    if let Ok(hashes) = &mut *lock(&self.outcome) {
                        hashes[span as usize] = hash;
                    }
                }
                Err(error) => {
                    self.stopped.store(true, Ordering::Relaxed);
                    let mut outcome = lock(&self.outcome);
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
        let size = self.source.bytes();
        let groups = tree::groups(size);
        let begin = span * SPAN_BYTES;
        let end = (begin + SPAN_BYTES).min(size);
        let mut hashes = Vec::with_capacity(SPAN_GROUPS as usize);
        let mut at = begin;
        loop {
            let part = &mut buffer[..READ_BYTES.min(end - at) as usize];
            reader.fill(at..at + part.len() as u64, part)?;
            if let Some(copy) = self.copy {
                files::write_at(copy, part, at).map_err(BlobError::at(self.folder))?;
            }
            for (number, group) in part.chunks(GROUP_BYTES as usize).enumerate() {
                let offset = at + number as u64 * GROUP_BYTES;
                hashes.push(tree::hash_group(offset, group, groups == 1));
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
        self.join(span, &hashes).map_err(BlobError::at(self.folder))
    }

    /// Builds and writes the tree over the groups of one span, whose nodes lie together.
    fn join(&self, span: u64, hashes: &[Hash]) -> io::Result<Hash> {
        let mut nodes = vec![0; (hashes.len() - 1) * NODE_BYTES];
        let mut save = |index: u64, node: &tree::Node| {
            let at = index as usize * NODE_BYTES;
            nodes[at..at + NODE_BYTES].copy_from_slice(node);
            Ok(())
        };
        let hash = tree::build(hashes, 1, 0, self.spans == 1, &mut save)?;
        if let Some(outboard) = self.outboard {
            let first =
                tree::index_of(tree::groups(self.source.bytes()), span * SPAN_GROUPS, SPAN_GROUPS);
            files::write_at(outboard, &nodes, first * NODE_BYTES as u64)?;
        }
        Ok(hash)
    }
}

/// Reads files laid end to end, keeping the last one open.
struct Reader<'a> {
    source: &'a Segments,
    open: Option<(usize, File)>,
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
                    let file = File::open(self.source.path(piece.segment)).map_err(failed)?;
                    &self.open.insert((piece.segment, file)).1
                }
            };
            files::read_at(file, &mut buffer[part], piece.offset).map_err(failed)?;
        }
        Ok(())
    }
}
