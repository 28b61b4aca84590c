//! The files part of the wiring: swarm's questions go out over the link or as calls, its provider
//! records through kv, and what concerns bytes goes to the shell.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{BlobId, Contact, Instant, Machine as _};
use potluck_kv::{CommandId, Put, WriteContext};
use potluck_link::{RequestOptions, RequestToken};
use potluck_record::limits::PROVIDER_LIFE;
use potluck_record::{Name, Space};
use potluck_swarm::{AskId, FetchId, ServeId};
use potluck_wire::limits::MESSAGE_BYTES_MAX;
use potluck_wire::{Holding, Provider, Refusal, Request, Response, encode_request};

use super::requests::InboundRequest;
use super::{ASK_TRIES, CALLS_MAX, Node, PendingRequest, ReplyPath};
use crate::input::CallId;
use crate::output::Output;

/// Commands to kv have ids from here on if they are swarm's own.
const OWN_COMMANDS: u64 = 1 << 62;

/// What swarm waits for from the other parts.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Looks for providers; the second ones, for nodes that share more than they announce, with
    /// whether the first said that there is none.
    finds: BTreeMap<CommandId, (FetchId, Option<bool>)>,
    announcements: BTreeMap<CommandId, BlobId>,
    asked: BTreeMap<ServeId, ReplyPath>,
    /// When each question went out by datagram.
    sent: BTreeMap<RequestToken, Instant>,
}

/// The name under which providers of a blob are recorded.
fn provider_name(root: &BlobId) -> Name {
    Name::new(root.to_string()).expect("64 hexadecimal digits are a name")
}

impl Node {
    pub(super) fn on_swarm(&mut self, now: Instant, output: potluck_swarm::Output) {
        use potluck_swarm::Output as Swarm;
        match output {
            Swarm::FindProviders { fetch, root } => self.find_providers(now, fetch, &root),
            Swarm::Announce { root, complete } => self.announce(now, root, complete),
            Swarm::AskHave { ask, to, blob, large } => self.ask_have(now, ask, to, blob, large),
            Swarm::Holding { serve, answer } => {
                if let Some(reply_path) = self.files.asked.remove(&serve) {
                    let response = match answer {
                        Ok(holding) => Response::Holding(holding),
                        Err(reason) => Response::refused(reason),
                    };
                    self.answer(now, reply_path, &response);
                }
            }
            Swarm::Transfer { transfer, fetch, from, blob, size, granules } => {
                // It answered a moment ago, perhaps at another address than it was found at.
                let from = self.where_now(now, from);
                let output = Swarm::Transfer { transfer, fetch, from, blob, size, granules };
                self.outbox.push_back(Output::Swarm(output));
            }
            output @ (Swarm::Open { .. }
            | Swarm::CancelTransfer { .. }
            | Swarm::MoreRoots { .. }
            | Swarm::Check { .. }
            | Swarm::Completed { .. }
            | Swarm::Failed { .. }
            | Swarm::Serve { .. }
            | Swarm::Refuse { .. }) => self.outbox.push_back(Output::Swarm(output)),
        }
    }

    pub(super) fn own_command(&mut self) -> CommandId {
        CommandId(OWN_COMMANDS + self.fresh_id())
    }

    /// Whether records can be found: a node that has entered no network must not take its own
    /// ignorance for an answer.
    pub(super) fn can_look(&self, now: Instant) -> bool {
        self.is_ready(now) || self.dht.has_joined()
    }

    fn find_providers(&mut self, now: Instant, fetch: FetchId, root: &BlobId) {
        if !self.can_look(now) {
            let input =
                potluck_swarm::Input::Providers { fetch, contacts: Vec::new(), absent: false };
            return self.swarm.handle(now, input);
        }
        self.look_for_providers(now, (fetch, None), root);
    }

    fn look_for_providers(&mut self, now: Instant, find: (FetchId, Option<bool>), root: &BlobId) {
        let name = provider_name(root);
        let key = Space::Provider.key(&name).expect("only content has no key of its name");
        let id = self.own_command();
        self.files.finds.insert(id, find);
        let command = potluck_kv::Command::Get { key, quorum: None };
        self.kv.handle(now, potluck_kv::Input::Command { id, command });
    }

