use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use potluck_base::Admission;
use potluck_dht::EntryPoint;
use potluck_node::{Command, Config, Reply};
use tokio::time::timeout;

use super::lies::Drip;
use super::{CACHE_BYTES_DEFAULT, FileState, FilesError, ShareOptions, To};
use crate::folder::layout::NAMES;
use crate::{ByteRates, Handle, Keep, Settings, StoreSettings, WantedNetwork, start};

const BOUND: Duration = Duration::from_secs(60);
/// Bytes asked of one source and not yet there: 64 granules.
const ASKED_MAX: u64 = 1024 * 1024;

async fn node(folder: &Path, entry: Option<&Handle>) -> Handle {
    node_with(folder, entry, CACHE_BYTES_DEFAULT).await
}

async fn node_with(folder: &Path, entry: Option<&Handle>, cache_bytes: u64) -> Handle {
    let settings = Settings {
        keep: Keep::Folder(folder.to_owned()),
        network: WantedNetwork {
            name: Some("tests".to_owned()),
            admission: Some(Admission::Lab),
            ..WantedNetwork::default()
        },
        listen: vec![([127, 0, 0, 1], 0).into()],
        advertise: None,
        entry_points: entry.iter().map(|node| EntryPoint::Contact(node.info().contact)).collect(),
        finding: crate::Finding::default(),
        labels: Vec::new(),
        config: Config {
            link: potluck_link::LinkConfig { lab: true, ..Default::default() },
            dht: potluck_dht::Config::default(),
            kv: potluck_kv::Config::default(),
            swarm: potluck_swarm::Config { outstanding_bytes_max: ASKED_MAX, ..Default::default() },
            ..Config::default()
        },
        identity: None,
        puzzle_progress: crate::PuzzleProgress::default(),
        new_identity: false,
        store: StoreSettings {
            memory_bytes: Some(4 << 20),
            disk_bytes: None,
            quotas: potluck_store::Quotas::default(),
            sync: false,
            cache_bytes,
        },
        rates: ByteRates { upload: Some(20_000_000), download: None },
    };
    let node = timeout(BOUND, start(settings)).await.unwrap().unwrap();
    let ready = async {
        loop {
            let Ok(Reply::Status(status)) = node.command(Command::Status).await else {
                panic!("no status");
            };
            if entry.is_none() || (status.joined && status.peers > 0) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, ready).await.unwrap();
    node
}

async fn corrupt_sources(node: &Handle) -> u64 {
    match node.command(Command::Stats).await {
        Ok(Reply::Stats(stats)) => stats.swarm.corrupt_sources,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_gives_one_false_granule_in_a_hundred_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dish");
    let bytes: Vec<u8> =
        (0..48_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let mut nodes = vec![node(&folder.path().join("0"), None).await];
    for number in 1..4 {
        let next = node(&folder.path().join(number.to_string()), Some(&nodes[0])).await;
        nodes.push(next);
    }
    let liar = nodes[1].files().unwrap();
    liar.inner.lies.false_every.store(100, Ordering::Relaxed);
    let mut link = None;
    for sharer in &nodes[..3] {
        let shared = sharer.files().unwrap().share(path.clone(), ShareOptions::default());
        link = Some(timeout(BOUND, shared).await.unwrap().unwrap().link);
    }
    let to = folder.path().join("to");
    let mut job = nodes[3].files().unwrap().begin_fetch(link.unwrap(), To::Typed(to));
    let got = timeout(BOUND, job.wait()).await.unwrap().unwrap();
    assert!(std::fs::read(&got.path).unwrap() == bytes, "the result is right");
    assert_eq!(corrupt_sources(&nodes[3]).await, 1);
    let sent = liar.inner.lies.sent.load(Ordering::Relaxed);
    // The hundredth is false; until it has been read and checked, others are on their way or wait.
    assert!((100..400).contains(&sent), "the liar was asked for {sent} granules");
    let from_liar = got.sources.iter().find(|from| from.id == nodes[1].info().id);
    assert!(from_liar.is_some_and(|from| from.bytes < got.bytes / 3), "{got:?}");
}

/// The time of a fetch of 20 MB from two honest nodes beside one that drips, and how many sources sent
/// something false.
async fn beside_a_drip(how: Drip) -> (Duration, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dish");
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n.wrapping_mul(97) >> 5) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let mut nodes = vec![node(&folder.path().join("0"), None).await];
    for number in 1..4 {
        let next = node(&folder.path().join(number.to_string()), Some(&nodes[0])).await;
        nodes.push(next);
    }
    nodes[1].files().unwrap().drip_after(0, how);
    let mut link = None;
    for sharer in &nodes[..3] {
        let shared = sharer.files().unwrap().share(path.clone(), ShareOptions::default());
        link = Some(timeout(BOUND, shared).await.unwrap().unwrap().link);
    }
    let begun = std::time::Instant::now();
    let to = folder.path().join("to");
    let mut job = nodes[3].files().unwrap().begin_fetch(link.unwrap(), To::Typed(to));
    let got = timeout(BOUND, job.wait()).await.unwrap().unwrap();
    assert!(std::fs::read(&got.path).unwrap() == bytes, "the result is right");
    assert!(got.sources.iter().all(|from| from.id != nodes[1].info().id), "{got:?}");
    (begun.elapsed(), corrupt_sources(&nodes[3]).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_frames_have_a_wrong_length_is_dropped_at_once() {
    let (_, corrupt) = beside_a_drip(Drip::Long).await;
    assert_eq!(corrupt, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_drips_does_not_hold_up_a_fetch() {
    let (took, corrupt) = beside_a_drip(Drip::Right).await;
    assert!(took < BOUND / 2 && corrupt == 0, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_only_known_to_liars_does_not_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dish");
    std::fs::write(&path, [7; 500_000]).unwrap();
    let liar = node(&folder.path().join("0"), None).await;
    let fetcher = node(&folder.path().join("1"), Some(&liar)).await;
    liar.files().unwrap().inner.lies.false_every.store(1, Ordering::Relaxed);
    let shared = liar.files().unwrap().share(path, ShareOptions::default());
    let link = timeout(BOUND, shared).await.unwrap().unwrap().link;
    let to = folder.path().join("to");
    let mut job = fetcher.files().unwrap().begin_fetch(link, To::Typed(to.clone()));
    let failed = timeout(BOUND, job.wait()).await.unwrap();
    assert!(matches!(failed, Err(FilesError::Fetch(_))), "{failed:?}");
    assert!(!to.join("dish").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_file_that_changed_is_noticed_without_anybody_asking_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dish");
    std::fs::write(&path, [7; 500_000]).unwrap();
    let sharer = node(&folder.path().join("0"), None).await;
    let files = sharer.files().unwrap();
    let shared = files.share(path.clone(), ShareOptions::default());
    timeout(BOUND, shared).await.unwrap().unwrap();
    files.look_after().await.unwrap();
    assert_eq!(files.list().await.unwrap()[0].state, FileState::Complete);
    std::fs::write(&path, [8; 500_001]).unwrap();
    files.look_after().await.unwrap();
    assert_eq!(files.list().await.unwrap()[0].state, FileState::Changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_fetched_for_readers_keeps_to_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let sharer = node(&folder.path().join("0"), None).await;
    let mut ids = Vec::new();
    for number in 0..4_u8 {
        let path = folder.path().join(number.to_string() + ".dish");
        std::fs::write(&path, [number; 400_000]).unwrap();
        let shared = sharer.files().unwrap().share(path, ShareOptions::default());
        ids.push(timeout(BOUND, shared).await.unwrap().unwrap().id);
    }
    let small = node_with(&folder.path().join("1"), Some(&sharer), 1_000_000).await;
    for (number, id) in ids.iter().enumerate() {
        let mut reader =
            timeout(BOUND, small.files().unwrap().open_file(*id, None)).await.unwrap().unwrap();
        let bytes = timeout(BOUND, reader.read(0..1000)).await.unwrap().unwrap();
        assert!(bytes.iter().all(|byte| usize::from(*byte) == number) && !bytes.is_empty());
    }
    let kept = async {
        loop {
            let listed = small.files().unwrap().list().await.unwrap();
            let whole = listed.iter().all(|entry| entry.state == FileState::Complete);
            let bytes: u64 = listed.iter().map(|entry| entry.have_bytes).sum();
            if whole && bytes <= 1_000_000 {
                return bytes;
            }
            small.files().unwrap().look_after().await.unwrap();
        }
    };
    assert!(timeout(BOUND, kept).await.unwrap() >= 400_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shared_is_told_under_its_name_as_long_as_it_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("shared_folder");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("soup"), [1; 100_000]).unwrap();
    std::fs::write(inside.join("salad"), [2; 50_000]).unwrap();
    std::fs::write(folder.path().join("file"), [7; 1000]).unwrap();
    let node = node(&folder.path().join("0"), None).await;
    let files = node.files().unwrap();
    let share = async |path| files.share(path, ShareOptions::default()).await.unwrap();
    let single = share(folder.path().join("file")).await;
    let tree = share(inside.clone()).await;
    let named = || files.named(&Default::default()).unwrap().0;
    let found = |name: &str, shared: &super::Shared, folder| potluck_gossip::FoundFile {
        name: name.to_owned(),
        root: shared.id,
        bytes: shared.bytes,
        folder,
        holder: None,
    };
    assert_eq!(named(), [found("file", &single, false), found("shared_folder", &tree, true)]);
    assert_eq!(tree.bytes, 150_000);
    // The data of the folder changes, not the list of its files.
    std::fs::write(inside.join("soup"), [3; 100_001]).unwrap();
    files.look_after().await.unwrap();
    assert_eq!(named(), [found("file", &single, false)]);
    files.unshare(single.id).await.unwrap();
    assert_eq!(named(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_layout_has_every_name_in_the_data_folder_of_a_running_node() {
    let folder = tempfile::tempdir().unwrap();
    let _node = node(folder.path(), None).await;
    let names = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let unknown: Vec<&String> =
        names.iter().filter(|name| !NAMES.contains(&name.as_str())).collect();
    assert!(unknown.is_empty() && names.len() > 5, "{unknown:?} of {names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_is_shared_by_nobody_but_for_what_is_there_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sharer = node(&data, None).await;
    let files = sharer.files().unwrap();
    let share = |path: std::path::PathBuf| async move {
        timeout(BOUND, files.share(path, ShareOptions::default())).await.unwrap()
    };
    std::fs::create_dir_all(data.join("records.new")).unwrap();
    std::fs::create_dir_all(data.join("files")).unwrap();
    for name in ["identity.new", "authority.new", "records.new/x", "files/mine"] {
        std::fs::write(data.join(name), name).unwrap();
    }
    for name in ["", "identity", "identity.new", "authority.new", "records.new", "records.new/x"] {
        let refused = share(data.join(name)).await;
        assert!(matches!(&refused, Err(FilesError::OwnFolder { .. })), "{name}: {refused:?}");
    }
    let around = share(folder.path().to_owned()).await;
    assert!(matches!(&around, Err(FilesError::OwnFolder { .. })), "{around:?}");
    assert_eq!(share(data.join("files")).await.unwrap().files, 1);
    // The data folder of another node, in a folder that is shared.
    let other = folder.path().join("stuff/other");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::copy(data.join("identity"), other.join("identity")).unwrap();
    std::fs::write(other.join("authority"), "secret").unwrap();
    std::fs::write(folder.path().join("stuff/plain"), "plain").unwrap();
    assert!(matches!(share(other.join("authority")).await, Err(FilesError::OwnFolder { .. })));
    let shared = share(folder.path().join("stuff")).await.unwrap();
    assert_eq!((shared.files, shared.bytes), (1, 5));
    assert_eq!(shared.skipped, [("other".to_owned(), "the data folder of a node".to_owned())]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_of_pipes_are_refused_at_once_however_many() {
    let folder = tempfile::tempdir().unwrap();
    let sharer = node(&folder.path().join("data"), None).await;
    let files = sharer.files().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // More than there are threads for what blocks.
    for _ in 0..600 {
        let shared = files.share(fifo.clone(), ShareOptions::default());
        let shared = timeout(BOUND, shared).await.expect("nobody waits for a writer");
        assert!(matches!(shared, Err(FilesError::NotShareable(_))), "{shared:?}");
    }
    assert!(files.list().await.unwrap().is_empty());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_writes_through_no_link_that_was_put_in_its_way() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let sharer = node(&root.join("0"), None).await;
    let fetcher = node(&root.join("1"), Some(&sharer)).await;
    let (source, mine) = (root.join("dish"), root.join("mine"));
    std::fs::write(&source, vec![7; 300_000]).unwrap();
    std::fs::write(&mine, "my own words").unwrap();
    let shared = sharer.files().unwrap().share(source, ShareOptions::default());
    let link = timeout(BOUND, shared).await.unwrap().unwrap().link;
    let fetch = |to: To| async {
        let mut job = fetcher.files().unwrap().begin_fetch(link.clone(), to);
        timeout(BOUND, job.wait()).await.unwrap()
    };
    // The folder that was looked at has become a link.
    std::fs::create_dir(root.join("elsewhere")).unwrap();
    symlink(root.join("elsewhere"), root.join("to")).unwrap();
    assert!(fetch(To::Real(root.join("to"))).await.is_err());
    assert!(fetch(To::Real(root.join("to/deeper"))).await.is_err());
    assert_eq!(std::fs::read_dir(root.join("elsewhere")).unwrap().count(), 0);
    // A link waits where the file is to lie until it is whole, for one that is copied from the cache.
    let got = fetcher.files().unwrap().open_file(link.id, None).await.unwrap();
    assert_eq!(got.bytes(), 300_000);
    drop(got);
    let aside = format!(".dish.{}.potluck", &link.id.to_string()[..8]);
    symlink(&mine, root.join("elsewhere").join(aside)).unwrap();
    let whole = async {
        while fetcher.files().unwrap().list().await.unwrap()[0].state != FileState::Complete {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, whole).await.unwrap();
    let got = fetch(To::Typed(root.join("to"))).await.unwrap();
    assert_eq!(got.path, root.join("elsewhere/dish"));
    assert_eq!(std::fs::read(&got.path).unwrap(), [7; 300_000]);
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "my own words");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_hash_tree_is_found_out_and_costs_no_more_than_the_reuse() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> =
        (0..4_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let tree = folder.path().join("kitchen");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("dish"), &bytes).unwrap();
    let liar = node(&folder.path().join("0"), None).await;
    let fetcher = node(&folder.path().join("1"), Some(&liar)).await;
    let shared = liar.files().unwrap().share(tree, ShareOptions::default());
    let link = timeout(BOUND, shared).await.unwrap().unwrap().link;
    let there = folder.path().join("to/kitchen");
    std::fs::create_dir_all(&there).unwrap();
    let mut old = bytes.clone();
    old[2_000_000] ^= 1;
    std::fs::write(there.join("dish"), &old).unwrap();
    // The list of files, then the granule that proves the size, then the tree: the third is false.
    liar.files().unwrap().inner.lies.false_every.store(3, Ordering::Relaxed);
    let to = || To::Typed(folder.path().join("to"));
    let force = super::FetchOptions { update: false, force: true };
    let mut job = fetcher.files().unwrap().begin_fetch_with(link.clone(), to(), force);
    // It ends by itself, or waits for an honest source.
    let lied = || liar.files().unwrap().inner.lies.sent.load(Ordering::Relaxed) >= 3;
    let found_out = async {
        while job.result().is_none() && !(lied() && job.progress().active == 0) {
            let _ = timeout(Duration::from_millis(20), job.changed()).await;
        }
    };
    timeout(BOUND, found_out).await.unwrap();
    job.cancel();
    // Whatever it sent, nothing false is kept, and an honest run goes on from there.
    liar.files().unwrap().inner.lies.false_every.store(0, Ordering::Relaxed);
    let honest = node(&folder.path().join("2"), Some(&liar)).await;
    let copy = folder.path().join("copy/kitchen");
    std::fs::create_dir_all(&copy).unwrap();
    std::fs::write(copy.join("dish"), &bytes).unwrap();
    let shared = honest.files().unwrap().share(copy, ShareOptions::default());
    timeout(BOUND, shared).await.unwrap().unwrap();
    let mut job = fetcher.files().unwrap().begin_fetch_with(link, to(), force);
    let got = timeout(BOUND, job.wait()).await.unwrap().unwrap();
    assert!(std::fs::read(there.join("dish")).unwrap() == bytes, "{got:?}");
}
