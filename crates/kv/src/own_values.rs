//! The values that a writer already has under a key, and the part of them that its next write
//! continues.

use potluck_base::{PublicKey, UnixMillis};
use potluck_record::limits::CLOCK_AHEAD_MAX;
use potluck_record::{Context, Dot, Envelope, SignedHead};

/// The writer's own envelope that a write goes on from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnValues<'a> {
    pub(crate) envelope: Option<&'a Envelope>,
    /// Whether the envelope was taken back: its values are signed again with current dots.
    pub(crate) taken_back: bool,
}

impl<'a> OwnValues<'a> {
    pub(crate) fn head(self) -> Option<&'a SignedHead> {
        self.envelope.map(Envelope::head)
    }

    pub(crate) fn last_dot(self) -> Dot {
        let counts = self.head().filter(|_| !self.taken_back);
        counts.map(SignedHead::dot).unwrap_or_default()
    }

    pub(crate) fn expires(self) -> Option<UnixMillis> {
        self.head().filter(|_| !self.taken_back).map(SignedHead::expires)
    }

    /// The envelope's context. Of one that was taken back, only the entries of other writers that
    /// are not future-dated.
    pub(crate) fn context(self, me: &PublicKey, wall: UnixMillis) -> Context {
        let Some(head) = self.head() else { return Context::new() };
        if !self.taken_back {
            return head.context().clone();
        }
        let latest = wall.plus(CLOCK_AHEAD_MAX);
        let others = head.context().iter().filter(|(writer, _)| *writer != me);
        others
            .filter(|(_, dot)| dot.millis() <= latest)
            .map(|(writer, dot)| (*writer, dot))
            .collect()
    }
}
