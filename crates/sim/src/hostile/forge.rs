//! Envelopes, provider records and messages that a hostile member makes up: all of the right form, signed
//! by keys that cost nothing, by its own, or by none.

use bytes::Bytes;
use potluck_base::{BlobId, Contact, Identity, PublicKey, Rng, UnixMillis};
use potluck_gossip::message::TopicName;
use potluck_record::limits::{PROVIDER_LIFE, VALUE_BYTES_MAX};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, Name, Space};
use potluck_wire::{
    Announcement, InTopic, MessageHead, Provider, Request, SignedMessage, TopicRequest,
};

use super::Me;

/// Life of what is made up, in milliseconds: a day.
const LIFE_MS: u64 = 24 * 60 * 60 * 1000;

/// Makes things up, the same ones from the same seed.
#[derive(Debug)]
pub struct Forger {
    rng: Rng,
    sequence: u64,
}

/// How an envelope is made up. The defaults: empty, now, covers nothing.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// Bytes of its values: up to two of 64 KiB.
    pub bytes: usize,
    /// What it covers.
    pub context: Context,
    /// How far its dot lies ahead, in milliseconds.
    pub ahead_ms: u64,
}

impl Forger {
    /// One that draws from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::from_number(seed), sequence: 0 }
    }

    /// A key pair that no authority knows.
    pub fn throw_away(&mut self) -> Identity {
        Identity::from_seed(self.rng.bytes())
    }

    /// An envelope of `writer` in the commons.
    ///
    /// # Panics
    /// If the shape is over the limits of an envelope, or the name none.
    pub fn envelope(
        &mut self,
        me: &Me<'_>,
        writer: &Identity,
        name: &str,
        shape: Shape,
    ) -> Envelope {
        self.sequence += 1;
        let base = Dot::next(Dot::ZERO, UnixMillis(me.wall.0 + shape.ahead_ms)).raw();
        let expires = UnixMillis(me.wall.0 + shape.ahead_ms + LIFE_MS);
        let first = shape.bytes.min(VALUE_BYTES_MAX);
        let sizes = [first, shape.bytes - first];
        let values: Vec<(Dot, UnixMillis, Bytes)> = (1..)
            .zip(sizes.into_iter().filter(|size| *size > 0))
            .map(|(number, size)| (Dot::from_raw(base + number), expires, self.noise(size)))
            .collect();
        let own = writer.public_key() == me.identity.public_key();
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new(name).expect("a good name")),
            kind: Kind::Siblings,
            values,
            dot: Dot::from_raw(base + 8 + self.sequence % 60_000),
            context: shape.context,
            expires,
            certificate: me.certificate.filter(|_| own),
        };
        Envelope::sign(writer, me.network, draft).expect("an envelope within the limits")
    }

    /// An envelope of a throw-away key with a value of this many bytes.
    ///
    /// # Panics
    /// As [`envelope`](Self::envelope).
    pub fn stranger(&mut self, me: &Me<'_>, name: &str, bytes: usize) -> Envelope {
        let writer = self.throw_away();
        self.envelope(me, &writer, name, Shape { bytes, ..Shape::default() })
    }

    /// An envelope whose signature is none of its writer.
    ///
    /// # Panics
    /// As [`envelope`](Self::envelope).
    pub fn unsigned(&mut self, me: &Me<'_>, name: &str) -> Bytes {
        let genuine = self.envelope(me, me.identity, name, Shape::default());
        let mut bytes = genuine.encode().to_vec();
        // An empty payload is one byte at the end; before it lies the signature.
        let last = bytes.len() - 2;
        bytes[last - 8..last].copy_from_slice(&self.rng.bytes::<8>());
        bytes.into()
    }

    /// A context of `count` writers that nobody has heard of, as of now.
    pub fn invented_context(&mut self, me: &Me<'_>, count: usize) -> Context {
        let dot = Dot::next(Dot::ZERO, me.wall);
        (0..count).map(|_| (PublicKey::from_bytes(self.rng.bytes()), dot)).collect()
    }

    /// A record that says that `writer` has a blob, at an address.
    ///
    /// # Panics
    /// Never: such a record is within the limits.
    pub fn provider(
        &mut self,
        me: &Me<'_>,
        writer: &Identity,
        blob: &BlobId,
        at: Contact,
    ) -> Envelope {
        let dot = Dot::next(Dot::ZERO, me.wall);
        let expires = me.wall.plus(PROVIDER_LIFE);
        let value = Provider::new(at, true).to_bytes();
        let own = writer.public_key() == me.identity.public_key();
        let draft = Draft {
            space: Space::Provider,
            name: Some(Name::new(blob.to_string()).expect("a blob's text is a name")),
            kind: Kind::PerWriter,
            values: vec![(dot, expires, value)],
            dot,
            context: Context::new(),
            expires,
            certificate: me.certificate.filter(|_| own),
        };
        Envelope::sign(writer, me.network, draft).expect("a record within the limits")
    }

    /// A push of one message in a topic, signed by `publisher` at a time.
    pub fn message(
        &mut self,
        me: &Me<'_>,
        publisher: &Identity,
        topic: &TopicName,
        at: UnixMillis,
        payload: Bytes,
    ) -> Request {
        self.sequence += 1;
        let sequence = self.sequence;
        let topic = topic.id();
        let head = MessageHead { network: me.network, topic, incarnation: 1, sequence, at };
        let message = SignedMessage::sign(publisher, &head, payload).encode();
        Request::Topic(InTopic { topic, body: TopicRequest::Gossip { messages: vec![message] } })
    }

    /// An announcement with this many revocations. Each has the right form and was not signed by the authority.
    pub fn garbage_revocations(&mut self, me: &Me<'_>, count: usize) -> Bytes {
        let subject = potluck_wire::Revoked::Ticket(self.throw_away().public_key());
        let genuine =
            potluck_wire::Revocation { subject, at: me.wall }.sign(me.identity, me.network);
        let revocations = (0..count).map(|_| {
            let mut bytes = genuine.to_vec();
            let last = bytes.len();
            bytes[last - 8..].copy_from_slice(&self.rng.bytes::<8>());
            Bytes::from(bytes)
        });
        Announcement { revocations: revocations.collect(), ..Announcement::default() }.to_bytes()
    }

    fn noise(&mut self, size: usize) -> Bytes {
        let mut bytes = vec![0x5a; size];
        let drawn = self.rng.bytes::<16>();
        let most = size.min(16);
        bytes[..most].copy_from_slice(&drawn[..most]);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::testing::as_member;

    #[test]
    fn what_is_made_up_has_the_right_form_and_its_signature_holds_or_does_not() {
        as_member(|me| {
            let mut forger = Forger::new(1);
            let context = forger.invented_context(me, 120);
            let shape = Shape { bytes: 120 * 1024, context, ahead_ms: 0 };
            let writer = forger.throw_away();
            let envelope = forger.envelope(me, &writer, "name", shape);
            assert_eq!(Envelope::decode(&envelope.encode()).as_ref(), Ok(&envelope));
            assert_eq!(envelope.verify(me.network), Ok(()));
            assert_eq!(envelope.head().context().len(), 120);
            let unsigned =
                Envelope::decode(&forger.unsigned(me, "name")).expect("of the right form");
            assert!(unsigned.verify(me.network).is_err());
            let provider = forger.provider(me, me.identity, &BlobId::of(b"file"), me.contact);
            assert_eq!(provider.verify(me.network), Ok(()));
        });
    }
}
