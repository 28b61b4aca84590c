//! Reading the workspace: its files from the disk, its packages from `cargo metadata`.
//!
//! **Invariant:** this is the only file of tidy that performs I/O. All paths it returns are relative to the
//! root of the workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::licences;
use super::modules;
use super::source::Source;
use crate::run::cargo;

/// The input of the checks.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The members of the workspace.
    pub(crate) packages: Vec<Package>,
    /// Every Rust file, also those outside the workspace (`bench/`).
    pub(crate) sources: Vec<Source>,
    /// The Markdown files at the root and in `docs/`.
    pub(crate) documents: Vec<Document>,
    /// The paths of all files.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Everything that the lock file names, our own packages included.
    pub(crate) externals: Vec<External>,
    /// What is allowed of it: `deny.toml`.
    pub(crate) policy: String,
}

/// A package of the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// The licence it names, as an SPDX expression.
    pub(crate) licence: Option<String>,
    /// Where it comes from; `None`: from a path.
    pub(crate) source: Option<String>,
}

/// A member of the workspace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    /// Its name for cargo.
    pub(crate) name: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest: PathBuf,
    /// The contents of that file.
    pub(crate) manifest_text: String,
    /// The first file of each library, program, test, bench and build script.
    pub(crate) targets: Vec<PathBuf>,
    /// Its dependencies of all kinds.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency between two packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package that is depended on.
    pub(crate) name: String,
    /// Whether only a feature enables it.
    pub(crate) optional: bool,
    /// Whether only tests need it.
    pub(crate) dev: bool,
}

/// A Markdown file.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its contents.
    pub(crate) text: String,
}

impl Package {
    /// The folder of the package; empty for the one at the root.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new(""))
    }

    /// The line of the manifest that names `dependency`; the first one if none does.
    pub(crate) fn line_naming(&self, dependency: &str) -> usize {
        self.manifest_text
            .lines()
            .position(|line| {
                line.trim_start()
                    .trim_start_matches('"')
                    .strip_prefix(dependency)
                    .is_some_and(|rest| rest.starts_with(['.', ' ', '=', '"']))
            })
            .map_or(1, |index| index + 1)
    }
}

impl Workspace {
    /// Reads all of the workspace at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let packages = read_packages(root)?;
        let mut files = BTreeSet::new();
        collect_files(root, Path::new(""), &mut files)?;
        let (mut sources, mut documents) = (Vec::new(), Vec::new());
        for path in &files {
            let folder = path.parent().unwrap_or(Path::new(""));
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source::new(path, read(&root.join(path))?));
            } else if path.extension().is_some_and(|extension| extension == "md")
                && (folder == "" || path.starts_with("docs"))
            {
                documents.push(Document { path: path.clone(), text: read(&root.join(path))? });
            }
        }
        modules::mark_test_modules(&packages, &mut sources);
        let externals = parse_externals(&metadata(root, &[])?)?;
        let policy = read(&root.join(licences::POLICY)).unwrap_or_default();
        Ok(Self { packages, sources, documents, files, externals, policy })
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Adds every file below `root/folder`, except those of git and build outputs.
fn collect_files(root: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), String> {
    let failed = |error| format!("cannot list {}: {error}", root.join(folder).display());
    for entry in fs::read_dir(root.join(folder)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let path = folder.join(&name);
        if entry.file_type().map_err(failed)?.is_dir() {
            if name != ".git" && name != "target" {
                collect_files(root, &path, files)?;
            }
        } else if name != ".git" {
            files.insert(path);
        }
    }
    Ok(())
}

fn metadata(root: &Path, more: &[&str]) -> Result<Vec<u8>, String> {
    let output = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(more)
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot start cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output.stdout)
}

fn read_packages(root: &Path) -> Result<Vec<Package>, String> {
    let mut packages = parse_metadata(&metadata(root, &["--no-deps"])?)?;
    for package in &mut packages {
        package.manifest_text = read(&root.join(&package.manifest))?;
    }
    Ok(packages)
}

