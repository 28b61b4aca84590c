//! Messages and bytes: those that were played, and those that are counted by formula.

/// Bytes of a request of a lookup: headers of IP and UDP, the seal, ids and target.
pub(super) const REQUEST_BYTES: f64 = 180.0;
/// Bytes of an answer without its contacts, and of a contact: id, addresses, revision.
pub(super) const ANSWER_BYTES: f64 = 150.0;
/// Bytes of a contact in an answer.
pub(super) const CONTACT_BYTES: f64 = 52.0;
/// Bytes of a check or of its answer, with headers and seal.
pub const CHECK_BYTES: f64 = 220.0;
/// Bytes of a message that carries a record, beside the value.
pub(super) const RECORD_BYTES: f64 = 450.0;

/// What all nodes sent, in bytes; each byte that one sends another one receives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Requests and answers of lookups.
    pub lookups: f64,
    /// Joins, counted by the papers.
    pub joins: f64,
    /// Checks of contacts and neighbours, and the replacement of dead contacts, counted.
    pub checks: f64,
    /// Copies of records of dead holders.
    pub repair: f64,
    /// Copies of records to nodes that joined.
    pub hand_over: f64,
}

impl Traffic {
    /// All of it.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.lookups + self.upkeep()
    }

    /// All but lookups.
    #[must_use]
    pub fn upkeep(&self) -> f64 {
        self.joins + self.checks + self.repair + self.hand_over
    }
}
