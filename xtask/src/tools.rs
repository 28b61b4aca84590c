//! Finds and runs other programs.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

/// Whether this process is root in its user namespace.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Checks that all of these programs are installed.
pub(crate) fn need(programs: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "it needs {}, which this machine does not have: install iproute2, nftables and util-linux",
        missing.join(", ")
    ))
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Folders of administrators' programs, which the path of a user may not contain.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

/// Runs a program, split at spaces, to its end.
pub(crate) fn call(line: &str) -> Result<(), String> {
    call_with(line, "")
}

/// The same; returns its output.
pub(crate) fn output(line: &str) -> Result<String, String> {
    run(line, "")
}

/// The same, with an input.
pub(crate) fn call_with(line: &str, input: &str) -> Result<(), String> {
    run(line, input).map(drop)
}

fn run(line: &str, input: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let mut child = command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that reads nothing may have ended already; its exit code tells.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("`{line}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, process: u32) -> Result<(), String> {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {process}")])
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start sh: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cannot send {name} to {process}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_where_it_comes_from() {
        assert_eq!(need(&["sh"]), Ok(()));
        let error = need(&["sh", "potluck-no-such-program"]).expect_err("it is missing");
        assert!(error.starts_with("it needs potluck-no-such-program,"), "{error}");
    }
}
