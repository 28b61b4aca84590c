//! The purposes of bytes between nodes: they answer what uses a node's bandwidth.
//!
//! The number of a message determines its purpose, so counting needs no decoding. Answers have the purpose of
//! their requests.

use minicbor::Decoder;

/// The purpose of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Liveness: pings of contacts and members, and indirect probes.
    Probe,
    /// Lookups of the nodes close to a key, with the small records in their answers.
    Lookup,
    /// Writing and reading records, listing names, watches.
    Record,
    /// Repair of replicas: offers, pulls, comparisons. Large records are also read by pulls.
    Repair,
    /// Member records and the messages of topics.
    Gossip,
    /// Searches.
    Search,
    /// Pieces of files, and lists of the pieces that a node has.
    File,
    /// Application protocols.
    Application,
    /// Greetings, proofs of addresses, certificates, and messages that were dropped unread.
    Link,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Probe,
        Self::Lookup,
        Self::Record,
        Self::Repair,
        Self::Gossip,
        Self::Search,
        Self::File,
        Self::Application,
        Self::Link,
    ];

    /// The name of the purpose in metrics and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Lookup => "lookup",
            Self::Record => "record",
            Self::Repair => "repair",
            Self::Gossip => "gossip",
            Self::Search => "search",
            Self::File => "file",
            Self::Application => "application",
            Self::Link => "link",
        }
    }

    /// The purpose of an encoded request. Invalid bytes count as [`Purpose::Link`].
    #[must_use]
    pub fn of_request(message: &[u8]) -> Self {
        match numbers(message) {
            Some((0, _)) => Self::Probe,
            Some((1, _)) => Self::Lookup,
            Some((2 | 15 | 16 | 17, _)) => Self::Record,
            Some((3 | 4 | 14 | 18, _)) => Self::Repair,
            Some((6, _)) => Self::File,
            // Ping, ping-req and proof; the other member messages spread membership.
            Some((7, Some(0..=2))) => Self::Probe,
            Some((5 | 7 | 8, _)) => Self::Gossip,
            Some((9, _)) => Self::Search,
            _ => Self::Link,
        }
    }

    /// The purpose of an encoded response. Invalid bytes count as [`Purpose::Link`].
    #[must_use]
    pub fn of_response(message: &[u8]) -> Self {
        match numbers(message) {
            Some((0, _)) => Self::Probe,
            Some((1, _)) => Self::Lookup,
            Some((2 | 13 | 14 | 15, _)) => Self::Record,
            Some((3 | 4 | 12 | 16, _)) => Self::Repair,
            Some((7, _)) => Self::File,
            Some((8, Some(0 | 1))) => Self::Probe,
            Some((6 | 8 | 9, _)) => Self::Gossip,
            Some((10, _)) => Self::Search,
            _ => Self::Link,
        }
    }
}

/// The number of a message, and the number of the message inside it, if there is one.
fn numbers(message: &[u8]) -> Option<(u32, Option<u32>)> {
    let mut decoder = Decoder::new(message.get(1..)?);
    decoder.array().ok()?;
    let number = decoder.u32().ok()?;
    let inner = (|| {
        decoder.array().ok()?;
        decoder.array().ok()?;
        decoder.u32().ok()
    })();
    Some((number, inner))
}

/// Bytes by purpose and direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received, in the order of [`Purpose::ALL`].
    received: [u64; Purpose::ALL.len()],
    /// Sent, in the same order.
    sent: [u64; Purpose::ALL.len()],
}

#[expect(clippy::indexing_slicing, reason = "the arrays have a place for each purpose")]
impl Traffic {
    /// Counts received bytes.
    pub fn note_received(&mut self, purpose: Purpose, bytes: u64) {
        let of = &mut self.received[purpose as usize];
        *of = of.saturating_add(bytes);
    }

