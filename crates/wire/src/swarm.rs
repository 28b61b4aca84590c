//! What travels outside of requests and responses when files are fetched: the opening of a fetch
//! stream and the value of a provider record.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use potluck_base::{BlobId, Contact};

use crate::codec::{DecodeError, cbor_blob, cbor_contacts, decode, encode};
use crate::limits::FETCH_RUNS_MAX;

/// What the opener of a fetch stream asks for. The answer is a frame for each granule, in order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FetchRequest {
    /// The blob.
    #[cbor(n(0), with = "cbor_blob")]
    pub blob: BlobId,
    /// Its size, from which both sides know its granules.
    #[n(1)]
    pub size: u64,
    /// Runs of granules.
    #[n(2)]
    pub runs: Vec<Run>,
}

/// Granules in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Run {
    /// The first.
    #[n(0)]
    pub first: u32,
    /// How many.
    #[n(1)]
    pub count: u32,
}

impl FetchRequest {
    /// A request for these granules, in their order.
    #[must_use]
    pub fn new(blob: BlobId, size: u64, granules: &[u32]) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for granule in granules {
            match runs.last_mut() {
                Some(run) if run.first.checked_add(run.count) == Some(*granule) => run.count += 1,
                _ => runs.push(Run { first: *granule, count: 1 }),
            }
        }
        Self { blob, size, runs }
    }

    /// The granules asked for, in order, the first `max`.
    #[must_use]
    pub fn granules(&self, max: usize) -> Vec<u32> {
        let runs = self.runs.iter().map(|run| run.first..run.first.saturating_add(run.count));
        runs.flatten().take(max).collect()
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are none within the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let request: Self = decode(bytes)?;
        if request.runs.len() > FETCH_RUNS_MAX {
            return Err(DecodeError::Limit("runs"));
        }
        Ok(request)
    }
}

/// The value of a provider record: where the writer of the record is reached.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Provider {
    /// The provider, exactly one contact.
    #[cbor(n(0), with = "cbor_contacts")]
    contacts: Vec<Contact>,
    /// Whether it had all of it when it wrote the record.
    #[n(1)]
    pub complete: bool,
}

impl Provider {
    /// A provider at `contact`.
    #[must_use]
    pub fn new(contact: Contact, complete: bool) -> Self {
        Self { contacts: vec![contact], complete }
    }

    /// Where it is reached.
    #[must_use]
    pub fn contact(&self) -> Contact {
        self.contacts[0]
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Reads a provider.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let provider: Self = decode(bytes)?;
        if provider.contacts.len() == 1 {
            Ok(provider)
        } else {
            Err(DecodeError::Limit("contacts"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    #[test]
    fn granules_survive_as_runs() {
        let granules = [7, 8, 9, 3, 4, 4, 12];
        let request = FetchRequest::new(BlobId::of(b"x"), 1 << 30, &granules);
        assert_eq!(request.runs.len(), 4);
        let read = FetchRequest::from_bytes(&request.to_bytes()).unwrap();
        assert_eq!(read.granules(100), granules);
        assert_eq!(read.granules(2), [7, 8]);
    }

    #[test]
    fn a_run_that_leaves_the_numbers_is_no_endless_work() {
        let blob = BlobId::of(b"x");
        let runs =
            vec![Run { first: u32::MAX, count: u32::MAX }, Run { first: 0, count: u32::MAX }];
        let request = FetchRequest { blob, size: 1, runs };
        assert_eq!(request.granules(3).len(), 3);
        let runs = vec![Run { first: 0, count: 1 }; FETCH_RUNS_MAX + 1];
        let long = FetchRequest { blob, size: 1, runs }.to_bytes();
        assert_eq!(FetchRequest::from_bytes(&long), Err(DecodeError::Limit("runs")));
    }

    #[test]
    fn a_provider_record_names_one_node() {
        let public_key = Identity::from_seed([1; 32]).public_key();
        let contact = Contact { public_key, address: "127.0.0.1:7".parse().unwrap() };
        let provider = Provider::new(contact, true);
        let read = Provider::from_bytes(&provider.to_bytes()).unwrap();
        assert_eq!((read.contact(), read.complete), (contact, true));
        for contacts in [vec![], vec![contact; 2]] {
            let wrong = Provider { contacts, complete: true }.to_bytes();
            assert_eq!(Provider::from_bytes(&wrong), Err(DecodeError::Limit("contacts")));
        }
    }
}
