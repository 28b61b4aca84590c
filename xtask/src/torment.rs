//! `cargo xtask torment`: real node processes under faults, judged by the checker of histories.
//!
//! The task runs itself again inside a process namespace, a mount namespace and a network namespace
//! of its own, and makes everything there: one network namespace a node, wires, small disks.
//!
//! **Invariant:** nothing outlives the run. Whatever ends the inner process (its own end, a panic,
//! Ctrl-C or the death of the outer process, which closes its stdin), the kernel kills every
//! process of the process namespace and takes the namespaces, mounts and folders with it.

mod clients;
mod disk;
mod finale;
mod http;
mod lab;
mod nemesis;
mod node;
mod options;
mod plan;
mod recorder;
mod report;
mod run;
mod story;
mod tools;
mod topics;
mod watch;

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use options::Options;

pub(crate) use options::HELP;

/// Marks the process that runs inside the namespaces.
const INSIDE: &str = "POTLUCK_TORMENT_INSIDE";

/// Runs the task.
pub(crate) fn run(root: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    let options = Options::parse(args)?;
    if std::env::var_os(INSIDE).is_some() {
        end_with_stdin();
        return run::inside(root, &options);
    }
    tools::need(&["unshare", "mount", "ip", "tc", "nft", "sh"])?;
    if !can_unshare() {
        return Err(
            "it needs root and network namespaces, and this system refuses them: run it as \
                    root on Linux, outside of a container or in a privileged one"
                .to_owned(),
        );
    }
    let program = options.program(root)?;
    let mut child = unshare()
        .arg(std::env::current_exe().map_err(|error| format!("cannot find itself: {error}"))?)
        .arg("torment")
        .args(args)
        .arg("--program")
        .arg(program)
        .env(INSIDE, "1")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start unshare: {error}"))?;
    // Kept open: when this process ends, however it does, the inner one reads the end of its stdin.
    let stdin = child.stdin.take();
    let status = child.wait().map_err(|error| format!("cannot wait for the run: {error}"))?;
    drop(stdin);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// `unshare` with all namespaces of a run; without root as root of a user namespace.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !tools::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

fn can_unshare() -> bool {
    let mut command = unshare();
    command.args(["mount", "-t", "tmpfs", "none", "/run"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Ends this process, and with it all of the run, when the outer process is gone.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        std::process::exit(130);
    });
}
