//! False statements of a hostile member about others.

use bytes::Bytes;
use potluck_base::{Contact, Identity, PublicKey, Rng, UnixMillis};
use potluck_gossip::message::TopicName;
use potluck_wire::{
    Announcement, DisconnectCause, IdRange, InTopic, MemberRecord, MemberRequest, MessageHead,
    RecordVersion, Request, SignedMessage, SuspectMessage, TopicRequest,
};

use crate::sim_node::NodeIndex;
use crate::world::{HostileIndex, World};

/// A false, stale or incomplete statement for the node `to` about the member `subject`: suspect messages
/// about right and wrong record versions, replayed records, records and leave messages that the hostile
/// member signed, announcements of other nodes, and over an overlay link invented shuffles, message ids and
/// messages.
pub(super) fn lie(
    rng: &mut Rng,
    world: &World,
    liar: HostileIndex,
    to: NodeIndex,
    subject: PublicKey,
    round: usize,
) -> Request {
    let members = world.node(to).machine().map(potluck_node::Node::members);
    let view = members.map(potluck_gossip::members::Members::view);
    let known = view.and_then(|view| {
        view.members.into_iter().find(|member| member.peer.contact.public_key == subject)
    });
    let incarnation = known.map_or(1, |member| member.incarnation);
    let version = RecordVersion { incarnation, revision: rng.below(3) as u32 };
    let suspect = SuspectMessage { subject, version };
    let record = members.and_then(|members| members.record(&subject)).unwrap_or_default();
    let tell = |record: Bytes| Request::Member(MemberRequest::Tell { records: vec![record] });
    match round % 12 {
        0 => Request::Member(MemberRequest::Suspect { suspects: vec![suspect; 8] }),
        1 => {
            let suspected = Some(version);
            Request::Member(MemberRequest::Ping { mine: version, suspected, partition: None })
        }
        2 => {
            let mut broken = record.to_vec();
            if let Some(byte) = broken.get_mut(40) {
                *byte ^= 1;
            }
            tell(broken.into())
        }
        3 => tell(record),
        4 => tell(Announcement { suspects: vec![suspect], ..Announcement::default() }.to_bytes()),
        5 => tell(good_bye(world, liar, &record, version)),
        turn => Request::Topic(InTopic {
            topic: TopicName::system().id(),
            body: overlay_lie(rng, world.hostile_identity(liar), turn, subject),
        }),
    }
}

/// Whether a node has a link to the hostile member.
pub(super) fn is_linked(world: &World, node: NodeIndex, liar: HostileIndex) -> bool {
    let key = world.hostile_contact(liar).public_key;
    let links = world.node(node).machine().map(|machine| machine.topics().neighbours());
    links.is_some_and(|links| links.iter().any(|contact| contact.public_key == key))
}

/// A leave message in the name of another member.
fn good_bye(world: &World, liar: HostileIndex, record: &Bytes, version: RecordVersion) -> Bytes {
    let Ok(word) = MemberRecord::read(record) else { return Bytes::new() };
    let word = MemberRecord {
        left: true,
        version: RecordVersion { revision: u32::MAX, ..version },
        ..word
    };
    word.sign(world.hostile_identity(liar), world.network_id())
}

/// An invented message over an overlay link.
fn overlay_lie(rng: &mut Rng, me: &Identity, turn: usize, subject: PublicKey) -> TopicRequest {
    let mut nobody = || {
        let address = ([198, 18, rng.below(256) as u8, rng.below(256) as u8], 4_000).into();
        Contact::new(Identity::from_seed(rng.bytes()).public_key(), address)
    };
    let contacts: Vec<Contact> = (0..6).map(|_| nobody()).collect();
    let (nonce, sequence) = (rng.next_u64(), rng.next_u64() >> 8);
    let run = |publisher| IdRange { publisher, incarnation: 1, first: sequence, count: 1_000 };
    match turn {
        6 => TopicRequest::Neighbour { high_priority: true, age_ms: 600_000 },
        7 => TopicRequest::Shuffle { origin: contacts[0], nonce, hops: u8::MAX, contacts },
        8 => TopicRequest::ShuffleReply { nonce, contacts },
        9 => TopicRequest::IHave { ranges: vec![run(subject), run(contacts[1].public_key)] },
        10 => {
            let payload = Bytes::from_static(b"made up");
            let network =
                potluck_base::NetworkId::new("another", potluck_base::Admission::Lab, None);
            let head = MessageHead {
                network: &network,
                topic: TopicName::system().id(),
                incarnation: 1,
                sequence: sequence | 1,
                at: UnixMillis(0),
            };
            let mut message = SignedMessage::sign(me, &head, payload);
            message.publisher = subject;
            TopicRequest::Gossip { messages: vec![message.encode()] }
        }
        _ => TopicRequest::Disconnect { cause: DisconnectCause::Misbehaved, others: contacts },
    }
}
