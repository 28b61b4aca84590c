//! Obtaining the programs: built from crates, from PyPI, from Debian's archive. What cannot be had
//! is noted with the reason. Nothing is installed: all lies below the target folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::options::{Options, System};
use super::play::capture;
use super::tell;
use crate::run::{self, Invocation};

/// The version from PyPI.
const LIBTORRENT: &str = "2.0.15";

/// What was obtained: each program, or why there is none.
pub(super) struct Obtained {
    /// `potluck-bench`, which measures Potluck, and Serf beside it.
    pub(super) bench: PathBuf,
    /// The folder of the repository.
    pub(super) root: PathBuf,
    /// `potluck`.
    pub(super) program: Result<PathBuf, String>,
    /// `potluck-peers`.
    pub(super) crates: Result<PathBuf, String>,
    /// A Python that knows libtorrent.
    pub(super) libtorrent: Result<PathBuf, String>,
    /// A Python and the environment in which it knows OpenDHT.
    pub(super) opendht: Result<OpenDht, String>,
    pub(super) serf: Result<PathBuf, String>,
}

/// How OpenDHT's Python module is found.
#[derive(Debug, Clone)]
pub(super) struct OpenDht {
    modules: PathBuf,
    libraries: PathBuf,
    version: String,
}

impl OpenDht {
    /// The distribution's Python, for which the module is built.
    pub(super) fn python(&self) -> Command {
        let mut command = Command::new("/usr/bin/python3");
        command.env("PYTHONPATH", &self.modules).env("LD_LIBRARY_PATH", &self.libraries);
        command
    }
}

/// Builds and downloads what the options ask for. Fails only where Potluck cannot be built.
pub(super) fn obtain(root: &Path, options: &Options) -> Result<Obtained, String> {
    let unasked = || "not asked for".to_owned();
    let wants = |system| options.wants(system).then_some(()).ok_or_else(unasked);
    let folder = target(root, "target").join("peers");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let bench = build(root, "bench", "potluck-bench")?;
    let of_crates = [System::Mainline, System::Kad, System::IrohBlobs];
    let crates = match of_crates.into_iter().any(|system| options.wants(system)) {
        true => build(root, "bench/peers", "potluck-peers"),
        false => Err(unasked()),
    };
    let serf = wants(System::Serf).and_then(|()| serf(&folder));
    let program = match &serf {
        Ok(_) => run::program(root, options.program.as_deref()),
        Err(_) => Err("nothing to compare it with".to_owned()),
    };
    Ok(Obtained {
        bench,
        root: root.to_owned(),
        program,
        crates,
        libtorrent: wants(System::Libtorrent).and_then(|()| libtorrent(&folder)),
        opendht: wants(System::OpenDht).and_then(|()| opendht(&folder)),
        serf,
    })
}

impl Obtained {
    /// Potluck's commit and the versions of all that was obtained.
    pub(super) fn versions(&self, root: &Path) -> String {
        let mut git = Command::new("git");
        git.args(["describe", "--always", "--dirty"]).current_dir(root);
        let mut all =
            vec![format!("Potluck {}", capture(&mut git).unwrap_or_else(|_| "?".to_owned()))];
        let lock = std::fs::read_to_string(root.join("bench/peers/Cargo.lock")).unwrap_or_default();
        if self.crates.is_ok() {
            all.extend(
                ["mainline", "libp2p", "libp2p-kad", "iroh", "iroh-blobs"]
                    .iter()
                    .filter_map(|name| Some(format!("{name} {}", locked(&lock, name)?))),
            );
        }
        if self.libtorrent.is_ok() {
            all.push(format!("libtorrent {LIBTORRENT}"));
        }
        if let Ok(opendht) = &self.opendht {
            all.push(format!("OpenDHT {}", opendht.version));
        }
        if let Ok(serf) = &self.serf {
            let version = capture(Command::new(serf).arg("version")).unwrap_or_default();
            let package = package_version(serf, "serf").unwrap_or_else(|| "?".to_owned());
            let says = version.lines().next().unwrap_or("?").to_owned();
            all.push(format!("Serf {package}, which calls itself {says}"));
        }
        all.join(", ")
    }
}

/// The version of a package in a lock file.
fn locked(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = ")?;
    Some(version.trim_matches('"').to_owned())
}

/// Cargo's target folder of a workspace, whose own one is `own`.
fn target(root: &Path, own: &str) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join(own), |folder| root.join(folder))
}

