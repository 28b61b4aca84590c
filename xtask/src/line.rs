//! `cargo xtask line`: transfers one file between two nodes over a link of a given rate and delay.
//!
//! The task runs itself again inside a [sandbox](crate::sandbox). Four network namespaces are connected in a
//! row: the two nodes at the outside, and between them the two ends of the emulated line, each of which has
//! the address of the node at the other end. So both nodes see each other's true addresses, and neither sees
//! the line. An end is this program too: it receives the packets of its node, delays them as the line would,
//! and sends them to the other end over a Unix domain socket.

mod end;
mod options;
mod shape;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use options::Options;

use crate::node::{Node, PORT, Place};
use crate::sandbox;
use crate::tools::{call, output};

pub(crate) use end::TASK as END_TASK;
pub(crate) use end::run as run_end;
pub(crate) use options::HELP;

/// The addresses of the nodes: from a range for documentation, so that no node takes them for local.
const ADDRESSES: [&str; 2] = ["198.51.100.1", "203.0.113.1"];
/// A fetch that takes longer is given up.
const FETCH_MAX: Duration = Duration::from_secs(600);
/// Longest time until an end of the line has started.
const END_MAX: Duration = Duration::from_secs(5);
/// How often that is checked.
const LOOK: Duration = Duration::from_millis(10);