    /// Moves received bytes from the purpose they were first counted under to another one.
    pub fn move_received(&mut self, from: Purpose, to: Purpose, bytes: u64) {
        let of = &mut self.received[from as usize];
        *of = of.saturating_sub(bytes);
        self.note_received(to, bytes);
    }

    /// Counts sent bytes.
    pub fn note_sent(&mut self, purpose: Purpose, bytes: u64) {
        let of = &mut self.sent[purpose as usize];
        *of = of.saturating_add(bytes);
    }

    /// Bytes received for this purpose.
    #[must_use]
    pub const fn received(&self, purpose: Purpose) -> u64 {
        self.received[purpose as usize]
    }

    /// Bytes sent for this purpose.
    #[must_use]
    pub const fn sent(&self, purpose: Purpose) -> u64 {
        self.sent[purpose as usize]
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Key;

    use super::*;
    use crate::message::Want;
    use crate::{Load, Request, Response, encode_request, encode_response};

    #[test]
    fn the_order_of_all_is_that_of_the_numbers() {
        let numbers: Vec<usize> = Purpose::ALL.iter().map(|it| *it as usize).collect();
        assert_eq!(numbers, (0..Purpose::ALL.len()).collect::<Vec<_>>());
    }

    #[test]
    fn requests_are_known_by_their_numbers() {
        let of = |request| Purpose::of_request(&encode_request(&request));
        assert_eq!(of(Request::Ping), Purpose::Probe);
        let target = Key::from_bytes([7; 32]);
        let find = Request::FindNode { target, count: 3, want: Want::Nothing, parts: None };
        assert_eq!(of(find), Purpose::Lookup);
        let store = Request::Store { envelopes: Vec::new(), certificates: Vec::new() };
        assert_eq!(of(store), Purpose::Record);
        assert_eq!(of(Request::Offer { entries: Vec::new() }), Purpose::Repair);
        let load = Load { keys: vec![target], after: None, certificates: Vec::new() };
        assert_eq!(of(Request::Load(load)), Purpose::Repair);
        assert_eq!(of(Request::Leave { back_in: None }), Purpose::Gossip);
    }

    #[test]
    fn members_probe_and_gossip_under_one_number() {
        use crate::member::{MemberRequest, RecordVersion};
        let of = |request| Purpose::of_request(&encode_request(&Request::Member(request)));
        let mine = RecordVersion::default();
        assert_eq!(
            of(MemberRequest::Ping { mine, suspected: None, partition: None }),
            Purpose::Probe
        );
        assert_eq!(of(MemberRequest::Suspect { suspects: Vec::new() }), Purpose::Gossip);
    }

    #[test]
    fn responses_are_known_by_their_numbers() {
        let of = |response| Purpose::of_response(&encode_response(&response));
        assert_eq!(of(Response::Pong), Purpose::Probe);
        assert_eq!(of(Response::Stored { outcomes: Vec::new() }), Purpose::Record);
        assert_eq!(of(Response::Offered { wanted: 0 }), Purpose::Repair);
        assert_eq!(of(Response::Left), Purpose::Gossip);
        assert_eq!(of(Response::unsupported()), Purpose::Link);
    }

    #[test]
    fn what_is_no_message_is_the_links() {
        for bytes in [&b""[..], b"\x01", b"\x01\x82", b"\x01\x82\xff", &[0xff; 9]] {
            assert_eq!(Purpose::of_request(bytes), Purpose::Link);
            assert_eq!(Purpose::of_response(bytes), Purpose::Link);
        }
    }

    #[test]
    fn bytes_are_counted_by_direction_and_stop_at_the_most() {
        let mut traffic = Traffic::default();
        traffic.note_sent(Purpose::File, 5);
        traffic.note_received(Purpose::File, u64::MAX);
        traffic.note_received(Purpose::File, 9);
        assert_eq!((traffic.sent(Purpose::File), traffic.received(Purpose::File)), (5, u64::MAX));
        assert_eq!(traffic.sent(Purpose::Probe), 0);
    }
}
