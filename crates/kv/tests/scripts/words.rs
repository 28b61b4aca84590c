//! What a node does, in the words of the scripts.

use potluck_base::Peer;
use potluck_kv::{Change, Gap, ReadDone, Reply};
use potluck_record::{Envelope, Place};
use potluck_wire::{Changed, Request, Response, StoreOutcome, WatchRequest};

use crate::samples::peer;

pub(crate) fn place_of(id: &Peer) -> String {
    let place = (0..9).find(|place| peer(*place).id == id.id).expect("a node of the script");
    if place == 0 { "itself".to_owned() } else { place.to_string() }
}

pub(crate) const fn place_text(place: Place) -> &'static str {
    match place {
        Place::Own => "own",
        Place::Replica => "replica",
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn texts(envelope: &Envelope) -> String {
    let all: Vec<String> = envelope.values().map(|(_, bytes)| text(&bytes)).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

pub(crate) fn request_text(request: &Request) -> String {
    match request {
        Request::Store { envelopes, certificates } => {
            let decoded = envelopes.iter().map(|part| Envelope::decode(part).expect("an envelope"));
            let texts = decoded.map(|it| texts(&it)).collect::<Vec<_>>().join(" and ");
            let with = if certificates.is_empty() { "" } else { " with certificates" };
            format!("to store {texts}{with}")
        }
        Request::Load(load) if load.keys.is_empty() => {
            format!("for {} certificates", load.certificates.len())
        }
        Request::Load(load) => match load.after {
            None => "for a page".to_owned(),
            Some(_) => "for the next page".to_owned(),
        },
        Request::Offer { entries } => format!("to pull {}", entries.len()),
        Request::Watch(WatchRequest::Lease { millis: 0, .. }) => "to end the lease".to_owned(),
        Request::Watch(WatchRequest::Lease { millis, .. }) => {
            format!("for a lease of {} s", millis / 1000)
        }
        Request::Watch(WatchRequest::Changed(Changed { changes, ended, .. })) => {
            format!("to note change {changes}{}", if *ended { ", the end" } else { "" })
        }
        other => format!("{other:?}"),
    }
}

pub(crate) fn response_text(response: &Response) -> String {
    match response {
        Response::Stored { outcomes } => {
            let told = outcomes.iter().map(|outcome| match outcome {
                StoreOutcome::Stored(_) => "stored".to_owned(),
                StoreOutcome::Older { .. } => "older".to_owned(),
                StoreOutcome::Refused(reason) => reason.to_string(),
            });
            told.collect::<Vec<_>>().join(", ")
        }
        Response::Found(found) => match &found.record {
            None => "no record".to_owned(),
            Some(record) => format!("{} parts, {}", record.parts.len(), record.complete),
        },
        Response::Loaded(page) if !page.certificates.is_empty() => {
            format!("{} certificates", page.certificates.len())
        }
        Response::Loaded(page) => {
            format!("{} envelopes, {} keys", page.envelopes.len(), page.keys_done)
        }
        Response::Offered { wanted } => format!("{wanted} wanted"),
        Response::Watching(watching) => {
            format!("a lease of {} s, {} changes", watching.millis / 1000, watching.changes)
        }
        Response::Refused { reason, .. } => reason.to_string(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::Written(written) => {
            format!("written, {} of {} acknowledged", written.acks, written.wanted)
        }
        Reply::Read(done) => format!("read {}", read_text(done)),
        Reply::Conflict(done) => format!("conflict {}", read_text(done)),
        Reply::Replicas(states) => {
            let told =
                states.iter().map(|(peer, state)| format!("{} {}", place_of(peer), state.as_str()));
            told.collect::<Vec<_>>().join(", ")
        }
        Reply::Names(listed) => format!("{listed:?}"),
        Reply::Local(held) => format!("{held:?}"),
        Reply::Watching(present) => format!("watching {}", change_text(present)),
        Reply::Unwatched => "unwatched".to_owned(),
        Reply::Failed(error) => format!("{error}"),
    }
}

pub(crate) fn change_text(change: &Change) -> String {
    let values: Vec<String> = change.reading.values.iter().map(|it| text(&it.bytes)).collect();
    let values = if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
    match change.gap {
        Gap::None => values,
        gap => format!("{values}, {gap:?} before"),
    }
}

fn read_text(done: &ReadDone) -> String {
    let values: Vec<String> = done.reading.values.iter().map(|it| text(&it.bytes)).collect();
    let values = if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
    format!("{values} of {}", done.answers)
}
