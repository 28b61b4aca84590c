//! Running the program, and nodes that end with their test.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// The address family of a test that is run in another one than the suite.
    static LOOPBACK: Cell<Option<IpAddr>> = const { Cell::new(None) };
}

/// The loopback address at which nodes and their HTTP listen: that of `POTLUCK_TEST_ADDRESS`
/// (`127.0.0.1` or `::1`), by default 127.0.0.1.
pub(crate) fn loopback() -> IpAddr {
    if let Some(ip) = LOOPBACK.get() {
        return ip;
    }
    let asked = std::env::var("POTLUCK_TEST_ADDRESS").unwrap_or_default();
    match asked.trim_start_matches('[').trim_end_matches(']') {
        "" => Ipv4Addr::LOCALHOST.into(),
        text => text.parse().expect("POTLUCK_TEST_ADDRESS is an IP address"),
    }
}

/// That address, with port 0: the system chooses.
pub(crate) fn any_port() -> String {
    at_port(0)
}

/// That address with a port.
pub(crate) fn at_port(port: u16) -> String {
    SocketAddr::new(loopback(), port).to_string()
}

/// The URL of no node.
pub(crate) fn no_node() -> String {
    format!("http://{}", at_port(1))
}

/// The options of a node that listens at that address only.
pub(crate) fn listening() -> [String; 4] {
    ["--listen".to_owned(), any_port(), "--http".to_owned(), any_port()]
}

/// Whether this machine has IPv6; says so if it has not.
pub(crate) fn has_ipv6() -> bool {
    let has = std::net::UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        let _ = writeln!(std::io::stderr(), "skipped: this machine has no IPv6");
    }
    has
}

/// Runs a test on `[::1]`, if there is one.
pub(crate) fn on_ipv6(test: fn()) {
    if has_ipv6() {
        LOOPBACK.set(Some(Ipv6Addr::LOCALHOST.into()));
        test();
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program without anything of the tester's environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("POTLUCK_") {
            command.env_remove(variable);
        }
    }
    command.env("XDG_RUNTIME_DIR", runtime_dir());
    command
}

/// Where nodes and commands of the tests find each other, whatever home folder they have.
pub(crate) fn runtime_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("run")
}

/// The name of the file by which a node at this address is found.
pub(crate) fn listed_as(address: &str) -> String {
    let address: SocketAddr = address.parse().expect("an address");
    format!("{}-{}", address.ip().to_string().replace(':', "_"), address.port())
}

/// The token of the node at this URL.
pub(crate) fn token(url: &str) -> Option<String> {
    let address = url.strip_prefix("http://")?.split('/').next()?;
    let listed = runtime_dir().join("potluck").join("nodes").join(listed_as(address));
    let entry = std::fs::read(listed).ok()?;
    let entry: serde_json::Value = serde_json::from_slice(&entry).expect("JSON");
    let token = std::fs::read_to_string(entry["tokenFile"].as_str()?).expect("readable");
    Some(token.trim().to_owned())
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("piped");
    // A command that does not read its stdin may be gone before it is written.
    let _ = pipe.write_all(stdin);
    drop(pipe);
    ended(child)
}

/// Waits for the end of a command.
pub(crate) fn ended(child: Child) -> Run {
    let (sender, receiver) = channel();
    let id = child.id();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| panic!("process {id} does not end"))
        .expect("its output can be read");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A node process. It is killed with the test.
pub(crate) struct Node {
    child: Child,
    lines: Receiver<String>,
    /// Lines of the log that a person would have to act on.
    errors: Arc<Mutex<Vec<String>>>,
    pub(crate) contact: String,
    pub(crate) url: String,
    pub(crate) data: PathBuf,
    _folder: Option<TempDir>,
}

impl Node {
    /// A node of network `test` with these arguments, once it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut node = Self::start_in(folder.path(), arguments);
        node._folder = Some(folder);
        node
    }

    /// The same, on a data folder that stays.
    pub(crate) fn start_in(data: &Path, arguments: &[&str]) -> Self {
        Self::start_as(data, up(data).args(arguments))
    }

    /// The same by a command that is all typed.
    pub(crate) fn start_as(data: &Path, command: &mut Command) -> Self {
        let node = Self::start_unready(data, command);
        assert_eq!(node.next_line("ready"), "");
        node
    }

    /// A node that can be asked, and may never be ready.
    pub(crate) fn start_unready(data: &Path, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let errors = errors_of(child.stderr.take().expect("piped"));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut node = Self {
            child,
            lines,
            errors,
            contact: String::new(),
            url: String::new(),
            data: data.to_owned(),
            _folder: None,
        };
        node.contact = node.next_line("contact ");
        node.url = node.next_line("http ");
        node
    }

    /// The rest of the next line, which has to begin so.
    fn next_line(&self, begin: &str) -> String {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
        line.strip_prefix(begin).unwrap_or_else(|| panic!("{line} is no {begin}line")).to_owned()
    }

    /// Runs a command of the program against this node.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, b"")
    }

    /// The same with something on stdin.
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        run(program().args(["--node", &self.url]).args(arguments), stdin)
    }

    /// Runs a command that has to succeed, and gives what it printed.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        run.stdout
    }

    /// Sends SIGTERM.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let status = Command::new("kill").args([&signal, &self.child.id().to_string()]).status();
        assert!(status.expect("there is a kill command").success());
    }

    /// The number by which the system knows the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }

    /// Accepts the lines of the log with level ERROR so far, which otherwise fail the test.
    pub(crate) fn accept_errors(&self) -> Vec<String> {
        std::mem::take(&mut self.errors.lock().expect("not poisoned"))
    }

    /// Closes the node's stdin.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the node ends", || {
            status = self.child.try_wait().expect("it can be asked");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let errors = self.accept_errors();
        if !thread::panicking() {
            assert!(errors.is_empty(), "lines of the log with level ERROR: {errors:#?}");
        }
    }
}

/// Passes on what a node says on stderr, and keeps the lines with level ERROR.
fn errors_of(stderr: ChildStderr) -> Arc<Mutex<Vec<String>>> {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&errors);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains(" ERROR ") || line.contains("\"level\":\"error\"") {
                kept.lock().expect("not poisoned").push(line.clone());
            }
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    });
    errors
}

/// `up` on loopback with ports by the system; ends when its stdin closes.
pub(crate) fn up(data: &Path) -> Command {
    let mut command = program();
    command
        // A client may name files in the user's home; in these tests that is the data folder.
        .env("HOME", data)
        .args(["up", "--network", "test", "--admission", "lab", "--exit-with-stdin", "--data"])
        .arg(data)
        .args(listening());
    command
}

/// Asks until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::yield_now();
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    // SplitMix64.
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    std::iter::repeat_with(next).flat_map(u64::to_le_bytes).take(length).collect()
}
