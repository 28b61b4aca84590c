//! The limit on the rate at which local files are read for comparison.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::sleep;

/// Bytes a second that are read from local files for comparison, over all fetches. Raising it slows down
/// the peers that read from the same disk.
pub(super) const READ_BYTES_PER_SECOND: u64 = 200_000_000;

/// Delays reads so that they keep to [`READ_BYTES_PER_SECOND`].
#[derive(Debug)]
pub(super) struct Pace(Mutex<Instant>);

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Pace {
    /// Waits until `bytes` more bytes may be read.
    pub(super) async fn wait(&self, bytes: u64) {
        let until = {
            let mut free = self.0.lock();
            let begin = (*free).max(Instant::now());
            *free = begin + Duration::from_secs_f64(bytes as f64 / READ_BYTES_PER_SECOND as f64);
            begin
        };
        sleep(until.saturating_duration_since(Instant::now())).await;
    }
}