/// Runs the task.
pub(crate) fn run(root: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    let options = Options::parse(args)?;
    if sandbox::is_inside() {
        return inside(&options);
    }
    if let Some(refusal) = sandbox::refusal(&["ip", "sha256sum"]) {
        say(&format!("the line was skipped: {refusal}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = args.to_vec();
    if options.programs.is_empty() {
        all.extend(["--binary".into(), crate::run::program(root, None)?.into()]);
    }
    sandbox::run_inside("line", &all)
}

fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())
}

/// Runs all programs in turn, several times, so that other load on the machine affects all of them alike.
fn inside(options: &Options) -> Result<ExitCode, String> {
    sandbox::mount("line")?;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); options.programs.len()];
    for _ in 0..options.runs {
        for (program, rates) in options.programs.iter().zip(&mut rates) {
            let fetched = play(options, program)?;
            if !options.json {
                say(&format!("{}: {}", program.display(), told(options, &fetched)))?;
            }
            rates.push(fetched.bits_per_second());
        }
    }
    let medians: Vec<f64> = rates.iter().map(|rates| median(rates)).collect();
    let first = medians.first().copied().unwrap_or_default();
    let mut all = Vec::new();
    for (program, median) in options.programs.iter().zip(&medians) {
        let share = options.shape.map(|shape| median / shape.bits_per_second as f64);
        if options.json {
            all.push(json!({
                "program": program.display().to_string(), "bitsPerSecond": median,
                "shareOfLine": share, "ofFirst": median / first,
            }));
            continue;
        }
        let share =
            share.map_or_else(String::new, |it| format!(", {:.1} % of the line", it * 100.0));
        let ratio = median / first;
        let rate = median / 1e6;
        say(&format!(
            "{}: median {rate:.1} Mbit/s{share}, {ratio:.2} of the first",
            program.display()
        ))?;
    }
    if options.json {
        say(&Value::from(all).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of one run.
struct Run {
    bytes: u64,
    /// The duration that the program reports.
    seconds: f64,
}

impl Run {
    fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.seconds.max(1e-3)
    }
}

fn told(options: &Options, run: &Run) -> String {
    let rate = run.bits_per_second();
    let share = options.shape.map_or_else(String::new, |shape| {
        format!(", {:.1} % of the line", rate / shape.bits_per_second as f64 * 100.0)
    });
    format!("{} bytes in {:.2} s, {:.1} Mbit/s{share}", run.bytes, run.seconds, rate / 1e6)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// One run: a line, two nodes, one file.
fn play(options: &Options, program: &Path) -> Result<Run, String> {
    let below = PathBuf::from(sandbox::FOLDER).join("line");
    fs::create_dir_all(&below).map_err(|error| error.to_string())?;
    let line = match options.shape {
        Some(shape) => Some(Line::make(&below, shape)?),
        None => {
            namespace("line-a")?;
            None
        }
    };
    let ran = transfer(options, program, &below);
    let said = line.as_ref().map(Line::said).transpose()?;
    drop(line);
    for name in output("ip netns list")?.lines().filter_map(|line| line.split(' ').next()) {
        call(&format!("ip netns del {name}"))?;
    }
    fs::remove_dir_all(&below).map_err(|error| error.to_string())?;
    if let Some(said) = said.filter(|_| options.verbose) {
        say(&said)?;
    }
    ran
}

fn transfer(options: &Options, program: &Path, below: &Path) -> Result<Run, String> {
    let [a, b] = places(options.shape.is_none());
    let mut nodes = Vec::new();
    for place in [a, b] {
        let name = place.name.clone();
        let mut node = Node::start(place, program, below)?;
        let ready = node.wait_ready();
        ready.map_err(|failed| format!("{name} did not start: {}", failed.sentence))?;
        nodes.push(node);
    }
    let (sharer, fetcher) = (&nodes[0], &nodes[1]);
    let asked = |result: Result<Value, crate::node::Failed>| result.map_err(|it| it.sentence);
    let source = sharer.write_random("file", options.mib).map_err(|failed| failed.sentence)?;
    let shared = asked(sharer.ask(&["share", &source.to_string_lossy()]))?;
    let link = shared["link"].as_str().ok_or("share printed no link")?.to_owned();
    let target = fetcher.folder().join("to");
    let words = ["fetch", &link, "-o", &target.to_string_lossy()];
    let fetched = asked(fetcher.ask_within(FETCH_MAX, &words))?;
    let hash = |path: &Path| {
        let printed = output(&format!("sha256sum {}", path.display()))?;
        Ok::<_, String>(printed.split(' ').next().unwrap_or_default().to_owned())
    };
    if hash(&source)? != hash(&target.join("file"))? {
        return Err("other bytes arrived".to_owned());
    }
    let bytes = fetched["bytes"].as_u64().ok_or("fetch printed no bytes")?;
    let seconds = fetched["seconds"].as_f64().ok_or("fetch printed no seconds")?;
    Ok(Run { bytes, seconds })
}

/// The two nodes: at the ends of the line, or both on loopback of one namespace.
fn places(loopback: bool) -> [Place; 2] {
    let [a, b] = ADDRESSES;
    let listen = |ip: &str, port: u16| {
        if loopback { format!("127.0.0.1:{port}") } else { format!("{ip}:{PORT}") }
    };
    let place = |name: &str, listen: String, http: u16, entry: Option<String>| Place {
        name: name.to_owned(),
        namespace: format!("line-{}", if loopback { "a" } else { name }),
        listen,
        http: format!("127.0.0.1:{http}"),
        entry,
    };
    let first = listen(a, PORT);
    [place("a", first.clone(), 8080, None), place("b", listen(b, PORT + 1), 8081, Some(first))]
}

fn namespace(name: &str) -> Result<(), String> {
    call(&format!("ip netns add {name}"))?;
    call(&format!("ip -n {name} link set lo up"))
}

/// The processes of the line's ends, which are killed when it is dropped.
struct Line {
    ends: Vec<Child>,
    reports: Vec<PathBuf>,
}

impl Line {
    fn make(below: &Path, shape: shape::Shape) -> Result<Self, String> {
        let mut line = Self { ends: Vec::new(), reports: Vec::new() };
        let names = ["a", "b"];
        for (index, name) in names.into_iter().enumerate() {
            let (own, other) = (ADDRESSES[index], ADDRESSES[1 - index]);
            let (node, end) = (format!("line-{name}"), format!("line-end-{name}"));
            namespace(&node)?;
            namespace(&end)?;
            call(&format!("ip -n {node} link add eth0 type veth peer name eth0 netns {end}"))?;
            for (namespace, ip, peer) in [(&node, own, other), (&end, other, own)] {
                call(&format!("ip -n {namespace} addr add {ip} peer {peer} dev eth0"))?;
                call(&format!("ip -n {namespace} link set eth0 mtu {} up", shape.mtu))?;
            }
            call(&format!("ip -n {node} route add default dev eth0"))?;
            let report = below.join(format!("end-{name}"));
            let out = fs::File::create(&report).map_err(|error| error.to_string())?;
            let sockets = [name, names[1 - index]].map(|name| below.join(format!("socket-{name}")));
            let this = std::env::current_exe().map_err(|error| error.to_string())?;
            let mut command = Command::new("ip");
            command
                .args(["netns", "exec", &end])
                .arg(this)
                .arg(END_TASK)
                .args([format!("{other}:{PORT}"), format!("{own}:{PORT}")])
                .args(&sockets)
                .args(shape.words())
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(out);
            line.ends.push(command.spawn().map_err(|error| error.to_string())?);
            line.reports.push(report);
            wait_for(&sockets[0])?;
        }
        Ok(line)
    }

    /// The reports of the ends, one line per interval.
    fn said(&self) -> Result<String, String> {
        let read = |path: &PathBuf| fs::read_to_string(path).map_err(|error| error.to_string());
        self.reports.iter().map(read).collect()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for end in &mut self.ends {
            // Fails only if it has ended already.
            let _ = end.kill();
            let _ = end.wait();
        }
    }
}

fn wait_for(path: &Path) -> Result<(), String> {
    let deadline = Instant::now() + END_MAX;
    while !path.exists() {
        if Instant::now() > deadline {
            return Err("an end of the line did not start".to_owned());
        }
        sleep(LOOK);
    }
    Ok(())
}
