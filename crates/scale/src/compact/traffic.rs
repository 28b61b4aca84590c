//! Messages and bytes: the simulated ones, and those that are computed by formulas.

/// Bytes of a request of a lookup: headers of IP and UDP, the seal, ids and target.
pub(super) const REQUEST_BYTES: f64 = 180.0;
/// Bytes of an answer without its contacts.
pub(super) const ANSWER_BYTES: f64 = 150.0;
/// Bytes of a contact in an answer.
pub(super) const CONTACT_BYTES: f64 = 52.0;
/// Bytes of a check or of its answer, with headers and seal.
pub const CHECK_BYTES: f64 = 220.0;
/// Bytes of a message with a record, besides the value.
pub(super) const RECORD_BYTES: f64 = 450.0;

/// The bytes that all nodes sent. Each sent byte is received by another node.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Requests and answers of lookups.
    pub lookups: f64,
    /// Joins, computed from the papers.
    pub joins: f64,
    /// Checks of contacts and neighbours, and the replacement of dead contacts, computed.
    pub checks: f64,
    /// Copies of records of dead holders.
    pub repair: f64,
    /// Copies of records to nodes that joined.
    pub hand_over: f64,
}

impl Traffic {
    /// The sum.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.lookups + self.upkeep()
    }

    /// The sum without lookups.
    #[must_use]
    pub fn upkeep(&self) -> f64 {
        self.joins + self.checks + self.repair + self.hand_over
    }
}
