//! One node process of the demo.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::files::UPLOAD_RATE;
use super::plan::Plan;
use super::processes::Processes;
use crate::api::{Member, Members, Peers, Status};
use crate::client::{Client, read_token};
use crate::failure::{Exit, Failure};
use crate::place;

/// Store cache of one node. It is small because many nodes share this machine; raising it speeds up reads.
const STORE_MEMORY: &str = "16MiB";

/// A process that was started and has not printed its addresses yet.
#[derive(Debug)]
pub(super) struct Starting {
    number: usize,
    process: usize,
    log: String,
    lines: Receiver<String>,
}

/// A node process that answers HTTP requests.
#[derive(Debug, Clone)]
pub(super) struct DemoNode {
    pub(super) number: usize,
    pub(super) process: usize,
    pub(super) id: String,
    pub(super) contact: String,
    pub(super) client: Client,
}

/// Starts a node that enters by `entry`.
pub(super) fn start(
    processes: &Processes,
    plan: &Plan,
    number: usize,
    entry: Option<&str>,
) -> Result<Starting, Failure> {
    let program = env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?;
    // One file per node: nodes start concurrently, and a shared file could be read half written.
    let config = processes.path(&format!("node-{number}.toml"));
    write_config(&config, processes, plan)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", config.display())))?;
    let mut command = Command::new(program);
    for (variable, _) in env::vars_os() {
        if variable.to_string_lossy().starts_with("POTLUCK_") {
            command.env_remove(variable);
        }
    }
    command
        .env("POTLUCK_KV_REPLICATION", plan.replication.to_string())
        .env("POTLUCK_STORE_MEMORY_BYTES", STORE_MEMORY)
        .env("POTLUCK_FILES_UPLOAD_RATE", UPLOAD_RATE.to_string())
        .args(["up", "--admission", "lab", "--network"])
        .arg(network(plan))
        .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--exit-with-stdin"])
        .arg("--scrap")
        .arg(processes.path(""))
        .arg("--config")
        .arg(config)
        .arg("--data")
        .arg(processes.data_dir(number))
        .args(entry);
    let log = format!("node-{number}.log");
    let (process, stdout) = processes.spawn(&mut command, &log)?;
    Ok(Starting { number, process, log, lines: lines_of(stdout) })
}

/// Nodes may touch their own folders and the file that is shared.
fn write_config(at: &Path, processes: &Processes, plan: &Plan) -> std::io::Result<()> {
    let paths = [processes.path(""), plan.file.clone()];
    let paths = paths.map(|path| toml::Value::String(path.to_string_lossy().into_owned()));
    std::fs::write(at, format!("[files]\npaths = {}\n", toml::Value::Array(paths.into())))
}

/// The network name, unique to this process: concurrent demos do not join each other.
pub(super) fn network(plan: &Plan) -> String {
    format!("demo-{}-{}", std::process::id(), plan.seed)
}

/// The lines of a pipe as a channel, so that a wait for the next line can time out.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Starting {
    /// Waits until the node prints its contact and its HTTP address.
    pub(super) fn located(
        &self,
        processes: &Processes,
        deadline: Instant,
    ) -> Result<DemoNode, Failure> {
        let contact = self.line(processes, "contact ", deadline)?;
        let url = self.line(processes, "http ", deadline)?;
        // The token lies in the node's data folder: the user's own folders are not read.
        let token = read_token(&place::token_file(&processes.data_dir(self.number)))?;
        let client = Client::new(url, Some(&token));
        let status: Status = client.get_json("/v1/status")?;
        Ok(DemoNode {
            number: self.number,
            process: self.process,
            id: status.node_id,
            contact,
            client,
        })
    }

    /// Waits until the node has entered the network.
    pub(super) fn ready(&self, processes: &Processes, deadline: Instant) -> Result<(), Failure> {
        self.line(processes, "ready", deadline).map(drop)
    }

    fn line(
        &self,
        processes: &Processes,
        begin: &str,
        deadline: Instant,
    ) -> Result<String, Failure> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(begin) {
                        return Ok(rest.to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let message = format!("a node did not get ready in time ({begin})");
                    return Err(Failure::new(Exit::Unavailable, "timeout", message)
                        .hint("the machine may be too busy for this number of nodes"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let words = processes.last_words(&self.log);
                    return Err(Failure::failed(format!("a node ended early: {words}")));
                }
            }
        }
    }
}

impl DemoNode {
    /// The ids of the peers in the node's routing table.
    pub(super) fn peers(&self) -> Result<Vec<String>, Failure> {
        let peers: Peers = self.client.get_json("/v1/peers")?;
        Ok(peers.peers.into_iter().map(|peer| peer.id).collect())
    }

    /// The members that the node lists, with the state of each.
    pub(super) fn members(&self) -> Result<Vec<Member>, Failure> {
        let members: Members = self.client.get_json("/v1/members")?;
        Ok(members.members)
    }

    /// The node's status.
    pub(super) fn status(&self) -> Result<Status, Failure> {
        self.client.get_json("/v1/status")
    }
}

/// Polls `is_so` until it holds (`true`) or `deadline` is over (`false`).
pub(super) fn wait_until(
    deadline: Instant,
    pause: Duration,
    mut is_so: impl FnMut() -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    loop {
        if is_so()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(pause);
    }
}
