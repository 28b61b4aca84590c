//! Tickets as users see them.

use std::time::Duration;

use potluck_base::{PublicKey, UnixMillis};

/// The terms of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteTerms {
    /// The number of nodes that it admits; `None`: any number.
    pub uses: Option<u32>,
    /// Its life, at most a year.
    pub life: Duration,
    /// Labels of the certificates.
    pub labels: Vec<(String, String)>,
    /// Whether the certificates last a day instead of a year.
    pub ephemeral: bool,
}

impl Default for InviteTerms {
    /// One node, within a day.
    fn default() -> Self {
        let life = Duration::from_secs(24 * 60 * 60);
        Self { uses: Some(1), life, labels: Vec::new(), ephemeral: false }
    }
}

/// A ticket that was made here, has not expired and was not cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketView {
    /// The ticket's public key.
    pub id: PublicKey,
    /// The number of nodes that it admits; `None`: any number.
    pub uses: Option<u32>,
    /// The number of nodes that it has admitted. These may use it again, for the same certificate.
    pub used: u32,
    /// When it was made.
    pub issued: UnixMillis,
    /// When it expires.
    pub expires: UnixMillis,
    /// Labels of the certificates.
    pub labels: Vec<(String, String)>,
    /// Whether the certificates last a day instead of a year.
    pub ephemeral: bool,
}

potluck_base::statistics! {
    /// What a node that holds the authority key has in its book. Gauges.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct IssuedStats in "issued" {
        /// Tickets in the book that have not expired, as of the last one that was made.
        gauge tickets: usize,
        /// Tickets in the book that have not expired and were cancelled.
        gauge tickets_cancelled: usize,
        /// Certificates that were signed and not forgotten since.
        gauge certificates: usize,
    }
}

impl TicketView {
    /// The number of further nodes that it admits; `None`: any number.
    #[must_use]
    pub fn left(&self) -> Option<u32> {
        self.uses.map(|uses| uses.saturating_sub(self.used))
    }
}
