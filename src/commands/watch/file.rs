//! `--out`: writes the value of a record to a file, which is replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file that always has all bytes of one value.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    /// A temporary file in the same folder, which is renamed to the file.
    aside: PathBuf,
}

impl Target {
    /// Checks that a file can be written there.
    ///
    /// # Errors
    /// Wrong usage: the folder does not exist or cannot be written to, or the path is a folder.
    pub(super) fn of(typed: &Path) -> Result<Self, Failure> {
        let wrong =
            |error: String| Failure::usage(format!("cannot write {}: {error}", typed.display()));
        // The target of a link is replaced, not the link.
        let path = match fs::canonicalize(typed) {
            Ok(path) => path,
            Err(_) => typed.to_owned(),
        };
        if path.is_dir() {
            return Err(wrong("it is a folder".to_owned()));
        }
        let name = path.file_name().ok_or_else(|| wrong("it has no name".to_owned()))?;
        let aside = format!(".{}.{}.potluck", name.to_string_lossy(), std::process::id());
        let target = Self { aside: path.with_file_name(aside), path };
        let file = target.begin().map_err(|error| wrong(error.to_string()))?;
        drop(file);
        fs::remove_file(&target.aside).map_err(|error| wrong(error.to_string()))?;
        Ok(target)
    }

    /// Makes the temporary file; a file that another user put there under that name is not written to.
    fn begin(&self) -> io::Result<File> {
        match fs::remove_file(&self.aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => OpenOptions::new().write(true).create_new(true).open(&self.aside),
        }
    }

    /// Replaces the file by one with these bytes. A reader sees the old bytes or the new ones, also after
    /// a power cut.
    ///
    /// # Errors
    /// The disk is full, or the folder is gone. The file is unchanged.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.replace(bytes).map_err(|error| {
            let _ = fs::remove_file(&self.aside);
            Failure::failed(format!("cannot write {}: {error}", self.path.display()))
        })
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.begin()?;
        file.write_all(bytes)?;
        if let Ok(before) = fs::metadata(&self.path) {
            file.set_permissions(before.permissions())?;
        }
        file.sync_all()?;
        drop(file);
        fs::rename(&self.aside, &self.path)?;
        // The rename is durable once the folder is synced. Some systems cannot open folders.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("value");
        let target = Target::of(&path).expect("a target");
        assert!(!path.exists(), "nothing is written before there is a value");
        for bytes in [&b"long first value"[..], b"\xff\0", b""] {
            target.write(bytes).expect("written");
            assert_eq!(fs::read(&path).expect("the file"), bytes);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().expect("folder");
        let (path, link) = (folder.path().join("value"), folder.path().join("link"));
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("permissions");
        symlink(&path, &link).expect("a link");
        Target::of(&link).expect("a target").write(b"new").expect("written");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).expect("the file"), b"new");
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn what_another_user_put_under_its_own_name_is_not_written_to() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, other) = (folder.path().join("value"), folder.path().join("other"));
        fs::write(&other, "not touched").expect("written");
        let target = Target::of(&path).expect("a target");
        std::os::unix::fs::symlink(&other, &target.aside).expect("a link");
        target.write(b"new").expect("written");
        assert_eq!(fs::read(&other).expect("the file"), b"not touched");
        assert_eq!(fs::read(&path).expect("the file"), b"new");
        assert!(!path.is_symlink());
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_wrong_usage() {
        let folder = tempfile::tempdir().expect("folder");
        for path in [folder.path().to_owned(), folder.path().join("no/folder/here")] {
            assert_eq!(Target::of(&path).expect_err("refused").exit, Exit::Usage);
        }
        let target = Target::of(&folder.path().join("value")).expect("a target");
        fs::remove_dir(folder.path()).expect("removed");
        assert!(target.write(b"a").is_err());
    }
}
