//! The destination of a fetch: the folder and the names of the fetched files.
//!
//! The name in the link wins. If the link leaves it out, the name that holders of the content use is
//! taken, cleaned and only as far as it fits the link. A name that the file system does not accept is
//! shortened, paths of a folder that the file system treats as one are kept apart, and both are reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use potluck_base::BlobId;
use potluck_store::blobs::{BlobError, SegmentTarget, create_folder, name_bytes_max};
use potluck_swarm::path::{kept_apart, shortened};
use potluck_swarm::{FileLink, Manifest};

use super::FilesError;

/// Suffix of the names of incomplete files.
const ASIDE_END: &str = ".potluck";
/// Bytes that the name of an incomplete file has in addition: dots, a mark of the content, the suffix.
const ASIDE_BYTES: usize = 2 + MARK_CHARS + SPARE_BYTES + ASIDE_END.len();
/// Bytes of `saved.`, `copy.` or `old.` in the names of further files beside the destination.
const SPARE_BYTES: usize = 6;
/// Characters of an id that tell two contents of one name apart.
const MARK_CHARS: usize = 8;

/// The folder that a fetch writes into, which is created if it does not exist.
#[derive(Debug, Clone)]
pub enum To {
    /// A path whose symlinks are followed.
    Typed(PathBuf),
    /// A path without symlinks; one that is created meanwhile is not followed.
    Real(PathBuf),
}

/// What a fetch does with files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchOptions {
    /// Replace files that an earlier fetch put there and that were not changed since.
    pub update: bool,
    /// Replace every file that is in the way.
    pub force: bool,
}

/// The destination of one fetch.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) name: String,
    folder: PathBuf,
    mark: String,
    name_bytes_max: usize,
    /// The treatment of files that exist already.
    options: FetchOptions,
    /// The path while the content is incomplete.
    pub(super) aside: PathBuf,
    /// The final path.
    pub(super) there: PathBuf,
}

/// The paths of a fetched folder's files below the destination.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Renamed paths, by the path in the manifest.
    renamed: BTreeMap<String, String>,
    /// Paths that differ from the shared ones, each with the reason.
    pub(super) failed: Vec<(String, String)>,
}

impl Destination {
    pub(super) fn new(link: &FileLink, to: &To, options: FetchOptions) -> Result<Self, FilesError> {
        let folder = match to {
            To::Typed(to) => {
                let io = |source| BlobError::Io { path: to.clone(), source };
                std::fs::create_dir_all(to).map_err(io)?;
                to.canonicalize().map_err(io)?
            }
            To::Real(to) => {
                let io = |source| BlobError::Io { path: to.clone(), source };
                create_folder(to).map_err(io)?;
                to.clone()
            }
        };
        let mark = link.id.to_string()[..MARK_CHARS].to_owned();
        let name_bytes_max = name_bytes_max(&folder);
        let name = link.file_name();
        let room = name_bytes_max.saturating_sub(ASIDE_BYTES);
        let aside = format!(".{}.{mark}{ASIDE_END}", shortened(&name, room, ""));
        let (aside, there) = (folder.join(aside), PathBuf::new());
        let mut destination = Self { name, folder, mark, name_bytes_max, options, aside, there };
        destination.set_there();
        Ok(destination)
    }

    /// Takes the name that a holder of the content uses, as far as the link leaves it open.
    pub(super) fn name_by(&mut self, link: &FileLink, hint: Option<&str>) {
        self.name = link.file_name_with(hint);
        self.set_there();
    }

    fn set_there(&mut self) {
        self.there = self.folder.join(self.fitting(&self.name));
    }

    /// A name that the file system accepts.
    fn fitting(&self, name: &str) -> String {
        shortened(name, self.name_bytes_max, &format!("~{}", self.mark))
    }

    /// If the name differs from the shared one: the shared name and the reason.
    pub(super) fn renamed(&self) -> Option<(String, String)> {
        let fitting = self.fitting(&self.name);
        (fitting != self.name).then(|| (self.name.clone(), self.too_long(&fitting)))
    }

    fn too_long(&self, to: &str) -> String {
        let max = self.name_bytes_max;
        format!("it is there as `{to}`: names have at most {max} bytes in this file system")
    }

