//! The formats of fetching files besides requests and responses: the request on a fetch stream, and the value
//! of a provider record.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use potluck_base::{Addresses, BlobId, Contact};

use crate::codec::{DecodeError, cbor_blob, decode, encode_passed_on};
use crate::contact::cbor_addresses;
use crate::limits::{FETCH_NODES_MAX, FETCH_RUNS_MAX};

/// The request that opens a fetch stream. The answer is a frame for each granule, in order. If nodes of the
/// hash tree are requested, the answer is one frame with these nodes, and no granule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FetchRequest {
    /// The blob.
    #[cbor(n(0), with = "cbor_blob")]
    pub blob: BlobId,
    /// Its size, from which both sides compute its granules.
    #[n(1)]
    pub size: u64,
    /// Runs of granules.
    #[n(2)]
    pub runs: Vec<Run>,
    /// Nodes of the hash tree, numbered in pre-order, instead of granules.
    #[n(3)]
    pub nodes: Option<Run>,
}

/// Consecutive granules, or nodes of the hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Run {
    /// The first number.
    #[n(0)]
    pub first: u32,
    /// The count.
    #[n(1)]
    pub count: u32,
}

impl FetchRequest {
    /// A request for these granules, in this order.
    #[must_use]
    pub fn new(blob: BlobId, size: u64, granules: &[u32]) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for granule in granules {
            match runs.last_mut() {
                Some(run) if run.first.checked_add(run.count) == Some(*granule) => run.count += 1,
                _ => runs.push(Run { first: *granule, count: 1 }),
            }
        }
        Self { blob, size, runs, nodes: None }
    }

    /// A request for nodes of the hash tree, without data.
    #[must_use]
    pub const fn of_nodes(blob: BlobId, size: u64, nodes: Run) -> Self {
        Self { blob, size, runs: Vec::new(), nodes: Some(nodes) }
    }

    /// The first `max` requested granules, in order.
    #[must_use]
    pub fn granules(&self, max: usize) -> Vec<u32> {
        let runs = self.runs.iter().map(|run| run.first..run.first.saturating_add(run.count));
        runs.flatten().take(max).collect()
    }

    /// The encoded request.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        encode_passed_on(self)
    }

    /// Decodes a request.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a request within the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let request: Self = decode(bytes)?;
        if request.runs.len() > FETCH_RUNS_MAX {
            return Err(DecodeError::Limit("runs"));
        }
        if request.nodes.is_some_and(|nodes| nodes.count > FETCH_NODES_MAX) {
            return Err(DecodeError::Limit("nodes"));
        }
        Ok(request)
    }
}

/// The value of a provider record: the addresses of the record's writer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Provider {
    /// The provider with its addresses, at least one.
    #[cbor(n(0), with = "cbor_addresses")]
    pub node: Addresses,
    /// Whether it had the complete blob when it wrote the record.
    #[n(1)]
    pub complete: bool,
}

impl Provider {
    /// A provider with one address.
    #[must_use]
    pub fn new(contact: Contact, complete: bool) -> Self {
        Self { node: contact.into(), complete }
    }

    /// The preferred one of its own addresses. `None` if it is reached by relays only.
    #[must_use]
    pub fn contact(&self) -> Option<Contact> {
        self.node.contacts().next()
    }

    /// The encoded provider.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        encode_passed_on(self)
    }

    /// Decodes a provider.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a provider.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::{Address, Identity, PublicKey, Salt};

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
        let request = FetchRequest { blob, size: 1, runs, nodes: None };
        assert_eq!(request.granules(3).len(), 3);
        let runs = vec![Run { first: 0, count: 1 }; FETCH_RUNS_MAX + 1];
        let long = FetchRequest { blob, size: 1, runs, nodes: None }.to_bytes();
        assert_eq!(FetchRequest::from_bytes(&long), Err(DecodeError::Limit("runs")));
    }

    #[test]
    fn a_page_of_nodes_is_bounded_and_stands_beside_granules() {
        let (blob, nodes) = (BlobId::of(b"x"), Run { first: u32::MAX, count: FETCH_NODES_MAX });
        let request = FetchRequest::of_nodes(blob, 1 << 30, nodes);
        let read = FetchRequest::from_bytes(&request.to_bytes()).unwrap();
        assert_eq!((read.nodes, read.granules(100).len()), (Some(nodes), 0));
        let nodes = Run { first: 0, count: FETCH_NODES_MAX + 1 };
        let long = FetchRequest::of_nodes(blob, 1 << 30, nodes).to_bytes();
        assert_eq!(FetchRequest::from_bytes(&long), Err(DecodeError::Limit("nodes")));
    }

    #[test]
    fn a_provider_record_names_one_node_at_one_to_four_addresses() {
        let public_key = Identity::from_seed([1; 32]).public_key();
        let contact = Contact::new(public_key, "127.0.0.1:7".parse().unwrap());
        let provider = Provider::new(contact, true);
        let read = Provider::from_bytes(&provider.to_bytes()).unwrap();
        assert_eq!((read.contact(), read.complete), (Some(contact), true));
        let relay = Address { socket: contact.address, via: Some(public_key) };
        for (ways, good) in [(0, false), (1, true), (4, true), (5, false)] {
            let node = Addresses { public_key, salt: None, ways: vec![relay; ways] };
            let provider = Provider { node, complete: true };
            let read = Provider::from_bytes(&provider.to_bytes());
            assert_eq!(read, if good { Ok(provider) } else { Err(DecodeError::Malformed) });
        }
    }

    /// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
    #[test]
    fn the_bytes_of_a_provider_and_a_fetch_are_frozen() {
        let hex = |bytes: Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let public_key = PublicKey::from_bytes([0x11; 32]);
        let own = Address::from("1.2.3.4:258".parse::<std::net::SocketAddr>().unwrap());
        let relayed = Address { via: Some(PublicKey::from_bytes([0x22; 32])), ..own };
        let salt = Some(Salt::from_bytes([0x33; 8]));
        let node = Addresses { public_key, salt, ways: vec![own, relayed] };
        let (k, r) = (format!("5820{}", "11".repeat(32)), format!("5820{}", "22".repeat(32)));
        let a = "46010203040102";
        let expected = format!("02a20083{k}48{}82{a}82{a}{r}01f5", "33".repeat(8));
        assert_eq!(hex(Provider { node, complete: true }.to_bytes()), expected);
        let fetch = FetchRequest::new(BlobId::from_bytes([0x11; 32]), 9, &[1, 2, 7]);
        assert_eq!(
            hex(fetch.to_bytes()),
            format!("02a300{k}0109028282010282 0701").replace(' ', "")
        );
        let blob = BlobId::from_bytes([0x11; 32]);
        let nodes = FetchRequest::of_nodes(blob, 9, Run { first: 5, count: 4096 });
        assert_eq!(hex(nodes.to_bytes()), format!("02a400{k}01090280038205191000"));
    }
}
