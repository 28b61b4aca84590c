//! Messages of topics and searches.

use bytes::Bytes;
use potluck_base::{BlobId, UnixMillis};
use potluck_wire::search::{Hit, QueryId, SearchRequest};
use potluck_wire::topic::{DisconnectCause, IdRange, InTopic, TopicId, TopicRequest};
use potluck_wire::{MessageHead, SignedMessage};

use super::{contact, identity, network};

pub(super) fn in_topics() -> [InTopic; 9] {
    let topic = TopicId([4; 16]);
    let publisher = identity(6).public_key();
    let runs = || vec![IdRange { publisher, incarnation: 1 << 40, first: 7, count: 64 }; 3];
    let head = MessageHead {
        network: &network(),
        topic,
        incarnation: 1 << 40,
        sequence: 7,
        at: UnixMillis(9),
    };
    let signed = SignedMessage::sign(&identity(6), &head, Bytes::from_static(b"hello"));
    let (origin, contacts) = (contact(1), vec![contact(2), contact(3)]);
    [
        TopicRequest::Neighbour { high_priority: true, age_ms: 70_000 },
        TopicRequest::Disconnect { cause: DisconnectCause::Room, others: contacts.clone() },
        TopicRequest::ForwardJoin { joiner: origin, hops: 6 },
        TopicRequest::Shuffle { origin, nonce: 9, hops: 6, contacts: contacts.clone() },
        TopicRequest::ShuffleReply { nonce: 9, contacts },
        TopicRequest::Probe,
        TopicRequest::Gossip { messages: vec![signed.encode(); 2] },
        TopicRequest::IHave { ranges: runs() },
        TopicRequest::Graft { ranges: runs(), eager: true },
    ]
    .map(|body| InTopic { topic, body })
}

pub(super) fn searches() -> [SearchRequest; 4] {
    let query = QueryId([8; 16]);
    let words = || vec!["weights".to_owned(), "7b".to_owned()];
    let hit = |name: &str| Hit {
        name: name.to_owned(),
        root: BlobId::from_bytes([7; 32]),
        bytes: 70_000,
        folder: true,
        holder: identity(5).public_key(),
    };
    [
        SearchRequest::Keywords { filter: vec![0x5a; 64].into() },
        SearchRequest::Query { query, words: words(), ring: 4, hops: 3 },
        SearchRequest::Walk { query, words: words(), walkers: 24, steps: 9 },
        SearchRequest::Hits { query, hits: vec![hit("Weights 7B"), hit("weights-7b.tar")] },
    ]
}