    /// The treatment of files that exist already.
    pub(super) const fn options(&self) -> FetchOptions {
        self.options
    }

    /// The path that keeps the remains of an interrupted fetch until their bytes were used.
    pub(super) fn left_over(&self) -> PathBuf {
        self.beside("old")
    }

    /// The path of a copy of content that lies elsewhere on this machine.
    pub(super) fn copied(&self) -> PathBuf {
        self.beside("copy")
    }

    /// The path for the complete files of a folder whose other files cannot be fetched.
    pub(super) fn saved(&self) -> PathBuf {
        self.beside("saved")
    }

    fn beside(&self, what: &str) -> PathBuf {
        self.aside.with_extension(format!("{what}{ASIDE_END}"))
    }

    /// Checks that a folder may be written to the final path: a folder is there, or nothing.
    pub(super) fn check_folder(&self) -> Result<(), FilesError> {
        match self.there.symlink_metadata() {
            Ok(seen) if !seen.is_dir() => Err(FilesError::Exists(self.there.clone())),
            _ => Ok(()),
        }
    }

    pub(super) fn check_free(&self) -> Result<(), FilesError> {
        // A dangling link counts as well: nothing is written through it.
        match self.there.symlink_metadata() {
            Ok(_) => Err(FilesError::Exists(self.there.clone())),
            Err(_) => Ok(()),
        }
    }

    /// How the files of a folder are to lie here. Looks at the file system if need be.
    pub(super) fn plan(&self, manifest: &Manifest) -> Result<Plan, FilesError> {
        let mut plan = Plan::default();
        let folders = manifest.empty_folders().iter().map(String::as_str);
        let paths =
            || manifest.files().iter().map(|file| file.path.as_str()).chain(folders.clone());
        let alike = kept_apart(paths());
        if !alike.is_empty() && self.takes_for_one()? {
            for one in alike {
                let reason = format!(
                    "it is there as `{}`: this file system takes it and `{}` for one",
                    one.to, one.other
                );
                plan.failed.push((one.path.clone(), reason));
                plan.renamed.insert(one.path, one.to);
            }
        }
        for path in paths() {
            let to = plan.renamed.get(path).map_or(path, String::as_str);
            let long = |part: &str| part.len() > self.name_bytes_max;
            if to.split('/').any(long) {
                // The hash of what is cut keeps names apart that begin alike.
                let parts = to.split('/').map(|part| {
                    let mark =
                        format!("~{}", &BlobId::of(part.as_bytes()).to_string()[..MARK_CHARS]);
                    shortened(part, self.name_bytes_max, &mark)
                });
                let to = parts.collect::<Vec<_>>().join("/");
                plan.failed.push((path.to_owned(), self.too_long(&to)));
                plan.renamed.insert(path.to_owned(), to);
            }
        }
        Ok(plan)
    }

    /// Whether the file system ignores case or Unicode forms.
    fn takes_for_one(&self) -> Result<bool, FilesError> {
        let probe = self.folder.join(format!(".probe.{}{ASIDE_END}", self.mark));
        let io = |source| BlobError::Io { path: probe.clone(), source };
        let _ = std::fs::remove_dir_all(&probe);
        create_folder(&probe).map_err(io)?;
        let made = std::fs::write(probe.join("\u{e4}"), "");
        let seen = ["\u{c4}", "a\u{308}"].iter().any(|name| probe.join(name).exists());
        let removed = std::fs::remove_dir_all(&probe);
        made.and(removed).map_err(io)?;
        Ok(seen)
    }
}

impl Plan {
    /// Where a path of the folder goes below `base`.
    pub(super) fn place(&self, base: &Path, path: &str) -> PathBuf {
        base.join(self.renamed.get(path).map_or(path, String::as_str))
    }

    /// Where all files go below `base`.
    pub(super) fn targets(&self, base: &Path, manifest: &Manifest) -> Vec<SegmentTarget> {
        let files = manifest.files().iter();
        let target = |file: &potluck_swarm::ManifestFile| SegmentTarget {
            path: self.place(base, &file.path),
            bytes: file.bytes,
            executable: file.executable,
            mtime: file.mtime,
        };
        files.map(target).collect()
    }

