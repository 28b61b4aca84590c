//! The life of a node process: start, serve, stop.

use std::path::Path;
use std::sync::Arc;

use potluck::Node;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::signals::{Signals, stdin_closed};
use crate::config::{OnTerm, Settings};
use crate::failure::{Exit, Failure};
use crate::http::{self, App, Rules, StopReason};
use crate::out::Out;
use crate::place::url_file;

/// Why a node stops.
enum Stop {
    /// The system asks for it.
    Asked,
    /// Whoever started it is gone.
    Orphaned,
    /// It has left the network over HTTP.
    Left,
}

/// Runs a node until it is asked to stop.
pub(super) async fn run(
    out: Out,
    settings: Settings,
    token: Option<String>,
    exit_with_stdin: bool,
) -> Result<(), Failure> {
    let mut signals = Signals::take()
        .map_err(|error| Failure::failed(format!("cannot take signals: {error}")))?;
    let listener = http::bind(&settings).await?;
    let url = url_of(&listener)?;
    let node = start(&settings).await?;
    let url_file = url_file(node.data_dir());
    if let Err(error) = std::fs::write(&url_file, format!("{url}\n")) {
        node.stop().await.map_err(Failure::failed)?;
        let message = format!("cannot write {}: {error}", url_file.display());
        return Err(Failure::failed(message).hint("choose another folder with --data"));
    }
    out.line(format!("contact {}", node.contact()));
    let (stop, mut stopping) = watch::channel(None);
    let rules = Rules::new(&settings.http, token.as_deref());
    let (on_term, connections) = (settings.node.on_term, settings.limits.http_connections);
    let app = Arc::new(App::new(node.clone(), settings, rules, stop));
    let server = http::serve(listener, app, connections);
    out.line(format!("http {url}"));

    let reason = tokio::select! {
        reason = wait_for_stop(&mut signals, &mut stopping, exit_with_stdin) => reason,
        never = say_when_ready(out, &node) => never,
    };
    let ending = end(out, &node, on_term, &reason);
    tokio::pin!(ending);
    let result = tokio::select! {
        result = ending.as_mut() => result,
        () = signals.next() => {
            out.note("stopping at once");
            node.stop().await.map_err(Failure::failed)
        }
    };
    server.stop().await;
    forget_url(&url_file, &url);
    result
}

fn url_of(listener: &TcpListener) -> Result<String, Failure> {
    let address = listener.local_addr().map_err(|error| Failure::failed(error.to_string()))?;
    let ip = address.ip();
    // 0.0.0.0 is no address to call.
    let ip = if ip.is_unspecified() {
        match ip {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        }
    } else {
        ip
    };
    Ok(format!("http://{}", std::net::SocketAddr::new(ip, address.port())))
}

async fn start(settings: &Settings) -> Result<Node, Failure> {
    let mut builder = Node::builder()
        .data_dir(&settings.node.data_dir)
        .network(&settings.network.name)
        .admission(settings.network.admission)
        .config(settings.protocol.clone())
        .store_memory_bytes(settings.store.memory_bytes)
        .sync(settings.store.sync)
        .client(settings.node.client);
    for address in &settings.node.listen {
        builder = builder.listen(*address);
    }
    if let Some(address) = settings.node.advertise {
        builder = builder.advertise(address);
    }
    if let Some(bytes) = settings.store.disk_bytes {
        builder = builder.store_disk_bytes(bytes);
    }
    for entry in &settings.network.entry {
        builder = builder.entry(entry.as_str());
    }
    builder.start().await.map_err(|error| Failure::new(Exit::Failed, "start", error))
}

/// Says that the network has been entered; never ends by itself.
async fn say_when_ready(out: Out, node: &Node) -> Stop {
    if node.ready().await.is_ok() {
        out.line("ready");
    }
    std::future::pending().await
}

async fn wait_for_stop(
    signals: &mut Signals,
    stopping: &mut watch::Receiver<Option<StopReason>>,
    exit_with_stdin: bool,
) -> Stop {
    let orphaned = async {
        if exit_with_stdin { stdin_closed().await } else { std::future::pending().await }
    };
    tokio::select! {
        () = signals.next() => Stop::Asked,
        () = orphaned => Stop::Orphaned,
        // The sender lives in the server, which outlives this.
        _ = stopping.wait_for(Option::is_some) => Stop::Left,
    }
}

async fn end(out: Out, node: &Node, on_term: OnTerm, reason: &Stop) -> Result<(), Failure> {
    match (reason, on_term) {
        (Stop::Left, _) => Ok(()),
        (Stop::Asked, OnTerm::Leave) => {
            out.note("leaving; once more to stop at once");
            let report = node.leave().await.map_err(Failure::failed)?;
            let records = report.handed_over;
            out.note(format!("left after {:.1} s, {records} records handed over", report.took.as_secs_f64()));
            Ok(())
        }
        (Stop::Asked, OnTerm::Pause) | (Stop::Orphaned, _) => {
            node.stop().await.map_err(Failure::failed)
        }
    }
}

/// Removes the URL file, unless another node has written its own since.
fn forget_url(path: &Path, url: &str) {
    if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == url) {
        // A file that stays only costs the next client a moment.
        let _ = std::fs::remove_file(path);
    }
}
