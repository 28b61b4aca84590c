//! Giving: streams that peers open, in the order in which the core lets them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use potluck_base::BlobId;
use potluck_store::blobs::{Blob, ReadError};
use potluck_swarm::{Gone, Input, ServeId};
use potluck_wire::{FetchRequest, Refusal, Run};
use tokio::task::JoinHandle;

use super::{Files, FilesError, blocking};
use crate::transport::{FetchRefusal, FrameSender, IncomingFetch};

/// Streams that wait for the core at once; the core's own limit is lower.
const WAITING_MAX: usize = 2048;
/// Most granules in one stream.
const GRANULES_MAX: usize = 4096;

impl Files {
    /// A peer opened a stream. What the core is to be told of it.
    pub(crate) fn on_incoming(&self, incoming: IncomingFetch) -> Option<Input> {
        let Ok(request) = FetchRequest::from_bytes(&incoming.request) else {
            incoming.sender.refuse(FetchRefusal::Broken);
            return None;
        };
        let serve = ServeId(self.inner.next_serve.fetch_add(1, Ordering::Relaxed));
        let from = incoming.from;
        let mut waiting = self.inner.waiting.lock();
        if waiting.len() >= WAITING_MAX {
            drop(waiting);
            incoming.sender.refuse(FetchRefusal::Busy);
            return None;
        }
        let gone = incoming.sender.cancelled();
        waiting.insert(serve, incoming);
        drop(waiting);
        let files = self.clone();
        tokio::spawn(async move {
            gone.await;
            // A peer that left while it waited frees its place.
            if files.inner.waiting.lock().remove(&serve).is_some() {
                let _ = files.tell(Input::Served { serve }).await;
            }
        });
        Some(Input::AskedFetch { serve, from, blob: request.blob })
    }

    pub(super) fn refuse(&self, serve: ServeId, reason: Refusal) {
        if let Some(incoming) = self.inner.waiting.lock().remove(&serve) {
            incoming.sender.refuse(match reason {
                Refusal::Busy => FetchRefusal::Busy,
                Refusal::Changed => FetchRefusal::Changed,
                Refusal::Unshared => FetchRefusal::Unshared,
                Refusal::Unreadable => FetchRefusal::Unreadable,
                _ => FetchRefusal::NotHeld,
            });
        }
    }

    pub(super) fn serve(&self, serve: ServeId) {
        let Some(incoming) = self.inner.waiting.lock().remove(&serve) else { return };
        let files = self.clone();
        tokio::spawn(async move {
            files.send_granules(incoming).await;
            // Fails only when the node stops.
            let _ = files.tell(Input::Served { serve }).await;
        });
    }

    async fn send_granules(&self, incoming: IncomingFetch) {
        let IncomingFetch { request, mut sender, .. } = incoming;
        let Ok(request) = FetchRequest::from_bytes(&request) else { return };
        let blob = request.blob;
        match self.send_all(&request, &mut sender).await {
            Ok(()) => sender.finish(),
            Err(Stop::Gone) => {}
            Err(Stop::Missing) => sender.refuse(FetchRefusal::NotHeld),
            Err(Stop::Changed) => {
                // The core first, so that a node that asks again gets the current state.
                self.withdraw(blob).await;
                sender.refuse(FetchRefusal::Changed);
            }
            Err(Stop::Unreadable) => sender.refuse(FetchRefusal::Unreadable),
            Err(Stop::Broken) => sender.refuse(FetchRefusal::Broken),
        }
    }

    async fn send_all(&self, request: &FetchRequest, sender: &mut FrameSender) -> Result<(), Stop> {
        let files = self.clone();
        let id = request.blob;
        let blob = blocking(move || files.blob(&id)).await.map_err(|_| Stop::Missing)?;
        if blob.division().size() != request.size {
            return Err(Stop::Missing);
        }
        if let Some(nodes) = request.nodes {
            return self.send_nodes(blob, nodes, sender).await;
        }
        // One granule is read and verified while the one before goes out.
        let mut reading: Option<Reading> = None;
        for granule in request.granules(GRANULES_MAX) {
            let next = Reading::begin(&blob, granule);
            if let Some(reading) = reading.replace(next) {
                self.send_one(reading, sender).await?;
            }
        }
        match reading {
            Some(reading) => self.send_one(reading, sender).await,
            None => Ok(()),
        }
    }

    /// Sends nodes of the hash tree in one frame. The receiver checks them against the root.
    async fn send_nodes(
        &self,
        blob: Arc<Blob>,
        nodes: Run,
        sender: &mut FrameSender,
    ) -> Result<(), Stop> {
        let end = nodes.first.saturating_add(nodes.count).min(blob.nodes());
        let read = blocking(move || Ok(blob.read_nodes(nodes.first..end)?));
        let frame = read.await.map_err(|_| Stop::Missing)?;
        #[cfg(any(test, feature = "hostile"))]
        let Some(frame) = self.lie(frame, sender).await else { return Err(Stop::Gone) };
        sender.send(Bytes::from(frame)).await.map_err(|_| Stop::Gone)
    }

    async fn send_one(&self, reading: Reading, sender: &mut FrameSender) -> Result<(), Stop> {
        let frame = match reading.0.await {
            Ok(Ok(frame)) => frame,
            Ok(Err(ReadError::Missing)) => return Err(Stop::Missing),
            Ok(Err(ReadError::Changed)) => return Err(Stop::Changed),
            Ok(Err(ReadError::Io(error))) => {
                tracing::warn!(code = "files.unreadable", %error, "a shared file cannot be read");
                return Err(Stop::Unreadable);
            }
            Err(_) => return Err(Stop::Broken),
        };
        #[cfg(any(test, feature = "hostile"))]
        let Some(frame) = self.lie(frame, sender).await else { return Err(Stop::Gone) };
        sender.send(Bytes::from(frame)).await.map_err(|_| Stop::Gone)
    }

    /// Files changed: they are no longer served. The other files of a folder stay.
    pub(super) async fn withdraw(&self, blob: BlobId) {
        let files = self.clone();
        let looked = blocking(move || {
            let lost = files.blob(&blob)?.lost();
            let owners = match &lost {
                None => files.store()?.owners(&blob)?,
                Some(_) => Vec::new(),
            };
            Ok::<_, FilesError>((lost, owners))
        });
        let (granules, owners) = looked.await.unwrap_or_default();
        tracing::warn!(code = "files.changed", %blob, part = granules.is_some(), "a shared file changed and is withdrawn");
        let why = Gone::Changed;
        // Fails only when the node stops.
        let _ = self.tell(Input::Lost { blob, granules, why }).await;
        for blob in owners {
            let _ = self.tell(Input::Lost { blob, granules: None, why }).await;
        }
        self.names_changed();
    }
}

/// A granule on its way from the disk.
struct Reading(JoinHandle<Result<Vec<u8>, ReadError>>);

impl Reading {
    fn begin(blob: &Arc<Blob>, granule: u32) -> Self {
        let blob = Arc::clone(blob);
        Self(tokio::task::spawn_blocking(move || {
            let mut frame = Vec::new();
            blob.encode(granule, &mut frame).map(|()| frame)
        }))
    }
}

/// Why a stream ends before its time.
enum Stop {
    /// The peer does not want it any more, or is gone.
    Gone,
    /// It is not here.
    Missing,
    /// It is not what it was.
    Changed,
    /// The disk does not give it.
    Unreadable,
    /// This node is at fault.
    Broken,
}
