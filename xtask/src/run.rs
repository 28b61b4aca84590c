//! Starting cargo: the steps of `ci` and the tasks that only forward their arguments.
//!
//! **Invariant:** every command is printed before it runs, in a form that can be pasted.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::tidy;

/// One run of cargo: its arguments, and the environment it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    args: Vec<OsString>,
    env: Option<(&'static str, &'static str)>,
}

impl Invocation {
    /// `cargo` with these words.
    pub(crate) fn cargo(words: &str) -> Self {
        Self { args: words.split_whitespace().map(OsString::from).collect(), env: None }
    }

    /// The command of a forwarding task with the given arguments; `None` for any other task.
    pub(crate) fn of_task(task: &str, args: &[OsString]) -> Option<Self> {
        let mut invocation = Self::cargo(match task {
            "sim" => "run --release -p potluck-cli -- sim",
            "fuzz" => "run --release -p potluck-fuzz --",
            "bench" => "run --release --manifest-path bench/Cargo.toml --",
            "docs" => "doc --workspace --no-deps",
            "traces" => "test -p potluck-sim --test traces",
            "ipv6" => "test -p potluck-cli --test end_to_end --",
            _ => return None,
        });
        invocation.env = match task {
            "docs" => Some(("RUSTDOCFLAGS", "-Dwarnings")),
            "traces" => Some(("POTLUCK_WRITE_TRACES", "1")),
            "ipv6" => Some(("POTLUCK_TEST_ADDRESS", "::1")),
            _ => None,
        };
        invocation.args.extend_from_slice(args);
        Some(invocation)
    }

    /// Runs it in `root`; the exit code is the child's.
    pub(crate) fn run(&self, root: &Path) -> Result<ExitCode, String> {
        announce(&format!("$ {self}"))?;
        let mut command = cargo();
        command.args(&self.args).current_dir(root).envs(self.env);
        let status = command.status().map_err(|error| format!("cannot start `{self}`: {error}"))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

impl std::fmt::Display for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((name, value)) = self.env {
            write!(f, "{name}={value} ")?;
        }
        write!(f, "cargo")?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", arg.display()))
    }
}

/// The cargo that started this program, without the variables it set: build scripts that watch them would
/// otherwise run again, and everything that depends on them would be rebuilt.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if describes_our_package(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_our_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// The program to test: the named one, else the release build, which is brought up to date.
pub(crate) fn program(root: &Path, named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(program) = named {
        return program
            .canonicalize()
            .map_err(|error| format!("cannot find {}: {error}", program.display()));
    }
    let build = Invocation::cargo("build --release -p potluck-cli --bin potluck");
    if build.run(root)? != ExitCode::SUCCESS {
        return Err("the program could not be built".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |folder| root.join(folder));
    Ok(target.join("release/potluck"))
}

/// One step of [`ci`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `cargo` with these words.
    Cargo(&'static str),
    /// The house rules, in this process.
    Tidy,
}

/// The checks that a change must pass, cheapest first. `bench/` is a workspace of its own that no other step
/// builds, and it uses the library as other projects do: a change of the library must not break it.
const CI: [Step; 5] = [
    Step::Cargo("fmt --all --check"),
    Step::Cargo("clippy --workspace --all-targets -- -D warnings"),
    Step::Tidy,
    Step::Cargo("clippy --manifest-path bench/Cargo.toml --all-targets -- -D warnings"),
    Step::Cargo("test --workspace"),
];

/// Runs all steps; stops at the first that fails.
pub(crate) fn ci(root: &Path) -> Result<ExitCode, String> {
    let started = Instant::now();
    for step in CI {
        let code = match step {
            Step::Cargo(words) => Invocation::cargo(words).run(root)?,
            Step::Tidy => {
                announce("$ cargo xtask tidy")?;
                tidy::run(root, false)?
            }
        };
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    announce(&format!("all passed in {} s", started.elapsed().as_secs()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line to stderr, as cargo does, so that the order of lines is kept.
fn announce(line: &str) -> Result<(), String> {
    writeln!(io::stderr(), "{line}").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(task: &str, args: &[&str]) -> Option<String> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Invocation::of_task(task, &args).map(|invocation| invocation.to_string())
    }

    #[test]
    fn arguments_are_forwarded_to_the_program_not_to_cargo() {
        assert_eq!(
            shown("sim", &["--seeds", "9"]).as_deref(),
            Some("cargo run --release -p potluck-cli -- sim --seeds 9")
        );
        assert_eq!(
            shown("fuzz", &["wire"]).as_deref(),
            Some("cargo run --release -p potluck-fuzz -- wire")
        );
        assert_eq!(
            shown("bench", &[]).as_deref(),
            Some("cargo run --release --manifest-path bench/Cargo.toml --")
        );
    }

    #[test]
    fn documentation_is_built_with_warnings_as_errors() {
        assert_eq!(
            shown("docs", &[]).as_deref(),
            Some("RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps")
        );
    }

    #[test]
    fn traces_are_written_by_the_test_that_compares_them() {
        assert_eq!(
            shown("traces", &[]).as_deref(),
            Some("POTLUCK_WRITE_TRACES=1 cargo test -p potluck-sim --test traces")
        );
    }

    #[test]
    fn every_workspace_of_the_repository_is_compiled_by_ci() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent");
        let folders = std::fs::read_dir(root).expect("the root can be read");
        let manifests = folders.filter_map(|folder| {
            let path = folder.ok()?.path().join("Cargo.toml");
            let text = std::fs::read_to_string(&path).ok()?;
            let own = text.lines().any(|line| line == "[workspace]");
            own.then(|| path.strip_prefix(root).expect("below the root").to_owned())
        });
        let mut others = 0;
        for manifest in manifests {
            others += 1;
            let compiled = CI.iter().any(|step| match step {
                Step::Cargo(words) => {
                    words.contains("--all-targets") && words.contains(&*manifest.to_string_lossy())
                }
                Step::Tidy => false,
            });
            assert!(compiled, "{} is compiled by no step", manifest.display());
        }
        assert!(others > 0, "bench/ has a workspace of its own");
    }

    #[test]
    fn the_script_of_ci_runs_the_same_steps() {
        let script = include_str!("../../.ci/run");
        for step in CI {
            let line = match step {
                Step::Cargo(words) => format!("step cargo {words}"),
                Step::Tidy => "step cargo xtask tidy".to_owned(),
            };
            assert!(script.lines().any(|of| of == line), "`{line}` is missing in .ci/run");
        }
    }

    #[test]
    fn the_program_is_built_with_overflow_checks() {
        let manifest = include_str!("../../Cargo.toml");
        let release = manifest.split("[profile.release]\n").nth(1).expect("a release profile");
        let own = release.split("\n[").next().unwrap_or_default();
        assert!(own.lines().any(|line| line == "overflow-checks = true"), "{own}");
    }

    #[test]
    fn an_unknown_task_runs_nothing() {
        assert_eq!(shown("deploy", &[]), None);
    }

    #[test]
    fn only_the_variables_of_our_own_package_are_hidden_from_cargo() {
        assert!(describes_our_package(OsStr::new("CARGO_PKG_NAME")));
        assert!(describes_our_package(OsStr::new("CARGO_MANIFEST_DIR")));
        assert!(!describes_our_package(OsStr::new("CARGO_TARGET_DIR")));
    }
}
