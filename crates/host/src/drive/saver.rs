//! Saves contacts without blocking the drive loop.

use tokio::task::JoinHandle;

use potluck_base::Contact;

use crate::folder::DataFolder;

/// Writes one list at a time. Of the lists that arrive during a write, only the newest is kept.
#[derive(Debug)]
pub(super) struct Saver {
    /// `None`: the node stores nothing on disk.
    folder: Option<DataFolder>,
    running: Option<JoinHandle<()>>,
    next: Option<Vec<Contact>>,
}

impl Saver {
    pub(super) const fn new(folder: Option<DataFolder>) -> Self {
        Self { folder, running: None, next: None }
    }

    /// Saves a list.
    pub(super) fn save(&mut self, contacts: Vec<Contact>) {
        self.next = Some(contacts);
        self.proceed();
    }

    /// Begins to write the waiting list, if no write is under way. Called on each tick.
    pub(super) fn proceed(&mut self) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let (Some(contacts), Some(folder)) = (self.next.take(), self.folder.clone()) else {
            self.running = None;
            return;
        };
        self.running = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = folder.save_contacts(&contacts) {
                let folder = folder.path().display();
                tracing::warn!(code = "peers.save", %folder, %error, "cannot save the peers for the next start");
            }
        }));
    }

    /// Writes the waiting list.
    pub(super) async fn finish(mut self) {
        while let Some(running) = self.running.take() {
            // A panic in the task loses only this list.
            let _ = running.await;
            self.proceed();
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;

    fn contact(seed: u8) -> Contact {
        Contact::new(Identity::from_seed([seed; 32]).public_key(), "10.0.0.1:7".parse().unwrap())
    }

    #[tokio::test]
    async fn the_newest_list_is_on_disk_in_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, _lock) = DataFolder::take(parent.path()).unwrap();
        let mut saver = Saver::new(Some(folder.clone()));
        for seed in 1..=50 {
            saver.save(vec![contact(seed)]);
        }
        saver.finish().await;
        assert_eq!(folder.contacts(), [contact(50)]);
    }

    #[tokio::test]
    async fn a_node_in_memory_saves_nothing() {
        let mut saver = Saver::new(None);
        saver.save(vec![contact(1)]);
        assert!(saver.running.is_none() && saver.next.is_none());
        saver.finish().await;
    }
}
