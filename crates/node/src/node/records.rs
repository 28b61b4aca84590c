//! The record part of the wiring: lookups go to the DHT, requests over the link or as calls, storage
//! operations to the shell.

use potluck_base::{Contact, Instant, Machine as _};
use potluck_dht::LookupId;
use potluck_link::RequestOptions;
use potluck_wire::Request;
use potluck_wire::limits::MESSAGE_BYTES_MAX;

use super::pending::{Asker, Delivery};
use super::{ASK_TRIES, Node, SHORT_ANSWER};
use crate::output::Output;

impl Node {
    pub(super) fn on_kv(&mut self, now: Instant, output: potluck_kv::Output) {
        use potluck_kv::Output as Kv;
        match output {
            Kv::Foreign(_) => self.on_elsewhere(now),
            Kv::Lookup { id, target, want, goal, why, waits, doubt } => {
                let id = LookupId::records(id.0);
                let lookup =
                    potluck_dht::Input::Lookup { id, target, want, goal, why, waits, doubt };
                self.dht.handle(now, lookup);
            }
            Kv::StopLookup(id) => {
                self.dht.handle(now, potluck_dht::Input::Stop(LookupId::records(id.0)));
            }
            Kv::Ask { id, to, request, delivery } => {
                self.ask_for_kv(now, id, to.contact, &request, delivery);
            }
            Kv::Storage { id, op } => self.outbox.push_back(Output::Storage { id, op }),
            Kv::Checked { peer, signatures, bad } => self.on_checked(now, peer, signatures, bad),
            Kv::Respond { serve, response } => self.answer_serve(now, serve.0, &response),
            Kv::Reply { id, reply } => self.on_kv_reply(now, id, reply),
            Kv::Changed(change) => self.outbox.push_back(Output::Changed(change)),
            Kv::WatchEnded(key) => self.outbox.push_back(Output::WatchEnded(key)),
            Kv::HandedOver { keys } => self.on_handed_over(now, keys),
        }
    }

    fn ask_for_kv(
        &mut self,
        now: Instant,
        ask: potluck_kv::AskId,
        to: Contact,
        request: &Request,
        delivery: potluck_kv::Delivery,
    ) {
        let long_answer = matches!(request, Request::Load(_));
        let answer_bytes_max = if long_answer { MESSAGE_BYTES_MAX } else { SHORT_ANSWER };
        let options =
            RequestOptions { tries: ASK_TRIES, answer_bytes_max, ..RequestOptions::default() };
        let delivery = match delivery {
            potluck_kv::Delivery::Fitting => Delivery::DatagramOrCall(options),
            potluck_kv::Delivery::Call => Delivery::Call,
        };
        if self.ask(now, Asker::Kv(ask), to, request, delivery).is_err() {
            self.kv.handle(now, potluck_kv::Input::Failed { ask });
        }
    }
}
