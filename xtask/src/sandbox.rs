//! Runs a task in namespaces of its own: its links, mounts and processes end with it.
//!
//! A task that needs them runs itself again inside a process, a mount and a network namespace of its own, and
//! creates everything there.
//!
//! **Invariant:** nothing outlives the run. Whatever ends the inner process (its own end, a panic,
//! Ctrl-C or the death of the outer process, which closes its stdin), the kernel kills every
//! process of the process namespace and takes the namespaces, mounts and folders with it. A later run
//! therefore finds nothing to remove.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::process::{Command, ExitCode, Stdio};

use crate::tools;

/// Marks the process that runs inside the namespaces.
const INSIDE: &str = "POTLUCK_XTASK_INSIDE";
/// The folder of the inner process's files: a file system of its mount namespace only.
pub(crate) const FOLDER: &str = "/run";

/// Whether this is the inner process. If so, it ends from then on when the outer one does.
pub(crate) fn is_inside() -> bool {
    let inside = std::env::var_os(INSIDE).is_some();
    if inside {
        end_with_stdin();
    }
    inside
}

/// Why namespaces are not available, or which of `programs` is missing; `None` if the task can run.
pub(crate) fn refusal(programs: &[&str]) -> Option<String> {
    let all = [&["unshare", "mount"], programs].concat();
    if let Err(missing) = tools::need(&all) {
        return Some(missing);
    }
    let refused = "it needs root and network namespaces, and this system refuses them: run it as \
                   root on Linux, outside of a container or in a privileged one";
    (!can_unshare()).then(|| refused.to_owned())
}

/// Runs `xtask TASK ARGS..` inside, to its end; the exit code is its own.
pub(crate) fn run_inside<'a>(
    task: &str,
    args: impl IntoIterator<Item = &'a OsString>,
) -> Result<ExitCode, String> {
    let mut child = unshare()
        .arg(std::env::current_exe().map_err(|error| format!("cannot find itself: {error}"))?)
        .arg(task)
        .args(args)
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

/// Mounts [`FOLDER`], inside.
pub(crate) fn mount(task: &str) -> Result<(), String> {
    tools::call(&format!("mount -t tmpfs -o mode=755 {task} {FOLDER}"))
}

/// Removes the user's settings and the mark of the inner process from the command of a node.
pub(crate) fn without_settings(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        if is_setting(&variable) {
            command.env_remove(variable);
        }
    }
}

fn is_setting(variable: &OsStr) -> bool {
    variable.to_string_lossy().starts_with("POTLUCK_")
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
    command.args(["mount", "-t", "tmpfs", "none", FOLDER]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Ends this process, and with it all of the run, when the outer process has ended.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        std::process::exit(130);
    });
}
