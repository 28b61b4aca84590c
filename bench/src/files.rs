//! One file from one node to another over loopback, verified and on disk, beside a bare QUIC stream
//! of the same bytes written to the same file system with the same syncs.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use potluck::{Admission, Node};

use crate::bare;
use crate::process::{cpu_seconds, resident_kb};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One file from one node to another, beside a bare QUIC stream.
#[derive(Debug, Args)]
pub struct Options {
    /// Bytes of the file, in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// How often each way.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the files lie; default: the system's folder for temporary files.
    #[arg(long)]
    folder: Option<std::path::PathBuf>,
}

/// Runs the rounds, one way after the other, and prints a line for each.
pub async fn run(options: &Options) -> Result<()> {
    let base = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(base)?;
    let path = folder.path().join("original");
    let bytes = options.mib << 20;
    make_file(&path, bytes)?;
    println!("{} MiB, {} rounds, in {}", options.mib, options.rounds, folder.path().display());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let bare = bare_copy(&path, &folder.path().join("bare")).await?;
        print("bare stream", bytes, bare);
        theirs.push(bare.took);
        let nodes = folder.path().join(format!("round{round}"));
        let fetched = fetch(&path, &nodes, bytes).await?;
        ours.push(fetched.took);
        std::fs::remove_dir_all(nodes)?;
    }
    ours.sort_unstable();
    theirs.sort_unstable();
    let (ours, theirs) = (ours[ours.len() / 2], theirs[theirs.len() / 2]);
    println!(
        "rate of fetch to rate of bare stream, medians: {:.2}",
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
    Ok(())
}

/// What a transfer cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Wall-clock time.
    took: Duration,
    /// CPU time of this process, in seconds.
    cpu_seconds: f64,
}

/// The begin of a transfer.
struct Begin {
    at: Instant,
    /// CPU time of this process until then, in seconds.
    cpu_seconds: f64,
}

impl Begin {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    /// What it cost from the begin until now.
    fn cost(&self) -> Cost {
        Cost { took: self.at.elapsed(), cpu_seconds: cpu_seconds() - self.cpu_seconds }
    }
}

fn print(what: &str, bytes: u64, cost: Cost) {
    let rate = bytes as f64 / cost.took.as_secs_f64() / 1e6;
    let gib = bytes as f64 / f64::from(1 << 30);
    println!(
        "{what:<28} {rate:>6.0} MB/s  {:>6.2} CPU s a GiB  {:.2} s",
        cost.cpu_seconds / gib,
        cost.took.as_secs_f64()
    );
}

/// A file of noise: nothing on the way can compress it.
pub fn make_file(path: &Path, bytes: u64) -> Result<()> {
    let mut noise = std::fs::File::open("/dev/urandom")?.take(bytes);
    let mut file = std::fs::File::create(path)?;
    std::io::copy(&mut noise, &mut file)?;
    file.flush()?;
    file.sync_all()?;
    Ok(())
}

async fn bare_copy(from: &Path, to: &Path) -> Result<Cost> {
    let begin = Begin::now();
    bare::copy(from.to_owned(), to.to_owned()).await.map_err(|error| error.to_string())?;
    let cost = begin.cost();
    std::fs::remove_file(to)?;
    Ok(cost)
}

/// A node on loopback, in the network of `entry` if there is one.
pub async fn start(folder: &Path, entry: Option<&Node>) -> Result<Node> {
    let mut builder = Node::builder()
        .data_dir(folder)
        .network("bench")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into());
    if let Some(entry) = entry {
        builder = builder.entry(entry.contact());
    }
    let node = builder.start().await?;
    node.ready().await?;
    Ok(node)
}

async fn fetch(path: &Path, folder: &Path, bytes: u64) -> Result<Cost> {
    let sharer = start(&folder.join("sharer"), None).await?;
    let fetcher = start(&folder.join("fetcher"), Some(&sharer)).await?;
    let begin = Begin::now();
    let shared = sharer.files().share(path).await?;
    print("share", bytes, begin.cost());
    // The announcement is on its way; a fetch that is too early would look again after a second.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begin = Begin::now();
    let got = fetcher.files().fetch(&shared).to(folder.join("to")).await?;
    let cost = begin.cost();
    print("fetch, verified, on disk", bytes, cost);
    println!(
        "  {} source(s), {} bytes twice, {} MB resident",
        got.sources.len(),
        got.duplicate_bytes,
        resident_kb() / 1000
    );
    fetcher.stop().await?;
    sharer.stop().await?;
    Ok(cost)
}
