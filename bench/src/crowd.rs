//! Processes of the program on loopback: started, asked, and ended by their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(100);
/// Answers are no longer than this.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// The numbers of `/metrics`, by their names without prefix and suffix.
pub type Metrics = BTreeMap<String, f64>;

/// The program's file: the one that is given, or the release build, made up to date.
pub fn program(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.canonicalize()?);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--bin", "potluck"]).current_dir(root);
    // Build scripts that watch these would run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    if !cargo.status()?.success() {
        return Err("the program cannot be built".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(root.join(target).join("release/potluck"))
}

/// One node.
pub struct Process {
    child: Child,
    pub pid: u32,
    pub id: String,
    pub contact: String,
    pub url: String,
    agent: ureq::Agent,
    /// Before the folder, so that the lines end before it goes.
    _lines: Receiver<String>,
    _data: TempDir,
}

impl Process {
    /// A node that knows `contact`, once it is ready.
    pub fn start(program: &Path, contact: Option<&str>) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let mut child = Command::new(program)
            .args(["up", "--network", "bench", "--admission", "lab", "--exit-with-stdin", "--data"])
            .arg(data.path())
            .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(contact)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(std::io::Result::ok).try_for_each(|line| sender.send(line))
        });
        let next = |begin: &str| -> Result<String> {
            let line = lines.recv_timeout(PATIENCE)?;
            Ok(line.strip_prefix(begin).ok_or("an unexpected line")?.to_owned())
        };
        let (contact, url) = (next("contact ")?, next("http ")?);
        next("ready")?;
        let config = ureq::Agent::config_builder().proxy(None).build();
        let mut process = Self {
            pid: child.id(),
            child,
            id: String::new(),
            contact,
            url,
            agent: config.into(),
            _lines: lines,
            _data: data,
        };
        let status = process.json("/v1/status")?;
        process.id = status["nodeId"].as_str().ok_or("a node without id")?.to_owned();
        Ok(process)
    }

    fn text(&self, path: &str) -> Result<String> {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).call()?;
        let bytes = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(String::from_utf8(bytes)?)
    }

    pub fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.text(path)?)?)
    }

    pub fn metrics(&self) -> Result<Metrics> {
        let text = self.text("/metrics")?;
        let numbers = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.strip_prefix("potluck_")?.split_once(' ')?;
            Some((name.trim_end_matches("_total").to_owned(), value.parse().ok()?))
        });
        Ok(numbers.collect())
    }

    /// What this node thinks of each member.
    pub fn members(&self) -> Result<BTreeMap<String, String>> {
        let view = self.json("/v1/members")?;
        let members = view["members"].as_array().ok_or("no members")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(members.iter().map(|member| (text(&member["id"]), text(&member["state"]))).collect())
    }

    /// The node's events from now on, as JSON, to be read on a thread.
    pub fn events(&self) -> Result<impl Iterator<Item = Value> + Send + use<>> {
        let answer = self.agent.get(format!("{}/v1/events", self.url)).call()?;
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        Ok(lines
            .map_while(std::io::Result::ok)
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()))
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status =
            Command::new("kill").args([format!("-{name}"), self.pid.to_string()]).status()?;
        if status.success() { Ok(()) } else { Err("the signal was not sent".into()) }
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nodes that all know each other, and how long that took from the first start on.
pub fn crowd(program: &Path, nodes: usize) -> Result<(Vec<Process>, Duration)> {
    let began = Instant::now();
    let mut crowd = vec![Process::start(program, None)?];
    while crowd.len() < nodes {
        crowd.push(Process::start(program, Some(&crowd[0].contact))?);
    }
    let ids: BTreeSet<String> = crowd.iter().map(|process| process.id.clone()).collect();
    wait_until("all know all", PATIENCE, || {
        for process in &crowd {
            let members = process.members()?;
            if !ids.iter().all(|id| members.get(id).is_some_and(|state| state == "alive")) {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok((crowd, began.elapsed()))
}

/// Asks until it is so.
pub fn wait_until(
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !is_so()? {
        if Instant::now() >= deadline {
            return Err(format!("{what}: not in {} s", patience.as_secs()).into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The middle of some numbers; 0 of none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
