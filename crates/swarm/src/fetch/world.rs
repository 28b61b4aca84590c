//! What all fetches of a node share while one of them is driven.

use potluck_base::{Instant, PublicKey};

use crate::command::Output;
use crate::config::Config;
use crate::shunned::Shunned;

/// Numbers that name transfers and questions, over all fetches.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// A number that was not used before.
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What a fetch is given beside its own state: the time, the configuration, and where outputs go.
pub(crate) struct World<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) me: PublicKey,
    pub(crate) numbers: &'a mut Numbers,
    pub(crate) shunned: &'a mut Shunned,
    pub(crate) out: &'a mut Vec<Output>,
}