    fn announce(&mut self, now: Instant, root: BlobId, complete: bool) {
        if !self.can_look(now) || !self.serves_others {
            let done = false;
            return self.swarm.handle(now, potluck_swarm::Input::Announced { root, done });
        }
        let id = self.own_command();
        self.files.announcements.insert(id, root);
        let provider = Provider { node: self.own_node(), complete };
        let put = Put {
            space: Space::Provider,
            name: Some(provider_name(&root)),
            kind: None,
            value: Some(provider.to_bytes()),
            ttl: Some(PROVIDER_LIFE),
            quorum: None,
            context: WriteContext::Blind,
        };
        let command = potluck_kv::Command::Put(put);
        self.kv.handle(now, potluck_kv::Input::Command { id, command });
    }

    /// Whether a reply of kv is to swarm; then it has been passed on.
    pub(super) fn on_own_reply(
        &mut self,
        now: Instant,
        id: CommandId,
        reply: &potluck_kv::Reply,
    ) -> bool {
        use potluck_kv::Reply;
        if let Some((fetch, first)) = self.files.finds.remove(&id) {
            let (contacts, absent) = match reply {
                Reply::Read(done) => {
                    (self.providers(now, &done.reading), done.reading.values.is_empty())
                }
                _ => (Vec::new(), false),
            };
            if contacts.is_empty() && first.is_none() {
                // A node that shares more than it announces may have it all the same.
                self.look_for_providers(now, (fetch, Some(absent)), &potluck_swarm::many_root());
                return true;
            }
            let absent = first.unwrap_or(absent);
            self.swarm.handle(now, potluck_swarm::Input::Providers { fetch, contacts, absent });
            return true;
        }
        let Some(root) = self.files.announcements.remove(&id) else { return false };
        let done = matches!(reply, Reply::Written(_));
        self.swarm.handle(now, potluck_swarm::Input::Announced { root, done });
        true
    }

    fn ask_have(&mut self, now: Instant, ask: AskId, to: Contact, blob: BlobId, large: bool) {
        self.learn_member(&to.public_key);
        let request = Request::Have { blob };
        if !large {
            let options = RequestOptions {
                tries: ASK_TRIES,
                answer_bytes_max: MESSAGE_BYTES_MAX,
                ..RequestOptions::default()
            };
            match self.link.request(now, to, &request, options) {
                Ok(token) => {
                    self.requests.insert(token, PendingRequest::Swarm(ask));
                    self.files.sent.insert(token, now);
                }
                Err(_) => {
                    self.busy += 1;
                    self.swarm.handle(now, potluck_swarm::Input::AskFailed { ask });
                }
            }
            return;
        }
        if self.calls.len() >= CALLS_MAX {
            self.busy += 1;
            return self.swarm.handle(now, potluck_swarm::Input::AskFailed { ask });
        }
        let id = CallId(self.fresh_id());
        self.calls.insert(id, (PendingRequest::Swarm(ask), to));
        self.place_call(now, id, to, encode_request(&request));
    }

    /// A question of swarm was answered.
    pub(super) fn on_have_answered(
        &mut self,
        now: Instant,
        ask: AskId,
        response: Response,
        round_trip: Option<Duration>,
    ) {
        let holding: Result<Holding, Refusal> = match response {
            Response::Holding(holding) => Ok(holding),
            Response::Refused { reason, .. } => Err(reason),
            _ => Err(Refusal::Unsupported),
        };
        let input = potluck_swarm::Input::Holds { ask, holding, round_trip };
        self.swarm.handle(now, input);
    }

    /// Another node asks what this one has.
    pub(super) fn on_asked_have(&mut self, now: Instant, inbound: InboundRequest, blob: BlobId) {
        let serve = ServeId(self.fresh_id());
        let InboundRequest { from, budget, reply_path, .. } = inbound;
        self.files.asked.insert(serve, reply_path);
        self.swarm.handle(now, potluck_swarm::Input::AskedHave { serve, from, blob, budget });
    }

    /// How long ago a datagram of swarm went out; asked once.
    pub(super) fn round_trip(&mut self, now: Instant, token: RequestToken) -> Option<Duration> {
        self.files.sent.remove(&token).map(|sent| now.since(sent))
    }
}
