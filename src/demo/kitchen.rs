//! The processes and the folder of a demo, and their certain end.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::failure::Failure;

/// What the names of demo folders begin with.
pub(crate) const FOLDER_PREFIX: &str = "potluck-demo-";

/// Holds what must not outlive the demo.
#[derive(Debug)]
pub(super) struct Kitchen {
    inner: Mutex<Inner>,
    path: PathBuf,
}

#[derive(Debug)]
struct Inner {
    children: Vec<Child>,
    /// `None` once the kitchen is closed: nothing is started any more.
    folder: Option<TempDir>,
}

impl Kitchen {
    /// An empty kitchen in a new folder.
    pub(super) fn open() -> Result<Arc<Self>, Failure> {
        let folder = tempfile::Builder::new()
            .prefix(FOLDER_PREFIX)
            .tempdir()
            .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")))?;
        let path = folder.path().to_owned();
        let inner = Inner { children: Vec::new(), folder: Some(folder) };
        Ok(Arc::new(Self { inner: Mutex::new(inner), path }))
    }

    /// A place in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The data folder of a node.
    pub(super) fn data_dir(&self, number: usize) -> PathBuf {
        self.path(&format!("node-{number}"))
    }

    /// Starts a process that ends with the demo, its stderr kept in a file called `name`.
    pub(super) fn spawn(
        &self,
        command: &mut Command,
        name: &str,
    ) -> Result<(usize, ChildStdout), Failure> {
        let cannot = |error| Failure::failed(format!("cannot start a node process: {error}"));
        let mut inner = self.lock();
        if inner.folder.is_none() {
            return Err(Failure::failed("the demo is over"));
        }
        let log = File::create(self.path(name)).map_err(cannot)?;
        // The pipe to stdin stays open as long as this process lives; then the node stops.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // Ctrl-C in the terminal is for the demo, which then ends its nodes.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut child = command.spawn().map_err(cannot)?;
        let stdout = child.stdout.take();
        inner.children.push(child);
        let stdout = stdout.ok_or_else(|| Failure::failed("a node process has no stdout"))?;
        Ok((inner.children.len() - 1, stdout))
    }

    /// The number by which the system knows a process.
    pub(super) fn process_id(&self, index: usize) -> u32 {
        self.lock().children.get(index).map_or(0, Child::id)
    }

    /// Kills a process (SIGKILL where there are signals).
    pub(super) fn kill(&self, index: usize) {
        if let Some(child) = self.lock().children.get_mut(index) {
            // It may be dead already, which is as good.
            let _ = child.kill();
        }
    }

    /// The last line that a process wrote to stderr.
    pub(super) fn last_words(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().next_back().unwrap_or("it said nothing").to_owned()
    }

    /// Kills all processes and removes the folder.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        for child in &mut inner.children {
            let _ = child.kill();
        }
        for child in &mut inner.children {
            let _ = child.wait();
        }
        inner.children.clear();
        if let Some(folder) = inner.folder.take() {
            // What the system does not let go it will clear away with its temporary files.
            let _ = folder.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No panic can leave this half changed in a way that matters to the end of the demo.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kitchen {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn nothing_outlives_the_kitchen_and_nothing_starts_after_it() {
        let kitchen = Kitchen::open().expect("folder");
        let folder = kitchen.path("");
        let (_, mut stdout) = kitchen.spawn(&mut Command::new("cat"), "cat").expect("starts");
        kitchen.close();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("the pipe is closed since the process is gone");
        assert!(!folder.exists());
        assert!(kitchen.spawn(&mut Command::new("cat"), "cat").is_err());
    }
}
