//! The files part of the wiring: questions of the swarm go out over the link or as calls, its provider
//! records through record keeping, and bytes are read and written by the shell.

use potluck_base::{BlobId, Contact, Instant, Machine as _};
use potluck_kv::Reply;
use potluck_link::RequestOptions;
use potluck_swarm::{AskId, FetchId, Input, ServeId};
use potluck_wire::limits::MESSAGE_BYTES_MAX;
use potluck_wire::{Refusal, Request, Response};

use super::pending::{Asker, Delivery, Owner, ProviderSearch, SearchStage};
use super::providers::blob_name;
use super::requests::InboundRequest;
use super::{ASK_TRIES, Node};
use crate::output::Output;

impl Node {
    pub(super) fn on_swarm(&mut self, now: Instant, output: potluck_swarm::Output) {
        use potluck_swarm::Output as Swarm;
        match output {
            Swarm::FindProviders { fetch, root } => self.find_blob_providers(now, fetch, &root),
            Swarm::Announce { root, complete } => self.announce_blob(now, root, complete),
            Swarm::AskHave { ask, to, blob, large } => self.ask_have(now, ask, to, blob, large),
            Swarm::Holding { serve, answer } => {
                let response = match answer {
                    Ok(holding) => Response::Holding(holding),
                    Err(reason) => Response::refused(reason),
                };
                self.answer_serve(now, serve.0, &response);
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

    fn find_blob_providers(&mut self, now: Instant, fetch: FetchId, root: &BlobId) {
        if !self.can_look(now) {
            let input = Input::Providers { fetch, contacts: Vec::new(), absent: false };
            return self.swarm.handle(now, input);
        }
        let search = ProviderSearch { fetch, stage: SearchStage::Blob };
        self.find_providers(now, Owner::Providers(search), &blob_name(root));
    }

    /// A provider record was read for a fetch. If the record of the blob names no provider, the record
    /// of the nodes that share more files than they announce is read too: one of them may have the blob.
    pub(super) fn on_providers_read(
        &mut self,
        now: Instant,
        search: ProviderSearch,
        reply: &Reply,
    ) {
        let ProviderSearch { fetch, stage } = search;
        let contacts = self.providers_in(now, reply);
        let absent = matches!(reply, Reply::Read(done) if done.reading.values.is_empty());
        let absent = match stage {
            SearchStage::Blob if contacts.is_empty() => {
                let stage = SearchStage::ManyFiles { absent };
                let owner = Owner::Providers(ProviderSearch { fetch, stage });
                return self.find_providers(now, owner, &blob_name(&potluck_swarm::many_root()));
            }
            SearchStage::Blob => absent,
            SearchStage::ManyFiles { absent } => absent,
        };
        self.swarm.handle(now, Input::Providers { fetch, contacts, absent });
    }

    fn announce_blob(&mut self, now: Instant, root: BlobId, complete: bool) {
        if !self.can_look(now) || !self.serves_others {
            return self.swarm.handle(now, Input::Announced { root, done: false });
        }
        let owner = Owner::ProviderAnnouncement(root);
        self.announce_provider(now, owner, blob_name(&root), complete);
    }

    fn ask_have(&mut self, now: Instant, ask: AskId, to: Contact, blob: BlobId, large: bool) {
        self.learn_member(&to.public_key);
        let options = RequestOptions {
            tries: ASK_TRIES,
            answer_bytes_max: MESSAGE_BYTES_MAX,
            ..RequestOptions::default()
        };
        let delivery = if large { Delivery::Call } else { Delivery::Datagram(options) };
        let request = Request::Have { blob };
        if self.ask(now, Asker::Swarm(ask), to, &request, delivery).is_err() {
            self.swarm.handle(now, Input::AskFailed { ask });
        }
    }

    /// Another node asks what this one has.
    pub(super) fn on_asked_have(&mut self, now: Instant, inbound: InboundRequest, blob: BlobId) {
        let InboundRequest { from, budget, reply_path, .. } = inbound;
        let serve = ServeId(self.pending.serve(reply_path));
        self.swarm.handle(now, Input::AskedHave { serve, from, blob, budget });
    }
}

/// The answer to a question what a node has: the granules, or the refusal.
pub(super) fn holding(response: Response) -> Result<potluck_wire::Holding, Refusal> {
    if let Response::Holding(holding) = response {
        return Ok(holding);
    }
    Err(response.refusal().unwrap_or(Refusal::Unsupported))
}
