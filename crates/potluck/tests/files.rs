//! Sharing and fetching between real nodes on loopback.

mod common;

use std::path::{Path, PathBuf};

use common::{bounded, node_in, until};
use potluck::{BlobId, Error, FileLink, FileState, FilesError, FilesErrorKind, LinkKind, Node};
use tempfile::TempDir;

/// Nodes with folders, and a folder to play in.
struct Party {
    nodes: Vec<Node>,
    folder: TempDir,
}

impl Party {
    async fn of(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("works here");
        let mut party = Self { nodes: Vec::new(), folder };
        for _ in 0..count {
            party.join(None).await;
        }
        until(async || {
            let peers = party.nodes[0].status().await.expect("works here").view.peers;
            (peers == count - 1).then_some(())
        })
        .await;
        party
    }

    async fn join(&mut self, upload_rate: Option<u64>) {
        let data = self.path(&format!("data{}", self.nodes.len()));
        let mut builder = node_in(&data).upload_rate(upload_rate);
        if let Some(first) = self.nodes.first() {
            builder = builder.entry(first.contact());
        }
        let node = bounded(builder.start()).await.expect("works here");
        bounded(node.ready()).await.expect("works here");
        self.nodes.push(node);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("works here")).expect("works here");
        std::fs::write(&path, bytes).expect("works here");
        path
    }
}

