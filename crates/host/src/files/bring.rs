//! From a link to files at their destination: local files are checked, missing bytes are fetched, and the
//! complete files are moved to their destination.
//!
//! Incomplete files have a hidden name beside the destination. If the destination does not exist, one
//! rename creates it; otherwise the files are moved one by one. Afterwards they are served from there.

use std::sync::Arc;
use std::time::Instant;

use potluck_base::BlobId;
use potluck_swarm::{FetchError, FileLink, Input, LinkKind};
use tokio::sync::watch;

use super::active::{Done, Target, WantedBlob};
use super::destination::{Destination, FetchOptions, Folder, To, below_of, paths_at};
use super::job::{FetchJob, FetchProgress, Fetched, FetchedFrom, JobState};
use super::join::Bringing;
use super::settle::Settled;
use super::{Files, FilesError, blocking, stored_name};

impl Files {
    /// Begins to fetch the content of a link into the folder `to`, which is created if it does not exist.
    /// Must be called in the tokio runtime.
    #[must_use]
    pub fn begin_fetch(&self, link: FileLink, to: To) -> FetchJob {
        self.begin_fetch_with(link, to, FetchOptions::default())
    }

    /// As [`begin_fetch`](Self::begin_fetch), with options for files that exist already.
    #[must_use]
    pub fn begin_fetch_with(&self, link: FileLink, to: To, options: FetchOptions) -> FetchJob {
        let (sender, state) = watch::channel(JobState::default());
        let files = self.clone();
        let task = tokio::spawn(async move {
            let hear =
                |progress| sender.send_modify(|state: &mut JobState| state.progress = progress);
            let result = files.fetch_link(&link, &to, options, &hear).await;
            files.names_changed();
            sender.send_modify(|state| {
                state.progress.finished = true;
                state.result = Some(result);
            });
        });
        FetchJob { state, task: task.abort_handle() }
    }