/// A program of a workspace below the root.
fn build(root: &Path, workspace: &str, program: &str) -> Result<PathBuf, String> {
    let words = format!("build --release --manifest-path {workspace}/Cargo.toml");
    if Invocation::cargo(&words).run(root)? != ExitCode::SUCCESS {
        return Err(format!("`cargo {words}` failed, see its words above"));
    }
    Ok(target(root, &format!("{workspace}/target")).join("release").join(program))
}

/// A virtual environment with the wheel.
fn libtorrent(folder: &Path) -> Result<PathBuf, String> {
    let environment = folder.join("venv");
    let python = environment.join("bin/python");
    let version = |python: &Path| {
        capture(Command::new(python).args(["-c", "import libtorrent; print(libtorrent.version)"]))
    };
    if !version(&python).is_ok_and(|version| version.starts_with(LIBTORRENT)) {
        tell("downloads libtorrent from PyPI");
        capture(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        capture(pip.arg(format!("libtorrent=={LIBTORRENT}")))?;
        version(&python)?;
    }
    Ok(python)
}

fn serf(folder: &Path) -> Result<PathBuf, String> {
    let program = debian(folder, "serf")?.join("usr/bin/serf");
    capture(Command::new(&program).arg("version"))?;
    Ok(program)
}

fn opendht(folder: &Path) -> Result<OpenDht, String> {
    let root = debian(folder, "python3-opendht")?;
    let library = |name: &str| name.starts_with("libopendht.so");
    let libraries = subfolders(&root.join("usr/lib"))
        .into_iter()
        .find(|folder| names(folder).iter().any(|name| library(name)))
        .ok_or("the packages of OpenDHT have no libopendht.so")?;
    let opendht = OpenDht {
        modules: root.join("usr/lib/python3/dist-packages"),
        libraries,
        version: package_version(&root, "python3-opendht").unwrap_or_else(|| "?".to_owned()),
    };
    capture(opendht.python().args(["-c", "import opendht"]))?;
    Ok(opendht)
}

/// Downloads a package of Debian, and those that it needs and the machine lacks, and unpacks them: the
/// folder that holds their `usr`. It needs neither root nor an installation.
fn debian(folder: &Path, package: &str) -> Result<PathBuf, String> {
    let folder = folder.join(package);
    let (archives, root) = (folder.join("archives"), folder.join("root"));
    // Unpacked last, so it is complete.
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(root);
    }
    tell(&format!("downloads {package} from the distribution's archive"));
    std::fs::create_dir_all(archives.join("partial")).map_err(|error| error.to_string())?;
    let option = |name: &str, value: &Path| {
        let mut text = OsString::from(format!("{name}="));
        text.push(value);
        text
    };
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--download-only", "--reinstall", "--no-install-recommends", "--yes"]);
    // The lock of the installed packages is not needed, and users may not take it.
    apt.args(["-o", "Debug::NoLocking=1", "-o"]).arg(option("Dir::Cache", &folder)).arg("-o");
    apt.arg(option("Dir::Cache::archives", &archives)).arg(package);
    capture(&mut apt)?;
    for name in names(&archives).iter().filter(|name| name.ends_with(".deb")) {
        let mut unpack = Command::new("dpkg-deb");
        capture(unpack.arg("--extract").arg(archives.join(name)).arg(&root))?;
    }
    std::fs::write(&complete, "").map_err(|error| error.to_string())?;
    Ok(root)
}

/// The version in the name of the archive that something was unpacked from.
fn package_version(unpacked: &Path, package: &str) -> Option<String> {
    let folder = unpacked.ancestors().find(|folder| folder.join("archives").is_dir())?;
    let names = names(&folder.join("archives"));
    let rest = names.iter().find_map(|name| name.strip_prefix(&format!("{package}_")))?;
    Some(rest.split('_').next()?.to_owned())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    names(folder).into_iter().map(|name| folder.join(name)).filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file_that_is_built() {
        let lock = include_str!("../../../bench/peers/Cargo.lock");
        let manifest = include_str!("../../../bench/peers/Cargo.toml");
        for name in ["mainline", "libp2p", "iroh", "iroh-blobs"] {
            let version = locked(lock, name).unwrap_or_default();
            assert!(manifest.contains(&format!("\"={version}\"")), "{name} {version}");
        }
        assert!(locked(lock, "libp2p-kad").is_some());
        assert_eq!(locked(lock, "libp2p-ka"), None);
    }
}
