//! The life of a node process: start, serve, stop.

use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use potluck::{InviteTerms, Node, PuzzleProgress};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::signals::{Hangups, Signals, stdin_closed};
use super::source::Source;
use super::start::{is_new, start};
use super::token::{self, Token};
use super::{Configured, Entering, WithParent, notify, page, waiting};
use crate::commands::admission::next_machine;
use crate::config::{OnTerm, Settings};
use crate::demo::FOLDER_PREFIX;
use crate::failure::Failure;
use crate::http::{self, App, Fresh, StopReason};
use crate::log;
use crate::nodes::{self, Entry, Written};
use crate::out::Out;
use crate::place::url_file;
use crate::text::count;

/// How long after a node's end its leaving over HTTP may still be reported.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Why a node stops.
enum Stop {
    /// The system asks for it.
    Asked,
    /// The process that started the node is gone.
    Orphaned,
    /// It has left the network over HTTP.
    Left,
    /// It has stopped by itself.
    Ended,
    /// What it has to say on stdout cannot be written.
    Unheard(Failure),
}

/// Runs a node until it is asked to stop.
pub(super) async fn run(
    out: Out,
    configured: Configured,
    entering: Entering,
    parent: &WithParent,
) -> Result<(), Failure> {
    let Configured { settings, token, source } = configured;
    let cannot = |error| Failure::failed(format!("cannot take signals: {error}"));
    let (mut signals, hangups) = Signals::of_a_node().map_err(cannot)?;
    let listener = http::bind(&settings).await?;
    let url = url_of(&listener)?;
    say_where_to_enter(out, &entering);
    let is_new = is_new(&settings);
    // Being let in may take for ever.
    let progress = PuzzleProgress::default();
    let node = tokio::select! {
        node = start(&settings, &entering, progress.clone()) => node?,
        () = signals.next() => return Ok(()),
        never = waiting::for_puzzles(out, &progress) => never,
        never = waiting::for_admission(out, &entering, &settings.node.listen) => never,
    };
    let token = match token::of(token, node.data_dir()) {
        Ok(token) => token,
        Err(failure) => {
            stop_at_once(&node).await?;
            return Err(failure);
        }
    };
    say_new_identity(out, &node);
    http::clear_uploads(node.data_dir());
    let _listed = list(out, &listener, &url, &node, token.as_ref().map(|token| &*token.file));
    let url_file = url_file(node.data_dir());
    if let Err(error) = nodes::write_secret(&url_file, format!("{url}\n").as_bytes()) {
        // The node works without, and a full disk may have room again later.
        out.note(format!(
            "clients need --node {url}: cannot write {}: {error}",
            url_file.display()
        ));
    }
    log::name_node(&node.node_id().to_string());
    let told = out.line(format!("contact {}", node.contact()));
    let (stop, mut stopping) = watch::channel(None);
    let connections = settings.limits.http_connections;
    let app = app(&node, settings, token, source, stop);
    tokio::spawn(http::go_on_with_fetches(Arc::clone(&app)));
    tokio::spawn(http::watch(Arc::clone(&app)));
    let server = http::serve(listener, Arc::clone(&app), connections);
    let reason = match told.and_then(|()| out.line(format!("http {url}"))) {
        Err(unwritten) => Stop::Unheard(unwritten),
        Ok(()) => tokio::select! {
            reason = wait_for_stop(&node, &mut signals, &mut stopping, parent.exits) => reason,
            reason = say_when_ready(out, &node, is_new, page::Place { app: &app, url: &url }) => reason,
            never = waiting::for_company(out, &node) => never,
            never = notify::alive(&node) => never,
            never = reload_at(out, &app, hangups) => never,
        },
    };
    notify::stopping();
    let on_term = app.on_term();
    let result = tokio::select! {
        result = end(out, &node, on_term, &reason) => result,
        () = signals.next() => {
            out.note("stopping at once");
            stop_at_once(&node).await
        }
    };
    server.stop().await;
    forget_url(&url_file, &url);
    if let (Stop::Orphaned, Some(folder)) = (&reason, &parent.scrap) {
        scrap(folder, node.data_dir());
    }
    result
}

