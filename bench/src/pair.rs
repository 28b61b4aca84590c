//! One file from a process that gives it to a process that fetches it.
//!
//! The programs of `bench/peers` for other systems speak to `cargo xtask bench peers` in the same way:
//! the giver prints `figure import SECONDS` and `ticket WORD`, and `figure cpu SECONDS` when its input
//! ends; the taker is given the ticket and prints `figure seconds ..` and `figure cpu ..`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use potluck::{Admission, Contact, Node};

use crate::process::cpu_seconds;
use crate::summary::print_figure;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Between the words of a ticket.
const SEPARATOR: char = '@';

/// A file from process to process.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    side: Side,
}

#[derive(Debug, Subcommand)]
enum Side {
    /// Shares a file until the input ends.
    Give {
        file: PathBuf,
        /// Of the node.
        data: PathBuf,
    },
    /// Fetches it.
    Take {
        ticket: String,
        to: PathBuf,
        /// Of the node.
        data: PathBuf,
    },
}

/// Until the announcement of the file has arrived where the taker asks. A taker that is too early
/// would look again after a second, which would be measured.
const ANNOUNCED: Duration = Duration::from_millis(500);

/// Runs one side.
pub async fn run(options: &Options) -> Result<()> {
    match &options.side {
        Side::Give { file, data } => give(file, data).await,
        Side::Take { ticket, to, data } => take(ticket, to, data).await,
    }
}

async fn start(data: &Path, entry: Option<Contact>) -> Result<Node> {
    let mut builder = Node::builder()
        .data_dir(data)
        .network("bench")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into());
    if let Some(entry) = entry {
        builder = builder.entry(entry);
    }
    let node = builder.start().await?;
    node.ready().await?;
    Ok(node)
}

async fn give(file: &Path, data: &Path) -> Result<()> {
    let node = start(data, None).await?;
    let began = Instant::now();
    let shared = node.files().share(file).await?;
    print_figure("import", began.elapsed().as_secs_f64());
    let spent = cpu_seconds();
    println!("ticket {}{SEPARATOR}{}", node.contact(), shared.link);
    // It ends with the input, whatever was in it.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    print_figure("cpu", cpu_seconds() - spent);
    node.stop().await?;
    Ok(())
}

async fn take(ticket: &str, to: &Path, data: &Path) -> Result<()> {
    let (contact, link) = ticket.rsplit_once(SEPARATOR).ok_or("the ticket has two words")?;
    let node = start(data, Some(contact.parse()?)).await?;
    tokio::time::sleep(ANNOUNCED).await;
    let (began, spent) = (Instant::now(), cpu_seconds());
    let folder = to.parent().ok_or("the file has no folder")?;
    let fetched = node.files().fetch(link).to(folder).await?;
    std::fs::rename(fetched.path, to)?;
    print_figure("seconds", began.elapsed().as_secs_f64());
    print_figure("cpu", cpu_seconds() - spent);
    node.stop().await?;
    Ok(())
}
