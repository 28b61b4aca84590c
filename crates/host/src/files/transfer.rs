//! Transfers: one stream of granules from a peer. Each granule is verified and written while the next one
//! arrives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use potluck_store::blobs::{Blob, BlobError, WriteError};
use potluck_swarm::{FetchId, Gone, Input, TransferEnd};
use potluck_wire::FetchRequest;
use tokio::task::JoinHandle;

use super::active::{Active, WantedTransfer};
use super::{Files, FilesError};
use crate::transport::{CallError, FetchError, FetchStream};

/// Interval at which the core learns that parts of a granule arrived.
const MOVED: Duration = Duration::from_millis(500);
/// Written bytes after which they are synced at once instead of in time.
const COMMIT_BYTES: u64 = 64 * 1024 * 1024;

/// A granule on its way to the disk.
struct Writing {
    granule: u32,
    task: JoinHandle<Result<bool, WriteError>>,
}

impl Writing {
    fn begin(blob: &Arc<Blob>, granule: u32, frame: Bytes) -> Self {
        let blob = Arc::clone(blob);
        let task = tokio::task::spawn_blocking(move || blob.write(granule, &frame));
        Self { granule, task }
    }
}

impl Files {
    pub(super) fn begin_transfer(&self, wanted: WantedTransfer) {
        let (files, transfer) = (self.clone(), wanted.transfer);
        // Locked until the task is in the table, so that the task cannot remove itself before.
        let mut transfers = self.inner.transfers.lock();
        let task = tokio::spawn(async move {
            let end = files.transfer(&wanted).await;
            files.inner.transfers.lock().remove(&transfer);
            // Fails only when the node stops.
            let _ = files.tell(Input::Ended { transfer, end }).await;
        });
        transfers.insert(transfer, task.abort_handle());
    }

    async fn transfer(&self, wanted: &WantedTransfer) -> TransferEnd {
        let blob = self.inner.active.lock().get(&wanted.fetch).and_then(Active::blob);
        let Some(blob) = blob else { return TransferEnd::Lost };
        let request = FetchRequest::new(wanted.blob, wanted.size, &wanted.granules).to_bytes();
        let Some(transport) = self.transport() else { return TransferEnd::Lost };
        let mut stream = match transport.fetch(&wanted.from, request).await {
            Ok(stream) => stream,
            Err(CallError::Busy) => return TransferEnd::Busy,
            Err(error) => {
                tracing::debug!(peer = %wanted.from, %error, "no stream");
                return TransferEnd::Lost;
            }
        };
        let computed = self.inner.defences.computed_frames;
        // One granule is written while the next one arrives.
        let mut writing: Option<Writing> = None;
        for granule in &wanted.granules {
            let length = computed.then(|| blob.encoded_bytes(*granule));
            let frame = self.next_frame(wanted, &mut stream, length).await;
            if let Some(writing) = writing.take()
                && let Err(end) = self.kept(wanted, &blob, writing).await
            {
                return end;
            }
            match frame {
                Ok(Some(frame)) => writing = Some(Writing::begin(&blob, *granule, frame)),
                Ok(None) | Err(FetchError::NotHeld) => return TransferEnd::NotHeld,
                Err(FetchError::Changed) => return TransferEnd::Gone(Gone::Changed),
                Err(FetchError::Unshared) => return TransferEnd::Gone(Gone::Unshared),
                Err(FetchError::Unreadable) => return TransferEnd::Gone(Gone::Unreadable),
                Err(FetchError::Busy) => return TransferEnd::Busy,
                Err(FetchError::TooLarge | FetchError::WrongLength) => {
                    tracing::warn!(code = "files.wrongLength", peer = %wanted.from, granule, "a frame has a wrong length");
                    return TransferEnd::Corrupt;
                }
                Err(error) => {
                    tracing::debug!(peer = %wanted.from, %error, "stream lost");
                    return TransferEnd::Lost;
                }
            }
        }
        match writing {
            Some(writing) => {
                let kept = self.kept(wanted, &blob, writing).await;
                kept.err().unwrap_or(TransferEnd::Done)
            }
            None => TransferEnd::Done,
        }
    }

    /// The next frame, which must have this length. Meanwhile the core learns that bytes arrive.
    async fn next_frame(
        &self,
        wanted: &WantedTransfer,
        stream: &mut FetchStream,
        length: Option<usize>,
    ) -> Result<Option<Bytes>, FetchError> {
        let received = stream.received();
        let mut before = received.get();
        let mut tick = tokio::time::interval(MOVED);
        tick.reset();
        let next = stream.next_of(length);
        tokio::pin!(next);
        loop {
            tokio::select! {
                frame = &mut next => return frame,
                _ = tick.tick() => {
                    let now = received.get();
                    if now != before {
                        before = now;
                        // Fails only when the node stops.
                        let _ = self.tell(Input::Moved { transfer: wanted.transfer }).await;
                    }
                }
            }
        }
    }

    /// Waits until a granule is verified and written, and reports it to the core.
    async fn kept(
        &self,
        wanted: &WantedTransfer,
        blob: &Arc<Blob>,
        writing: Writing,
    ) -> Result<(), TransferEnd> {
        let Writing { granule, task } = writing;
        match task.await {
            Ok(Ok(_)) => {}
            Ok(Err(WriteError::Corrupt)) => {
                tracing::warn!(code = "files.falseData", peer = %wanted.from, granule, "a granule does not verify");
                return Err(TransferEnd::Corrupt);
            }
            Ok(Err(error)) => {
                // The fetch ends, and this transfer with it.
                self.give_up(wanted.fetch, error).await;
                return Err(TransferEnd::Lost);
            }
            Err(_) => return Err(TransferEnd::Lost),
        }
        let transfer = wanted.transfer;
        if self.tell(Input::Granule { transfer, granule }).await.is_err() {
            return Err(TransferEnd::Lost);
        }
        self.note_progress(wanted.fetch);
        if blob.unsynced_bytes() >= COMMIT_BYTES {
            self.commit(wanted.fetch, Arc::clone(blob)).await;
        }
        Ok(())
    }

    /// Syncs the written granules to the disk.
    pub(super) async fn commit(&self, fetch: FetchId, blob: Arc<Blob>) {
        let committed = tokio::task::spawn_blocking(move || blob.commit()).await;
        if let Ok(Err(error)) = committed {
            self.end_with(fetch, full_or(error)).await;
        }
    }

    pub(super) async fn give_up(&self, fetch: FetchId, error: WriteError) {
        let path = self.inner.active.lock().get(&fetch).map_or_else(Default::default, Active::path);
        let error = match error {
            WriteError::NoSpace => FilesError::Full(path),
            WriteError::Io(source) => FilesError::from(BlobError::Io { path, source }),
            WriteError::Corrupt => FilesError::Fetch(potluck_swarm::FetchError::NoSource),
        };
        self.end_with(fetch, error).await;
    }
}

/// An error of the store as an error of a fetch.
pub(super) fn full_or(error: BlobError) -> FilesError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error {
        BlobError::Io { path, source } if matches!(source.kind(), StorageFull | QuotaExceeded) => {
            FilesError::Full(path)
        }
        error => error.into(),
    }
}
