//! `cargo xtask release`: the program for distribution, stripped, and its symbols and line tables in a
//! separate file.
//!
//! The program is built with line tables (profile `dist`). objcopy, which comes with every C compiler
//! on Linux, splits it. A debugger, perf, and the backtrace of a panic find the second file by the name
//! and checksum that the program names it with (a `.gnu_debuglink` section), if it lies beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::run::Invocation;

/// Where the two files go, below the workspace.
const FOLDER: &str = "target/release-files";

pub(crate) fn run(root: &Path) -> Result<ExitCode, String> {
    if !cfg!(target_os = "linux") {
        return Err("release splits ELF files, so it works on Linux only".to_owned());
    }
    let built = Invocation::cargo("build --profile dist -p potluck-cli").run(root)?;
    if built != ExitCode::SUCCESS {
        return Ok(built);
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let whole = target.join("dist/potluck");
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (program, lines) = (folder.join("potluck"), folder.join("potluck.debug"));
    objcopy(&["--only-keep-debug"], &whole, &lines)?;
    let link = format!("--add-gnu-debuglink={}", lines.display());
    objcopy(&["--strip-all", &link], &whole, &program)?;
    for file in [&program, &lines] {
        let size = file.metadata().map_err(|error| format!("{}: {error}", file.display()))?.len();
        print_size(file, size)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn objcopy(options: &[&str], from: &Path, to: &Path) -> Result<(), String> {
    let mut command = Command::new("objcopy");
    command.args(options).args([from, to]);
    let status = command
        .status()
        .map_err(|error| format!("cannot start objcopy: {error}; it is in the package binutils"))?;
    if status.success() { Ok(()) } else { Err(format!("objcopy failed on {}", from.display())) }
}

fn print_size(file: &Path, bytes: u64) -> Result<(), String> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{:>6.1} MB  {}", bytes as f64 / 1e6, file.display())
        .map_err(|error| error.to_string())
}
