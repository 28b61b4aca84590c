//! A folder of very many small files from node to node, beside `cp -r` of it and a bare QUIC stream of
//! the same bytes.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;

use crate::bare;
use crate::files::start;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A folder of very many small files.
#[derive(Debug, Args)]
pub struct Options {
    /// Files.
    #[arg(long, default_value_t = 100_000)]
    files: usize,
    /// Bytes of each.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// How often each way.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Runs the rounds, one way after the other, and prints a line for each.
pub async fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (tree, whole) = (folder.path().join("tree"), folder.path().join("whole"));
    let mut noise = std::fs::File::open("/dev/urandom")?;
    let mut all = Vec::with_capacity(options.files * options.bytes);
    for number in 0..options.files {
        let path = tree.join(format!("{}/{}", number / 1000, number % 1000));
        if number % 1000 == 0 {
            std::fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        }
        let mut bytes = vec![0; options.bytes];
        noise.read_exact(&mut bytes)?;
        std::fs::write(path, &bytes)?;
        all.extend(bytes);
    }
    std::fs::write(&whole, &all)?;
    println!("{} files of {} bytes, {} rounds", options.files, options.bytes, options.rounds);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        // Nothing is removed before the end: file systems avoid inodes that were freed a moment ago,
        // and the next process that creates files would pay for it.
        let copied = copy(&tree, &folder.path().join(format!("copied{round}")))?;
        settle()?;
        let began = Instant::now();
        let to = folder.path().join("bare");
        bare::copy(whole.clone(), to.clone()).await.map_err(|error| error.to_string())?;
        let streamed = began.elapsed();
        std::fs::remove_file(to)?;
        let (shared, fetched) = fetch(&tree, &folder.path().join(format!("round{round}"))).await?;
        println!(
            "cp -r {:.2} s, bare stream {:.2} s; share {:.2} s, fetch {:.2} s",
            copied.as_secs_f64(),
            streamed.as_secs_f64(),
            shared.as_secs_f64(),
            fetched.as_secs_f64()
        );
        theirs.push(copied + streamed);
        ours.push(shared + fetched);
    }
    ours.sort_unstable();
    theirs.sort_unstable();
    let (ours, theirs) =
        (ours[ours.len() / 2].as_secs_f64(), theirs[theirs.len() / 2].as_secs_f64());
    println!("share and fetch to cp -r and bare stream, medians: {:.2}", ours / theirs);
    Ok(())
}

/// Lets the disk finish what was written before, so that no measurement pays for earlier writes.
fn settle() -> Result<()> {
    if Command::new("sync").status()?.success() { Ok(()) } else { Err("sync failed".into()) }
}

fn copy(from: &Path, to: &Path) -> Result<Duration> {
    settle()?;
    let began = Instant::now();
    let done = Command::new("cp").arg("-r").args([from, to]).status()?;
    let took = began.elapsed();
    if done.success() { Ok(took) } else { Err("cp failed".into()) }
}

async fn fetch(tree: &Path, folder: &Path) -> Result<(Duration, Duration)> {
    let sharer = start(&folder.join("sharer"), None).await?;
    let fetcher = start(&folder.join("fetcher"), Some(&sharer)).await?;
    settle()?;
    let began = Instant::now();
    let shared = sharer.files().share(tree).await?;
    let hashed = began.elapsed();
    // The announcement is on its way; a fetch that is too early would look again after a second.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    let got = fetcher.files().fetch(&shared).to(folder.join("to")).await?;
    let fetched = began.elapsed();
    let same = Command::new("diff").args(["-rq"]).args([tree, &got.path]).status()?;
    fetcher.stop().await?;
    sharer.stop().await?;
    if same.success() { Ok((hashed, fetched)) } else { Err("the folders differ".into()) }
}
