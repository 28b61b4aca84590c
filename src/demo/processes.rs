//! The child processes and the folder of a demo; both are removed when it ends.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::failure::Failure;

/// Prefix of the names of demo folders.
pub(crate) const FOLDER_PREFIX: &str = "potluck-demo-";

/// The processes and the folder that must not outlive the demo.
#[derive(Debug)]
pub(super) struct Processes {
    inner: Mutex<Inner>,
    path: PathBuf,
}

#[derive(Debug)]
struct Inner {
    children: Vec<Child>,
    /// `None` once [`Processes::close`] ran: no further process is started.
    folder: Option<TempDir>,
}

impl Processes {
    /// No processes yet, and a new folder.
    pub(super) fn open() -> Result<Arc<Self>, Failure> {
        let folder = tempfile::Builder::new()
            .prefix(FOLDER_PREFIX)
            .tempdir()
            .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")))?;
        let path = folder.path().to_owned();
        let inner = Inner { children: Vec::new(), folder: Some(folder) };
        Ok(Arc::new(Self { inner: Mutex::new(inner), path }))
    }

    /// A path in the folder.
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
        let mut inner = self.inner.lock();
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

    /// The process id of the `index`th process.
    pub(super) fn process_id(&self, index: usize) -> u32 {
        self.inner.lock().children.get(index).map_or(0, Child::id)
    }

    /// Kills a process (SIGKILL where there are signals).
    pub(super) fn kill(&self, index: usize) {
        if let Some(child) = self.inner.lock().children.get_mut(index) {
            // An error means that the process is already dead.
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
        let mut inner = self.inner.lock();
        for child in &mut inner.children {
            let _ = child.kill();
        }
        for child in &mut inner.children {
            let _ = child.wait();
        }
        inner.children.clear();
        if let Some(folder) = inner.folder.take() {
            // Files that cannot be removed are left to the system's cleaning of temporary folders.
            let _ = folder.close();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn nothing_outlives_the_processes_and_nothing_starts_after_them() {
        let processes = Processes::open().expect("folder");
        let folder = processes.path("");
        let (_, mut stdout) = processes.spawn(&mut Command::new("cat"), "cat").expect("starts");
        processes.close();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("the pipe is closed since the process is gone");
        assert!(!folder.exists());
        assert!(processes.spawn(&mut Command::new("cat"), "cat").is_err());
    }
}
