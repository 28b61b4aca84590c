//! Provider records: the nodes that have a blob, or are in a topic, under a name that follows from it.

use potluck_base::{BlobId, Contact, Instant, Machine as _};
use potluck_kv::{Command, CommandId, Put, Reply, WriteContext};
use potluck_record::limits::PROVIDER_LIFE;
use potluck_record::{Name, Space};
use potluck_wire::{Provider, TopicId};

use super::Node;
use super::pending::Owner;

/// The name under which providers of a blob are recorded.
pub(super) fn blob_name(root: &BlobId) -> Name {
    Name::new(root.to_string()).expect("64 hexadecimal digits are a name")
}

/// The name under which members of a topic are recorded.
pub(super) fn topic_name(topic: TopicId) -> Name {
    let hex = data_encoding::HEXLOWER.encode(&topic.0);
    Name::new(format!("topic/{hex}")).expect("38 plain characters are a name")
}

impl Node {
    /// Starts an operation of record keeping.
    pub(super) fn start_kv(&mut self, now: Instant, owner: Owner, command: Command) {
        let id = CommandId(self.pending.begin(owner));
        self.kv.handle(now, potluck_kv::Input::Command { id, command });
    }

    /// Whether records can be found: a node that has entered no network must not take its own
    /// ignorance for an answer.
    pub(super) fn can_look(&self, now: Instant) -> bool {
        self.is_ready(now) || self.dht.has_joined()
    }

    /// Reads the provider record `name`.
    pub(super) fn find_providers(&mut self, now: Instant, owner: Owner, name: &Name) {
        let key = Space::Provider.key(name).expect("only content has no key of its name");
        self.start_kv(now, owner, Command::Get { key, quorum: None });
    }

    /// Adds this node to the provider record `name`. `complete`: this node has all of the blob.
    pub(super) fn announce_provider(
        &mut self,
        now: Instant,
        owner: Owner,
        name: Name,
        complete: bool,
    ) {
        let provider = Provider { node: self.own_node(), complete };
        let put = Put {
            space: Space::Provider,
            name: Some(name),
            kind: None,
            value: Some(provider.to_bytes()),
            ttl: Some(PROVIDER_LIFE),
            quorum: None,
            context: WriteContext::Blind,
        };
        self.start_kv(now, owner, Command::Put(put));
    }

    /// The nodes that a reply to [`Self::find_providers`] names.
    pub(super) fn providers_in(&mut self, now: Instant, reply: &Reply) -> Vec<Contact> {
        match reply {
            Reply::Read(done) => self.providers(now, &done.reading),
            Reply::Written(_)
            | Reply::Conflict(_)
            | Reply::Replicas(_)
            | Reply::Local(_)
            | Reply::Names(_)
            | Reply::Watching(_)
            | Reply::Unwatched
            | Reply::Failed(_) => Vec::new(),
        }
    }

    /// Record keeping finished an operation.
    pub(super) fn on_kv_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        match self.pending.finish(id.0) {
            Some(Owner::Host(id)) => self.reply(id, reply.into()),
            Some(Owner::Providers(search)) => self.on_providers_read(now, search, &reply),
            Some(Owner::ProviderAnnouncement(root)) => {
                let done = matches!(reply, Reply::Written(_));
                self.swarm.handle(now, potluck_swarm::Input::Announced { root, done });
            }
            Some(Owner::TopicMembers(topic)) => self.on_topic_members(now, topic, &reply),
            Some(Owner::TopicAnnouncement | Owner::MemberAnnouncement) | None => {}
        }
    }
}
