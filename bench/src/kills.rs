//! A fetching node killed with SIGKILL again and again: what was verified before stays, and the result
//! is right.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use potluck::{Admission, FileLink, Node};

use crate::files::make_file;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A fetching node killed again and again.
#[derive(Debug, Args)]
pub struct Options {
    /// How often.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Bytes of the file, in MiB.
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// What the sharer sends at most, in MB a second, so that there is something to kill.
    #[arg(long, default_value_t = 20)]
    megabytes: u64,
    /// Run as the node that is killed: data folder, contact, link, and where to fetch to.
    #[arg(long, hide = true, num_args = 4, value_names = ["DATA", "CONTACT", "LINK", "TO"])]
    victim: Option<Vec<String>>,
}

/// Kills, and looks after each kill what is left.
pub async fn run(options: &Options) -> Result<()> {
    if let Some([data, contact, link, to]) = options.victim.as_deref() {
        return victim(Path::new(data), contact, &link.parse()?, Path::new(to)).await;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("dish");
    make_file(&path, options.mib << 20)?;
    let sharer = Node::builder()
        .data_dir(folder.path().join("sharer"))
        .network("bench")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into())
        .upload_rate(Some(options.megabytes * 1_000_000));
    let sharer = sharer.start().await?;
    let shared = sharer.files().share(&path).await?;
    let arguments = [
        folder.path().join("victim").display().to_string(),
        sharer.contact().to_string(),
        shared.link.to_string(),
        folder.path().join("to").display().to_string(),
    ];
    let (mut verified, mut kills, mut done) = (0, 0, false);
    while !done {
        let child = spawn(&arguments)?;
        let killing = kills < options.kills;
        let seen = tokio::task::spawn_blocking(move || watch(child, verified, killing, kills));
        let seen = seen.await?.map_err(|error| error.to_string())?;
        verified = seen.verified;
        done = seen.done;
        kills += u32::from(killing && !done);
    }
    let same = same(&path, &folder.path().join("to/dish"))?;
    println!(
        "killed {kills} times; no verified byte lost; the result is {}",
        if same { "right" } else { "WRONG" }
    );
    sharer.stop().await?;
    if same { Ok(()) } else { Err("the files differ".into()) }
}

fn spawn(arguments: &[String; 4]) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["kills", "--victim"]).args(arguments).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

struct Seen {
    verified: u64,
    done: bool,
}

/// Reads what a victim says until it is to die: after a number of words that differs each time.
fn watch(
    mut child: Child,
    before: u64,
    kill: bool,
    round: u32,
) -> std::result::Result<Seen, Box<dyn std::error::Error + Send + Sync>> {
    let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let (mut seen, mut left) = (Seen { verified: before, done: false }, 1 + round % 5);
    for line in lines {
        let line = line?;
        match line.split_once(' ') {
            Some(("begins", bytes)) => {
                let bytes: u64 = bytes.parse()?;
                if bytes < before {
                    child.kill()?;
                    return Err(format!("{before} bytes were verified, {bytes} are left").into());
                }
            }
            Some(("has", bytes)) => {
                seen.verified = seen.verified.max(bytes.parse()?);
                left -= 1;
                if left == 0 && kill {
                    child.kill()?;
                    break;
                }
                left = left.max(1);
            }
            _ => seen.done = line == "done",
        }
    }
    child.wait()?;
    Ok(seen)
}

async fn victim(data: &Path, contact: &str, link: &FileLink, to: &Path) -> Result<()> {
    let node = Node::builder()
        .data_dir(data)
        .network("bench")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into())
        .entry(contact);
    let node = node.start().await?;
    let have = async || -> Result<u64> {
        let entries = node.files().list().await?;
        Ok(entries.iter().find(|entry| entry.id == link.id).map_or(0, |entry| entry.have_bytes))
    };
    println!("begins {}", have().await?);
    node.ready().await?;
    let mut job = node.files().fetch(link).to(PathBuf::from(to)).start()?;
    loop {
        tokio::select! {
            result = job.wait() => {
                result?;
                println!("done");
                node.stop().await?;
                return Ok(());
            }
            () = tokio::time::sleep(Duration::from_millis(40)) => println!("has {}", have().await?),
        }
    }
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    Ok(std::fs::read(one)? == std::fs::read(other)?)
}