/// The HTTP API of a node, which can read its configuration again.
fn app(
    node: &Node,
    settings: Settings,
    token: Option<Token>,
    source: Source,
    stop: watch::Sender<Option<StopReason>>,
) -> Arc<App> {
    let fresh = Fresh { settings, token: token.map(|token| token.text) };
    let data_dir = node.data_dir().to_owned();
    let read = Box::new(move |running: &Settings| source.read(running, &data_dir));
    Arc::new(App::new(node.clone(), fresh, read, stop))
}

/// Reads the configuration again at each hangup; never ends by itself.
async fn reload_at<T>(out: Out, app: &Arc<App>, mut hangups: Hangups) -> T {
    loop {
        hangups.next().await;
        notify::reloading();
        match app.reload().await {
            Ok(reloaded) if reloaded.changed.is_empty() => {
                out.note("configuration read again: nothing changed");
            }
            Ok(reloaded) => {
                for key in reloaded.changed {
                    let effect = if key.restart { "; takes effect after a restart" } else { "" };
                    out.note(format!("{}: {} instead of {}{effect}", key.key, key.to, key.from));
                }
            }
            Err(failure) => out.note(format!("the configuration stays as it was: {failure}")),
        }
        notify::reloaded();
    }
}

/// Says in more detail which nodes are asked to let this one in.
fn say_where_to_enter(out: Out, entering: &Entering) {
    let Some(ticket) = &entering.ticket else { return };
    let ways = ticket.entry_points.iter().flat_map(|node| &node.ways);
    let addresses: Vec<String> = ways.map(|way| way.socket.to_string()).collect();
    out.detail(format!("asking {} to let this node into {}", addresses.join(", "), ticket.network));
}

/// Says what became of the identity that this start gave up, if it did.
fn say_new_identity(out: Out, node: &Node) {
    if let Some(former) = node.former_identity() {
        out.note(format!(
            "this node has a new identity; what the old one wrote ({}) counts as another node's from now on, \
             and the old key pair is in {}",
            count(former.records, "record"),
            former.kept_in.display()
        ));
    }
}

/// Lists the node for the command line of its user.
fn list(
    out: Out,
    listener: &TcpListener,
    url: &str,
    node: &Node,
    token_file: Option<&Path>,
) -> Option<Written> {
    let entry = Entry {
        url: url.to_owned(),
        data_dir: node.data_dir().to_owned(),
        token_file: token_file.map(Path::to_owned),
    };
    let written = reached_at(listener).and_then(|address| nodes::write(address, &entry));
    // The node works without, and its data folder tells the same.
    written
        .inspect_err(|error| {
            let token = token_file.unwrap_or(Path::new("none")).display();
            out.note(format!(
                "cannot list this node for potluck --node {url}: {error}; its token is in {token}"
            ));
        })
        .ok()
}

/// How others can join, printed as the last line of the start. A ticket is a secret: it is made for a person at
/// a terminal, and not for a log.
async fn how_to_join(out: Out, node: &Node, is_new: bool) -> Option<String> {
    let contact = node.contact();
    let here = node.local_addresses().iter().any(|bound| bound.ip().is_unspecified())
        && contact.address.ip().is_loopback();
    let only =
        "on this machine only, since it has no other address (--advertise IP:PORT gives one)";
    match node.membership() {
        Ok(membership) if is_new && membership.is_issuer() => {
            if out.quiet || !io::stderr().is_terminal() {
                return Some(if here {
                    format!("potluck invite makes a ticket, {only}")
                } else {
                    "potluck invite makes a ticket for the next machine".to_owned()
                });
            }
            Some(match node.invite(InviteTerms::default()).await {
                Ok(ticket) if here => format!("{only}: potluck up {ticket}"),
                Ok(ticket) => next_machine(&ticket.to_string()),
                Err(error) => format!("cannot make a ticket: {error}"),
            })
        }
        Ok(membership) if membership.is_issuer() && is_alone(node).await => {
            Some("no other node is known yet; potluck invite lets one in".to_owned())
        }
        Err(_) if node.open_invitation().is_some() => {
            open_invitation(out, node, is_new, here.then_some(only)).await
        }
        Err(_) if is_alone(node).await => {
            let name = &node.network().name;
            let to = if here { format!(", {only}") } else { String::new() };
            Some(format!(
                "no other node is known yet; others join{to}: potluck up --admission lab --network {name} \
                 {contact}"
            ))
        }
        _ => None,
    }
}