    /// The paths of all files below the folder.
    pub(super) fn below(&self, manifest: &Manifest) -> Vec<PathBuf> {
        let place = |file: &potluck_swarm::ManifestFile| self.place(Path::new(""), &file.path);
        manifest.files().iter().map(place).collect()
    }

    /// Makes the folders that have no file in them.
    pub(super) fn make_folders(&self, base: &Path, manifest: &Manifest) -> Result<(), FilesError> {
        for folder in manifest.empty_folders() {
            let path = self.place(base, folder);
            create_folder(&path).map_err(|source| BlobError::Io { path, source })?;
        }
        Ok(())
    }
}

/// A folder that is fetched.
#[derive(Debug)]
pub(super) struct Folder {
    /// The id of its manifest.
    pub(super) id: BlobId,
    pub(super) manifest: Manifest,
    pub(super) plan: Plan,
}

/// The paths of a fetch's files below the destination. The path of a single file is empty.
pub(super) type Below = Vec<PathBuf>;

pub(super) fn below_of(folder: Option<&Folder>) -> Below {
    folder.map_or_else(|| vec![PathBuf::new()], |folder| folder.plan.below(&folder.manifest))
}

/// The paths of a fetch's files at `there`.
pub(super) fn paths_at(there: &Path, below: &Below) -> Vec<PathBuf> {
    below.iter().map(|below| at(there, below)).collect()
}

/// One path of [`Below`] at `there`.
pub(super) fn at(there: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { there.to_owned() } else { there.join(below) }
}

/// The file or folder on the way to a path that is not complete, if there is one.
pub(super) fn aside_of(path: &Path) -> Option<&Path> {
    path.ancestors().filter(|path| is_aside(path)).last()
}

fn is_aside(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with('.') && name.ends_with(ASIDE_END))
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_swarm::{LinkKind, ManifestFile};

    fn destination(folder: &Path, name: &str) -> Destination {
        let link = FileLink::new(LinkKind::File, BlobId::of(b"x"), name);
        Destination::new(&link, &To::Typed(folder.to_owned()), FetchOptions::default()).unwrap()
    }

    #[test]
    fn names_of_any_length_have_room_beside_and_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x".repeat(255), "文".repeat(85), format!("{}.tar", "ü".repeat(120))] {
            let link = FileLink::new(LinkKind::File, BlobId::of(b"x"), &name);
            let mut destination = Destination::new(
                &link,
                &To::Typed(folder.path().to_owned()),
                FetchOptions::default(),
            )
            .unwrap();
            destination.name_by(&link, Some(&name));
            assert_eq!((destination.name.as_str(), destination.renamed()), (name.as_str(), None));
            std::fs::write(&destination.aside, "").unwrap();
            std::fs::rename(&destination.aside, &destination.there).unwrap();
            assert!(folder.path().join(&name).exists());
            // A file system of shorter names.
            destination.name_bytes_max = 143;
            destination.set_there();
            let short = destination.there.file_name().unwrap().len();
            assert!(
                (139..=143).contains(&short) && destination.renamed().is_some(),
                "{destination:?}"
            );
            assert_eq!(destination.there.extension(), Path::new(&name).extension());
        }
    }

    #[test]
    fn paths_of_a_folder_that_do_not_fit_are_kept_apart_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut destination = destination(folder.path(), "dish");
        destination.name_bytes_max = 20;
        let long = [format!("{}a", "x".repeat(30)), format!("{}b", "x".repeat(30))];
        let file = |path: &String| ManifestFile {
            path: format!("sub/{path}"),
            bytes: 1,
            executable: false,
            mtime: None,
        };
        let files = long.iter().map(file).collect();
        let manifest = Manifest::new(BlobId::of(b"x"), files).unwrap();
        let plan = destination.plan(&manifest).unwrap();
        let targets = plan.targets(Path::new("/t"), &manifest);
        assert_ne!(targets[0].path, targets[1].path);
        assert!(targets.iter().all(|file| file.path.file_name().unwrap().len() <= 20));
        assert_eq!(plan.failed.len(), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn what_is_not_complete_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let destination = destination(folder.path(), "dish");
        assert_eq!(aside_of(&destination.aside.join("a/b")), Some(destination.aside.as_path()));
        assert_eq!(aside_of(&destination.aside), Some(destination.aside.as_path()));
        assert_eq!(aside_of(&destination.there), None);
    }
}
