//! One node: its process, its folder, its clock.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::run::REPLICATION;
use super::{disk, lab};
use crate::{sandbox, tools};

/// A start must end within this.
const READY_MAX: Duration = Duration::from_secs(60);
/// A clean stop must end within this; then the process is killed.
const STOP_MAX: Duration = Duration::from_secs(15);
/// How often a file or a process is checked during a wait.
const LOOK: Duration = Duration::from_millis(20);
/// Where Debian and others install the library of `faketime` for programs with threads.
const FAKETIME: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// The library that changes the clock of a process, if it is installed.
pub(super) fn faketime() -> Option<&'static Path> {
    FAKETIME.into_iter().map(Path::new).find(|path| path.is_file())
}

/// A node of the run.
#[derive(Debug)]
pub(super) struct Node {
    number: usize,
    program: PathBuf,
    folder: PathBuf,
    data: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// Makes the folders of a node without starting it.
    pub(super) fn new(number: usize, program: &Path, below: &Path) -> Result<Self, String> {
        let folder = below.join(format!("node{number}"));
        let data = disk::make(&folder)?;
        let node = Self { number, program: program.to_owned(), folder, data, child: None };
        // Made here, and named as the token file: a port that is not on loopback needs a token.
        let token = node.data.join("token");
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&token)
            .and_then(|mut file| writeln!(file, "torment-{number}-{:032x}", std::process::id()))
            .map_err(|error| format!("cannot write {}: {error}", token.display()))?;
        node.set_clock(0)?;
        Ok(node)
    }

    /// The token of its HTTP port.
    pub(super) fn token(&self) -> Option<String> {
        let text = fs::read_to_string(self.data.join("token")).ok()?;
        Some(text.trim().to_owned()).filter(|token| !token.is_empty())
    }

    fn log(&self, what: &str) -> PathBuf {
        self.folder.with_extension(what)
    }

    /// Sets its clock off by this number of seconds.
    pub(super) fn set_clock(&self, seconds: i64) -> Result<(), String> {
        let path = self.log("clock");
        // Replaced atomically: the library may read the file at any time.
        let new = self.log("clock-new");
        fs::write(&new, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| format!("cannot set the clock of node {}: {error}", self.number))
    }

    /// Waits until its started process has joined the network.
    pub(super) fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_MAX;
        while !self.said().lines().any(|line| line == "ready") {
            if self.has_died() || Instant::now() > deadline {
                let (number, words) = (self.number, self.last_words());
                return Err(format!("node {number} did not get ready: {words}"));
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// Starts its process.
    pub(super) fn spawn(&mut self) -> Result<(), String> {
        let file = |path: PathBuf, append: bool| {
            let mut options = OpenOptions::new();
            options.create(true).write(true).append(append).truncate(!append);
            options.open(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))
        };
        let (out, err): (File, File) =
            (file(self.log("out"), false)?, file(self.log("err"), true)?);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab::namespace(self.number)]).arg("env");
        if let Some(library) = faketime() {
            command
                .arg(format!("LD_PRELOAD={}", library.display()))
                .arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.log("clock").display()))
                // The library reads the file again every second. The monotonic clock is not changed.
                .args(["FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"])
                .arg("DONT_FAKE_MONOTONIC=1");
        }
        command
            .arg(format!("POTLUCK_HTTP_TOKEN_FILE={}", self.data.join("token").display()))
            .arg(format!("POTLUCK_KV_REPLICATION={REPLICATION}"))
            .arg("POTLUCK_STORE_MEMORY_BYTES=16MiB")
            .arg(&self.program)
            .args(["up", "--network", "torment", "--admission", "lab", "--on-term", "pause"])
            .args(["--listen", &lab::listen(self.number), "--http", &lab::http(self.number)])
            .arg("--data")
            .arg(&self.data);
        // Two entry points: one of them may be down at the same time.
        for entry in [0, 1].into_iter().filter(|entry| *entry != self.number) {
            command.arg(lab::listen(entry));
        }
        sandbox::without_settings(&mut command);
        // A group of its own, so that Ctrl-C reaches the run and not its nodes.
        command.process_group(0).stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| format!("cannot start a node: {error}"))?;
        self.child = Some(child);
        Ok(())
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log("out")).unwrap_or_default()
    }

    /// The public key with which it signs.
    pub(super) fn public_key(&self) -> Option<String> {
        let said = self.said();
        let contact = said.lines().find_map(|line| line.strip_prefix("contact "))?;
        Some(contact.split(['@', '.']).next()?.to_owned())
    }

    /// The end of what it wrote to stderr.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log("err")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// The file of its stderr.
    pub(super) fn errors(&self) -> PathBuf {
        self.log("err")
    }

    /// Whether its process has ended unexpectedly.
    pub(super) fn has_died(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Ends its process as a power cut does.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map(drop).map_err(|error| error.to_string())
    }

    /// Asks its process to end, and waits until it has.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.signal("TERM")?;
        let deadline = Instant::now() + STOP_MAX;
        while !self.has_died() {
            if Instant::now() > deadline {
                self.kill()?;
                return Err(format!("node {} did not stop in {STOP_MAX:?}", self.number));
            }
            sleep(LOOK);
        }
        self.child = None;
        Ok(())
    }

    /// Sends its process a signal.
    pub(super) fn signal(&self, name: &str) -> Result<(), String> {
        self.child.as_ref().map_or(Ok(()), |child| tools::signal(name, child.id()))
    }

    /// Fills its disk, or frees the room again.
    pub(super) fn fill_disk(&self, is_full: bool) -> Result<(), String> {
        if is_full { disk::fill(&self.folder) } else { disk::empty(&self.folder) }
    }
}