/// The line for the next machine of an `open` network. It is no secret. Printed at the first start, and as long
/// as no other node is known. `only` says that this machine alone can use it.
async fn open_invitation(
    out: Out,
    node: &Node,
    is_new: bool,
    only: Option<&str>,
) -> Option<String> {
    let invitation = node.open_invitation().filter(|_| !out.quiet)?;
    if !is_new && !is_alone(node).await {
        return None;
    }
    Some(match only {
        Some(only) => format!("{only}: potluck up {invitation}"),
        None => next_machine(&invitation.to_string()),
    })
}

/// Whether the node is alone and has no entry points.
async fn is_alone(node: &Node) -> bool {
    let view = node.view().await;
    view.is_ok_and(|view| view.peers == 0 && view.entry_points.is_empty())
}

/// The address that reaches a listener from this machine.
fn reached_at(listener: &TcpListener) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, address.port()))
}

/// The URL that reaches a listener from this machine.
fn url_of(listener: &TcpListener) -> Result<String, Failure> {
    let address = reached_at(listener).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(format!("http://{address}"))
}

/// Prints that the node can be used, and how others join; at a terminal a page follows. Returns only if that
/// cannot be printed.
async fn say_when_ready(out: Out, node: &Node, is_new: bool, at: page::Place<'_>) -> Stop {
    if node.ready().await.is_ok() {
        notify::ready();
        if let Err(unwritten) = out.line("ready") {
            return Stop::Unheard(unwritten);
        }
        let invitation = how_to_join(out, node, is_new).await;
        if page::is_seen(out) {
            return page::go_on(at, invitation.as_deref()).await;
        }
        if let Some(invitation) = invitation {
            out.note(invitation);
        }
    }
    std::future::pending().await
}

async fn wait_for_stop(
    node: &Node,
    signals: &mut Signals,
    stopping: &mut watch::Receiver<Option<StopReason>>,
    exit_with_stdin: bool,
) -> Stop {
    let orphaned =
        async { if exit_with_stdin { stdin_closed().await } else { std::future::pending().await } };
    tokio::select! {
        () = signals.next() => return Stop::Asked,
        () = orphaned => return Stop::Orphaned,
        // The sender lives in the server, which outlives this.
        _ = stopping.wait_for(Option::is_some) => return Stop::Left,
        () = node.stopped() => {}
    }
    match timeout(LAST_WORD, stopping.wait_for(Option::is_some)).await {
        Ok(_) => Stop::Left,
        Err(_) => Stop::Ended,
    }
}

async fn end(out: Out, node: &Node, on_term: OnTerm, reason: &Stop) -> Result<(), Failure> {
    match (reason, on_term) {
        (Stop::Left, _) => Ok(()),
        (Stop::Unheard(unwritten), _) => {
            stop_at_once(node).await?;
            Err(unwritten.clone())
        }
        (Stop::Ended, _) => {
            Err(Failure::failed("the node stopped by itself").hint("start it again"))
        }
        (Stop::Asked, OnTerm::Leave) => {
            out.note("leaving; once more to stop at once");
            // It may have been told to leave over HTTP at the same time, and be gone already.
            if let Ok(report) = node.hand_over().await {
                let (records, took) =
                    (count(report.handed_over, "record"), report.took.as_secs_f64());
                out.note(format!("left after {took:.1} s, {records} handed over"));
            }
            Ok(())
        }
        (Stop::Asked, OnTerm::Pause) => node.pause().await.map_err(Failure::failed),
        (Stop::Orphaned, _) => stop_at_once(node).await,
    }
}

async fn stop_at_once(node: &Node) -> Result<(), Failure> {
    node.stop().await.map_err(Failure::failed)
}

/// Removes the URL file, unless another node has written its own since.
fn forget_url(path: &Path, url: &str) {
    if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == url) {
        // A file that stays only costs the next client a moment.
        let _ = std::fs::remove_file(path);
    }
}

/// Removes the folder of a demo that was killed. All its nodes do so; the last one finishes it.
fn scrap(folder: &Path, data_dir: &Path) {
    let is_demo =
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER_PREFIX));
    if is_demo && data_dir.starts_with(folder) {
        // What another node of the demo removes at the same time is gone as well.
        let _ = std::fs::remove_dir_all(folder);
    }
}