/// The packages in the output of `cargo metadata --no-deps`, without the manifests' texts.
fn parse_metadata(json: &[u8]) -> Result<Vec<Package>, String> {
    let value: Value =
        serde_json::from_slice(json).map_err(|error| format!("cargo metadata: {error}"))?;
    let root = text_of(&value, "workspace_root")?;
    let relative = |path: &str| {
        let path = Path::new(path);
        path.strip_prefix(root).unwrap_or(path).to_path_buf()
    };
    let package_of = |package: &Value| {
        let targets = list_of(package, "targets")?
            .iter()
            .map(|target| text_of(target, "src_path").map(relative))
            .collect::<Result<_, _>>()?;
        let dependencies = list_of(package, "dependencies")?
            .iter()
            .map(dependency_of)
            .collect::<Result<_, _>>()?;
        Ok(Package {
            name: text_of(package, "name")?.to_owned(),
            manifest: relative(text_of(package, "manifest_path")?),
            manifest_text: String::new(),
            targets,
            dependencies,
        })
    };
    list_of(&value, "packages")?.iter().map(package_of).collect()
}

/// All packages in the output of `cargo metadata`.
fn parse_externals(json: &[u8]) -> Result<Vec<External>, String> {
    let value: Value =
        serde_json::from_slice(json).map_err(|error| format!("cargo metadata: {error}"))?;
    let external_of = |package: &Value| {
        Ok(External {
            name: text_of(package, "name")?.to_owned(),
            version: text_of(package, "version")?.to_owned(),
            licence: package["license"].as_str().map(str::to_owned),
            source: package["source"].as_str().map(str::to_owned),
        })
    };
    list_of(&value, "packages")?.iter().map(external_of).collect()
}

fn dependency_of(value: &Value) -> Result<Dependency, String> {
    Ok(Dependency {
        name: text_of(value, "name")?.to_owned(),
        optional: value["optional"] == Value::Bool(true),
        dev: value["kind"] == "dev",
    })
}

fn text_of<'a>(value: &'a Value, field: &str) -> Result<&'a str, String> {
    value[field].as_str().ok_or_else(|| format!("cargo metadata has no text `{field}`"))
}

fn list_of<'a>(value: &'a Value, field: &str) -> Result<&'a [Value], String> {
    let list = value[field].as_array().ok_or_else(|| format!("cargo metadata has no `{field}`"))?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "workspace_root": "/ws",
        "packages": [{
            "name": "potluck-dht",
            "manifest_path": "/ws/crates/dht/Cargo.toml",
            "targets": [{"kind": ["lib"], "src_path": "/ws/crates/dht/src/lib.rs"}],
            "dependencies": [
                {"name": "potluck-base", "kind": null, "optional": false},
                {"name": "proptest", "kind": "dev", "optional": false}
            ]
        }]
    }"#;

    #[test]
    fn packages_are_read_with_paths_relative_to_the_root() {
        let packages = parse_metadata(METADATA.as_bytes()).unwrap();
        let [package] = packages.as_slice() else { panic!("one package, not {packages:?}") };
        assert_eq!(package.name, "potluck-dht");
        assert_eq!(package.folder(), Path::new("crates/dht"));
        assert_eq!(package.targets, [Path::new("crates/dht/src/lib.rs")]);
        let arrows: Vec<_> =
            package.dependencies.iter().map(|arrow| (arrow.name.as_str(), arrow.dev)).collect();
        assert_eq!(arrows, [("potluck-base", false), ("proptest", true)]);
    }

    #[test]
    fn metadata_of_another_shape_is_an_error_not_an_empty_workspace() {
        assert!(parse_metadata(b"{}").is_err());
        assert!(parse_metadata(b"no json").is_err());
        assert!(parse_metadata(METADATA.replace("targets", "things").as_bytes()).is_err());
    }

    #[test]
    fn a_dependency_is_found_in_its_manifest() {
        let manifest_text = "[dependencies]\npotluck-base-x = 1\npotluck-base.workspace = true\n";
        let package = Package { manifest_text: manifest_text.into(), ..Package::default() };
        assert_eq!(package.line_naming("potluck-base"), 3);
        assert_eq!(package.line_naming("tokio"), 1);
    }
}
