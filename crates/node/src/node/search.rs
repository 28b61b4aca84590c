//! The search part of the wiring: questions and hits go out over the link, names come from the shell.

use std::time::Duration;

use potluck_base::{Instant, Machine as _};
use potluck_gossip::search;
use potluck_kv::CommandId;
use potluck_link::RequestOptions;
use potluck_wire::{Refusal, Request, Response};

use super::Node;
use super::pending::{Asker, Delivery, Owner};
use crate::command::Reply;
use crate::output::Output;

/// Longest answer in bytes that says that a message was taken.
const TAKEN_ANSWER: usize = 16;
/// Tries of a search's messages: there are many rings and walkers.
const SEARCH_TRIES: u8 = 2;

impl Node {
    pub(super) fn on_search_command(&mut self, now: Instant, id: CommandId, words: Vec<String>) {
        let search = self.pending.begin(Owner::Host(id));
        self.gossip.search.handle(now, search::Input::Search { id: search, words });
    }

    pub(super) fn on_search(&mut self, now: Instant, output: search::Output) {
        match output {
            search::Output::Ask { ask, to, request } => {
                let delivery = Delivery::DatagramOrCall(RequestOptions {
                    tries: SEARCH_TRIES,
                    answer_bytes_max: TAKEN_ANSWER,
                    patience: Duration::ZERO,
                    ..RequestOptions::default()
                });
                let request = Request::Search(request);
                if self.ask(now, Asker::Search(ask), to, &request, delivery).is_err() {
                    self.gossip.search.handle(now, search::Input::Failed { ask });
                }
            }
            search::Output::Look { query, words, max } => {
                self.outbox.push_back(Output::LookForNames { query, words, max });
            }
            search::Output::Answer { serve, taken } => {
                let busy = Response::refused(Refusal::Busy);
                let response = if taken { Response::Taken } else { busy };
                self.answer_serve(now, serve.0, &response);
            }
            search::Output::Found { id, files, rings } => {
                if let Some(command) = self.pending.finish_for_host(id) {
                    self.reply(command, Reply::Found { files, rings });
                }
            }
            search::Output::Refused { id, error } => {
                if let Some(command) = self.pending.finish_for_host(id) {
                    self.reply(command, Reply::SearchRefused(error));
                }
            }
        }
    }
}
