//! A file from process to process by iroh-blobs: both sides keep blobs in files, the giver refers to
//! the file where it lies, and the taker moves what it got to where it was asked for.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use iroh::endpoint::{Endpoint, presets};
use iroh::protocol::Router;
use iroh::{EndpointAddr, RelayMode};
use iroh_blobs::api::blobs::{AddPathOptions, ExportMode, ExportOptions, ImportMode};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::ticket::BlobTicket;
use iroh_blobs::{BlobFormat, BlobsProtocol};

use crate::Result;
use crate::process::cpu_seconds;
use crate::summary::print_figure;

/// A file from process to process; see `potluck-bench pair` for what each side prints.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    side: Side,
}

#[derive(Debug, Subcommand)]
enum Side {
    /// Gives a file until the input ends.
    Give {
        file: PathBuf,
        /// Of the store.
        data: PathBuf,
    },
    /// Fetches it.
    Take {
        ticket: BlobTicket,
        to: PathBuf,
        /// Of the store.
        data: PathBuf,
    },
}

/// Runs one side.
pub async fn run(options: &Options) -> Result<()> {
    match &options.side {
        Side::Give { file, data } => give(file, data).await,
        Side::Take { ticket, to, data } => take(ticket, to, data).await,
    }
}

/// On loopback alone, without relays and without a look at any service.
async fn endpoint() -> Result<Endpoint> {
    let endpoint = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?
        .bind()
        .await?;
    Ok(endpoint)
}

async fn give(file: &Path, data: &Path) -> Result<()> {
    let endpoint = endpoint().await?;
    let store = FsStore::load(data).await?;
    let began = Instant::now();
    let options = AddPathOptions {
        path: std::path::absolute(file)?,
        format: BlobFormat::Raw,
        mode: ImportMode::TryReference,
    };
    let tag = store.blobs().add_path_with_opts(options).await?;
    print_figure("import", began.elapsed().as_secs_f64());
    let address = endpoint
        .bound_sockets()
        .into_iter()
        .fold(EndpointAddr::new(endpoint.id()), EndpointAddr::with_ip_addr);
    let blobs = BlobsProtocol::new(&store, None);
    let router = Router::builder(endpoint).accept(iroh_blobs::ALPN, blobs).spawn();
    let spent = cpu_seconds();
    println!("ticket {}", BlobTicket::new(address, tag.hash, tag.format));
    // It ends with the input, whatever was in it.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    print_figure("cpu", cpu_seconds() - spent);
    router.shutdown().await?;
    Ok(())
}

async fn take(ticket: &BlobTicket, to: &Path, data: &Path) -> Result<()> {
    let endpoint = endpoint().await?;
    let store = FsStore::load(data).await?;
    let (began, spent) = (Instant::now(), cpu_seconds());
    let connection = endpoint.connect(ticket.addr().clone(), iroh_blobs::ALPN).await?;
    store.remote().fetch(connection, ticket.hash_and_format()).await?;
    let options = ExportOptions {
        hash: ticket.hash(),
        mode: ExportMode::TryReference,
        target: std::path::absolute(to)?,
    };
    store.blobs().export_with_opts(options).await?;
    print_figure("seconds", began.elapsed().as_secs_f64());
    print_figure("cpu", cpu_seconds() - spent);
    endpoint.close().await;
    Ok(())
}