    async fn fetch_link(
        &self,
        link: &FileLink,
        to: &To,
        options: FetchOptions,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Fetched, FilesError> {
        let began = Instant::now();
        let mut destination = Destination::new(link, to, options)?;
        let _bringing = Bringing::new(self, &destination.aside);
        let brought = match link.kind {
            LinkKind::File => self.fetch_file(link, &mut destination, hear).await?,
            LinkKind::Folder => self.fetch_folder(link, &mut destination, hear).await?,
        };
        let Brought { done, list, settled, mut failed } = brought;
        failed.extend(destination.renamed());
        let bytes = done.iter().map(|done| done.bytes).sum();
        let all = || done.iter().chain(&list);
        let mut sources: Vec<FetchedFrom> = Vec::new();
        for (contact, bytes) in all().flat_map(|done| &done.report.sources) {
            let id = contact.in_network(&self.inner.network).id;
            match sources.iter_mut().find(|from| from.id == id) {
                Some(from) => from.bytes += bytes,
                None => sources.push(FetchedFrom { id, bytes: *bytes }),
            }
        }
        sources.sort_by_key(|from| std::cmp::Reverse(from.bytes));
        hear(FetchProgress {
            bytes_total: Some(bytes),
            bytes,
            sources: sources.len(),
            active: 0,
            finished: false,
        });
        Ok(Fetched {
            path: destination.there,
            bytes,
            took: began.elapsed(),
            sources,
            duplicate_bytes: all().map(|done| done.report.duplicate_bytes).sum(),
            resumed_bytes: all().map(|done| done.resumed).sum(),
            reused_bytes: all().map(|done| done.reused).sum(),
            left: settled.left,
            kept: settled.kept,
            verified: true,
            failed,
        })
    }

    async fn fetch_file(
        &self,
        link: &FileLink,
        destination: &mut Destination,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Brought, FilesError> {
        let id = link.id;
        self.name_by_own(link, destination);
        if let Some(here) = self.already_at(id, destination, None).await? {
            return Ok(Brought { done: Some(here), ..Brought::default() });
        }
        self.check_file(id, destination).await?;
        let name = stored_name::stored_name(LinkKind::File, link.name().unwrap_or_default());
        let target = Target::File(destination.aside.clone());
        let old = Some(self.old_places(id, destination, below_of(None)).await?);
        let (sources, size) = (Vec::new(), None);
        let wanted = WantedBlob { id, root: id, name, target, sources, size, old };
        let mut done = self.fetch_blob(wanted, hear).await?;
        // Now the name that the sources use is known.
        let before = destination.there.clone();
        destination.name_by(link, done.called().or(self.own_name(&id)).as_deref());
        if destination.there != before {
            self.check_file(id, destination).await?;
        }
        let settled = self.settle_all(&mut done, destination, None).await?;
        if !settled.left.is_empty() {
            return Err(FilesError::Exists(destination.there.clone()));
        }
        Ok(Brought { done: Some(done), settled, ..Brought::default() })
    }

    /// The name of a blob that this node has.
    fn own_name(&self, id: &BlobId) -> Option<String> {
        stored_name::hint_of(&self.view(id)?).name
    }

    fn name_by_own(&self, link: &FileLink, destination: &mut Destination) {
        if let Some(name) = self.own_name(&link.id) {
            destination.name_by(link, Some(&name));
        }
    }

    /// The blob, if it is complete and unchanged at its destination.
    async fn already_at(
        &self,
        id: BlobId,
        destination: &Destination,
        folder: Option<&Arc<Folder>>,
    ) -> Result<Option<Done>, FilesError> {
        let (files, paths) =
            (self.clone(), paths_at(&destination.there, &below_of(folder.map(|f| &**f))));
        if !blocking(move || Ok(files.store()?.lies_at(&id, &paths)?)).await? {
            return Ok(None);
        }
        Ok(self.intact(id).await?.map(Done::here))
    }

    /// Puts a complete blob at its destination, and offers it if all of its files are there.
    async fn settle_all(
        &self,
        done: &mut Done,
        destination: &Destination,
        folder: Option<&Arc<Folder>>,
    ) -> Result<Settled, FilesError> {
        let (files, there, destination, folder) =
            (self.clone(), destination.there.clone(), destination.clone(), folder.map(Arc::clone));
        // The store does not delete a blob that is held, so this handle is moved.
        let blob = done.blob.take().ok_or(FilesError::Unknown)?;
        let (id, list) = (blob.id(), folder.as_ref().map(|folder| folder.id));
        let settled =
            blocking(move || files.settle(&blob, &destination, folder.as_deref())).await?;
        if settled.among {
            self.end_old_versions(id, &there, settled.fetched).await?;
        }
        if settled.given_up {
            self.give_away(id, list).await?;
        }
        Ok(settled)
    }

    async fn fetch_folder(
        &self,
        link: &FileLink,
        destination: &mut Destination,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Brought, FilesError> {
        let id = link.id;
        let (list, folder) = self.fetch_list_of(link, destination).await?;
        let (data, failed) = (folder.manifest.data(), folder.plan.failed.clone());
        let mut brought = Brought { list: Some(list), failed, ..Brought::default() };
        if let Some(here) = self.already_at(data, destination, Some(&folder)).await? {
            brought.done = Some(here);
            return Ok(brought);
        }
        destination.check_folder()?;
        if folder.manifest.bytes() == 0 {
            destination.check_free()?;
            let (files, destination) = (self.clone(), destination.clone());
            blocking(move || files.make_empty(&destination, &folder)).await?;
            return Ok(brought);
        }
        let list = brought.list.iter().flat_map(|list| &list.report.sources);
        let sources = list.map(|(contact, _)| *contact).collect();
        let target = Target::Files(folder.plan.targets(&destination.aside, &folder.manifest));
        let (name, size) = (stored_name::DATA_NAME.to_owned(), Some(folder.manifest.bytes()));
        let old = Some(self.old_places(data, destination, below_of(Some(&folder))).await?);
        let wanted = WantedBlob { id: data, root: id, name, target, sources, size, old };
        match self.fetch_blob(wanted, hear).await {
            Err(FilesError::Fetch(error)) if is_lost(error) => {
                let (files, destination) = (self.clone(), destination.clone());
                let saved =
                    blocking(move || files.save_whole_files(&destination, &folder, error)).await?;
                // The store has the incomplete blob no longer.
                self.tell(Input::Released { blob: data }).await?;
                brought.failed.extend(saved.failed);
                (brought.done, brought.settled) = (Some(saved.done), saved.settled);
            }
            done => {
                let mut done = done?;
                brought.settled = self.settle_all(&mut done, destination, Some(&folder)).await?;
                brought.done = Some(done);
            }
        }
        Ok(brought)
    }

    /// The manifest of a folder, and the local paths of its files.
    async fn fetch_list_of(
        &self,
        link: &FileLink,
        destination: &mut Destination,
    ) -> Result<(Done, Arc<Folder>), FilesError> {
        let id = link.id;
        let name = stored_name::stored_name(LinkKind::Folder, link.name().unwrap_or_default());
        // The progress that is reported is that of the data.
        let mut list = self.fetch_blob(WantedBlob::inside(id, id, name), &|_| {}).await?;
        destination.name_by(link, list.called().or(self.own_name(&id)).as_deref());
        let (files, planned) = (self.clone(), destination.clone());
        let folder = blocking(move || {
            let manifest = files.manifest(&id)?;
            let plan = planned.plan(&manifest)?;
            Ok(Arc::new(Folder { id, manifest, plan }))
        });
        let folder = folder.await?;
        list.blob = None;
        Ok((list, folder))
    }
}

/// The result of a fetch.
#[derive(Debug, Default)]
struct Brought {
    /// The file, or the data of a folder, if it has any.
    done: Option<Done>,
    /// The manifest of a folder.
    list: Option<Done>,
    settled: Settled,
    /// Files that are missing or differ from the shared ones, each with the reason.
    failed: Vec<(String, String)>,
}

/// Whether the sources report that a part of the blob cannot be had any more.
const fn is_lost(error: FetchError) -> bool {
    matches!(error, FetchError::Changed | FetchError::Unreadable)
}
