//! What a hostile node does to those that fetch from it: for tests, and for the feature `hostile`, with which
//! measurements are made against real processes. No setting of a user names any of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::Files;
use crate::transport::{FRAME_BYTES_MAX, FrameSender};

/// Bytes of each piece of a frame that drips: 2,500 a second.
const DROP_BYTES: usize = 1250;
/// Pause between two of them: shorter than any silence that ends a stream.
const DROP_PAUSE: Duration = Duration::from_millis(500);

/// What is false in what it sends.
#[derive(Debug, Default)]
pub(super) struct Lies {
    /// Every n-th granule is false; none, if zero.
    pub(super) false_every: AtomicU64,
    /// Granules that were sent.
    pub(super) sent: AtomicU64,
    /// From the granule of this number on it drips; never, if zero.
    drips_from: AtomicU64,
    /// Whether a frame that drips claims the greatest length instead of its own.
    long: AtomicBool,
}

/// How a node drips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drip {
    /// Each frame claims to be four MiB long.
    Long,
    /// Each frame has its right length.
    Right,
}

impl Files {
    /// Sends some right granules, and of each later one 2,500 bytes a second.
    pub fn drip_after(&self, granules: u64, how: Drip) {
        self.inner.lies.long.store(how == Drip::Long, Ordering::Relaxed);
        self.inner.lies.drips_from.store(granules + 1, Ordering::Relaxed);
    }

    /// Does to a frame what this node was told to. Returns it if it is to be sent.
    pub(super) async fn lie(
        &self,
        mut frame: Vec<u8>,
        sender: &mut FrameSender,
    ) -> Option<Vec<u8>> {
        let lies = &self.inner.lies;
        let every = lies.false_every.load(Ordering::Relaxed);
        let sent = 1 + lies.sent.fetch_add(1, Ordering::Relaxed);
        if every > 0
            && sent.is_multiple_of(every)
            && let Some(byte) = frame.last_mut()
        {
            *byte ^= 1;
        }
        let from = lies.drips_from.load(Ordering::Relaxed);
        if from == 0 || sent < from {
            return Some(frame);
        }
        let claimed = if lies.long.load(Ordering::Relaxed) { FRAME_BYTES_MAX } else { frame.len() };
        let length = u32::try_from(claimed).unwrap_or(u32::MAX);
        sender.send_raw(Bytes::copy_from_slice(&length.to_be_bytes())).await?;
        frame.resize(claimed, 0);
        for piece in frame.chunks(DROP_BYTES) {
            tokio::time::sleep(DROP_PAUSE).await;
            sender.send_raw(Bytes::copy_from_slice(piece)).await?;
        }
        None
    }
}