/// Bytes without a pattern.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&[seed]).finalize_xof();
    let mut bytes = vec![0; length];
    reader.fill(&mut bytes);
    bytes
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("works here")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_whole_and_is_given_on() {
    let party = Party::of(3).await;
    for length in [0, 1, 65_536, 65_537, 5_000_003] {
        let bytes = noise(1, length);
        let path = party.write(&format!("original/{length}.bin"), &bytes);
        let shared = bounded(party.nodes[0].files().share(path).into_future()).await.unwrap();
        assert_eq!((shared.bytes, shared.id), (length as u64, BlobId::of(&bytes)));
        let to = party.path("fetched");
        let got = bounded(party.nodes[1].files().fetch(&shared).to(&to).into_future()).await;
        let got = got.unwrap();
        assert_eq!(got.path, to.join(format!("{length}.bin")));
        assert_eq!(
            (read(&got.path), got.bytes, got.verified),
            (bytes.clone(), length as u64, true)
        );
        let from: Vec<_> = got.sources.iter().map(|from| from.id).collect();
        let expected = if length == 0 { vec![] } else { vec![party.nodes[0].node_id()] };
        assert_eq!(from, expected);
        // Again: it is there already.
        let again = bounded(party.nodes[1].files().fetch(&shared).to(&to).into_future()).await;
        assert!(again.unwrap().sources.is_empty());
        // Somewhere else on the same node: copied.
        let other = party.path("elsewhere");
        let copied = bounded(party.nodes[1].files().fetch(&shared).to(&other).into_future()).await;
        assert_eq!(read(&copied.unwrap().path), bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fetched_gives_it_on_when_the_sharer_has_gone() {
    let mut party = Party::of(4).await;
    let bytes = noise(2, 3_000_000);
    let path = party.write("original/dish", &bytes);
    let shared = bounded(party.nodes[3].files().share(path).into_future()).await.unwrap();
    let first = party.nodes[1].files().fetch(&shared).to(party.path("one"));
    bounded(first.into_future()).await.unwrap();
    bounded(party.nodes.remove(3).stop()).await.unwrap();
    let second = party.nodes[2].files().fetch(&shared).to(party.path("two"));
    let got = bounded(second.into_future()).await.unwrap();
    assert_eq!(read(&got.path), bytes);
    assert_eq!(got.sources.len(), 1);
    assert_eq!(got.sources[0].id, party.nodes[1].node_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_comes_with_all_its_files() {
    let party = Party::of(2).await;
    let mut expected = Vec::new();
    for number in 0..300_usize {
        let name = format!("deep/{}/file{number}", number % 7);
        let bytes = noise(number as u8, (number * 37) % 5000);
        party.write(&format!("tree/{name}"), &bytes);
        expected.push((name, bytes));
    }
    party.write("tree/large", &noise(9, 2_000_000));
    party.write("tree/empty", b"");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let tool = party.write("tree/tool.sh", b"#!/bin/sh\n");
        std::fs::set_permissions(tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", party.path("tree/link")).unwrap();
    }
    let tree = party.path("tree");
    let shared = bounded(party.nodes[0].files().share(&tree).into_future()).await.unwrap();
    assert_eq!(shared.link.kind, LinkKind::Folder);
    #[cfg(unix)]
    assert_eq!(shared.skipped.len(), 1, "{:?}", shared.skipped);
    let to = party.path("fetched");
    let got = bounded(party.nodes[1].files().fetch(&shared).to(&to).into_future()).await.unwrap();
    assert_eq!(got.path, to.join("tree"));
    for (name, bytes) in &expected {
        assert_eq!(&read(&got.path.join(name)), bytes, "{name}");
    }
    assert_eq!(read(&got.path.join("large")).len(), 2_000_000);
    assert_eq!(read(&got.path.join("empty")).len(), 0);
    assert!(got.path.join("link").symlink_metadata().is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            |name: &str| std::fs::metadata(got.path.join(name)).unwrap().permissions().mode();
        assert_eq!((mode("tool.sh") & 0o111, mode("large") & 0o111), (0o111, 0));
    }
    let left: Vec<_> = std::fs::read_dir(&to).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing hidden is left: {left:?}");
    let listed = party.nodes[1].files().list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].state, listed[0].files), (FileState::Complete, Some(shared.files)));
    let mut reader = bounded(party.nodes[0].files().open(shared.id, Some("large"))).await.unwrap();
    assert_eq!(bounded(reader.read(100..200)).await.unwrap(), noise(9, 200)[100..]);
    let missing = bounded(party.nodes[0].files().open(shared.id, Some("nothing"))).await;
    assert!(matches!(missing, Err(FilesError::NoSuchPath(_))), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_its_bytes_while_they_come() {
    let mut party = Party::of(1).await;
    party.join(Some(4_000_000)).await;
    let bytes = noise(3, 12_000_000);
    let path = party.write("film", &bytes);
    let shared = bounded(party.nodes[1].files().share(path).into_future()).await.unwrap();
    let mut reader = bounded(party.nodes[0].files().open(shared.id, None)).await.unwrap();
    assert_eq!(reader.bytes(), 12_000_000);
    for begin in [11_000_000_u64, 100, 6_000_000] {
        let got = bounded(reader.read(begin..begin + 1000)).await.unwrap();
        assert_eq!(got, bytes[begin as usize..][..got.len()]);
        assert!(!got.is_empty());
    }
    let entry = party.nodes[0].files().list().await.unwrap();
    assert_eq!(entry[0].state, FileState::Partial, "the rest is still on its way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_is_withdrawn_and_shown() {
    let party = Party::of(2).await;
    let path = party.write("draft", &noise(4, 300_000));
    let shared = bounded(party.nodes[0].files().share(&path).into_future()).await.unwrap();
    std::fs::write(&path, noise(5, 300_000)).unwrap();
    let to = party.path("fetched");
    let mut job = party.nodes[1].files().fetch(&shared).to(&to).start().unwrap();
    until(async || {
        let listed = party.nodes[0].files().list().await.unwrap();
        (listed[0].state == FileState::Changed).then_some(())
    })
    .await;
    job.cancel();
    assert!(bounded(job.wait()).await.is_err());
    assert!(!to.join("draft").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_has_is_absent_and_what_is_in_the_way_stays() {
    let party = Party::of(2).await;
    let link = FileLink::new(LinkKind::File, BlobId::of(b"nothing"), "nothing");
    let to = party.path("fetched");
    let failed = bounded(party.nodes[1].files().fetch(&link).to(&to).into_future()).await;
    let absent = matches!(&failed, Err(Error::Files(it)) if it.kind() == FilesErrorKind::Absent);
    assert!(absent, "{failed:?}");
    let path = party.write("dish", b"new");
    let shared = bounded(party.nodes[0].files().share(path).into_future()).await.unwrap();
    let old = party.write("fetched/dish", b"old");
    let refused = bounded(party.nodes[1].files().fetch(&shared).to(&to).into_future()).await;
    assert!(matches!(refused, Err(Error::Files(FilesError::Exists(_)))), "{refused:?}");
    assert_eq!(read(&old), b"old");
    bounded(party.nodes[0].files().unshare(shared.id)).await.unwrap();
    assert!(party.nodes[0].files().list().await.unwrap().is_empty());
    let gone = bounded(party.nodes[0].files().unshare(shared.id)).await;
    assert!(matches!(gone, Err(FilesError::Unknown)), "{gone:?}");
}
