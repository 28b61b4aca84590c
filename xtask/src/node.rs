//! One node in a network namespace of its own: its process, and the commands that are run beside it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox;

/// Longest time for a node to join the network.
const READY_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a command: a fetch gives up after 15 s without a source.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// How often a process or a file is checked during a wait.
const LOOK: Duration = Duration::from_millis(20);
/// The UDP port of the nodes.
pub(crate) const PORT: u16 = 12_345;
/// The HTTP address of a node, in its own namespace.
pub(crate) const HTTP: &str = "127.0.0.1:8080";

/// The name, namespace and addresses of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its name; also the name of its folder.
    pub(crate) name: String,
    /// Its network namespace.
    pub(crate) namespace: String,
    /// `ip:port` for other nodes.
    pub(crate) listen: String,
    /// `ip:port` for commands.
    pub(crate) http: String,
    /// Its entry point; `None` for the first node.
    pub(crate) entry: Option<String>,
}

/// A node; its process ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    place: Place,
    program: PathBuf,
    folder: PathBuf,
    child: Child,
    started: Instant,
}

/// How a failed command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The exit code; `None` after a signal or a timeout.
    pub(crate) exit: Option<i32>,
    /// Its error message.
    pub(crate) sentence: String,
}

impl Failed {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { exit: None, sentence: sentence.into() }
    }
}

impl Node {
    /// Starts a node; it may use everything below `below`.
    pub(crate) fn start(place: Place, program: &Path, below: &Path) -> Result<Self, String> {
        let folder = below.join(&place.name);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let mut command = inside(&place, program);
        command
            .env("POTLUCK_FILES_PATHS", below)
            .args(["up", "--network", "lab", "--admission", "lab", "--listen", &place.listen])
            .args(["--http", &place.http, "--data"])
            .arg(folder.join("data"))
            .args(&place.entry);
        let (out, err) = (create(&folder.join("out"))?, create(&folder.join("err"))?);
        let child = command
            // A group of its own, so that Ctrl-C reaches the run and not its nodes.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| format!("cannot start a node: {error}"))?;
        let program = program.to_owned();
        Ok(Self { place, program, folder, child, started: Instant::now() })
    }

    /// Waits until it has joined the network: returns the time that took, or its error message.
    pub(crate) fn wait_ready(&mut self) -> Result<Duration, Failed> {
        loop {
            let said = fs::read_to_string(self.folder.join("out")).unwrap_or_default();
            if said.lines().any(|line| line == "ready") {
                return Ok(self.started.elapsed());
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || self.started.elapsed() > READY_MAX {
                let words = fs::read_to_string(self.folder.join("err")).unwrap_or_default();
                let exit = ended.and_then(|status| status.code());
                return Err(Failed { exit, sentence: last_line(&words) });
            }
            sleep(LOOK);
        }
    }

    /// Runs a command beside the node and reads its JSON answer; `put` may print none.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<Value, Failed> {
        self.ask_within(COMMAND_MAX, args)
    }

    /// The same, with a timeout of `limit`.
    pub(crate) fn ask_within(&self, limit: Duration, args: &[&str]) -> Result<Value, Failed> {
        let paths = ["command-out", "command-err"].map(|name| self.folder.join(name));
        let [out, err] = [create(&paths[0]), create(&paths[1])];
        let (out, err) = (out.map_err(Failed::new)?, err.map_err(Failed::new)?);
        let mut command = inside(&self.place, &self.program);
        let token = self.folder.join("data/token");
        if token.is_file() {
            command.env("POTLUCK_TOKEN_FILE", token);
        }
        command.args(["--json", "--node", &format!("http://{}", self.place.http)]).args(args);
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|error| Failed::new(format!("cannot be started: {error}")))?;
        let status = wait(child, limit)
            .ok_or_else(|| Failed::new(format!("it did not end within {limit:?}")))?;
        let [out, err] = paths.map(|path| fs::read_to_string(path).unwrap_or_default());
        if status.success() {
            return Ok(out.lines().last().and_then(json).unwrap_or_default());
        }
        Err(Failed { exit: status.code(), sentence: sentence(&err) })
    }

    /// A file of random bytes in its folder.
    pub(crate) fn write_random(&self, name: &str, mib: usize) -> Result<PathBuf, Failed> {
        let path = self.folder.join(name);
        let bytes = mib as u64 * 1024 * 1024;
        File::open("/dev/urandom")
            .and_then(|random| io::copy(&mut random.take(bytes), &mut File::create(&path)?))
            .map_err(|error| Failed::new(format!("cannot write {}: {error}", path.display())))?;
        Ok(path)
    }

    /// A folder that the node may use.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command in the namespace of a place.
fn inside(place: &Place, program: &Path) -> Command {
    let mut command = Command::new("ip");
    sandbox::without_settings(&mut command);
    command.args(["netns", "exec", &place.namespace]).arg(program);
    command
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

/// Waits for a process, and ends it when that takes too long.
fn wait(mut child: Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => sleep(LOOK),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn json(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

/// The sentence of an error that was printed as JSON; else the last line that was printed.
fn sentence(printed: &str) -> String {
    let error = printed.lines().rev().find_map(json);
    let part = |name: &str| {
        error.as_ref().and_then(|error| error["error"][name].as_str()).map(str::to_owned)
    };
    match (part("message"), part("hint")) {
        (Some(message), Some(hint)) => format!("{message}; {hint}"),
        (Some(message), None) => message,
        _ => last_line(printed),
    }
}

fn last_line(text: &str) -> String {
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it printed no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_of_a_failure_is_what_people_would_read() {
        let printed = "a note\n{\"error\":{\"code\":\"c\",\"exit\":5,\"hint\":\"try again\",\"message\":\"no node\"}}\n";
        assert_eq!(sentence(printed), "no node; try again");
        assert_eq!(sentence("{\"error\":{\"hint\":null,\"message\":\"no node\"}}"), "no node");
        assert_eq!(sentence("thread panicked\n\n"), "thread panicked");
        assert_eq!(sentence(""), "it printed no reason");
    }
}
