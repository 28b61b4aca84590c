//! A node machine under hostile datagrams, calls and answers.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{BlobId, Key};
use potluck_dht::EntryPoint;
use potluck_link::fuzzing::Sealer;
use potluck_node::{Command, Input};

use crate::outcome::Seen;
use crate::samples;
use crate::shell::Shell;
use crate::target::Feed;

/// Inputs after which a node begins anew, so that its age does not hide what a young one does.
const ROUNDS_MAX: u64 = 4096;

/// Datagrams of strangers, which get no more bytes than they sent.
pub(super) fn datagram() -> Box<Feed> {
    let mut shell = Shell::new(1);
    let mut number = 0_u64;
    Box::new(move |bytes, seen| {
        number += 1;
        if number.is_multiple_of(ROUNDS_MAX) {
            shell = Shell::new(1);
        }
        let from = ([127, 0, (number >> 8) as u8, number as u8], 4000).into();
        shell.pass(Duration::from_micros(500));
        shell.sent.clear();
        shell.node.handle_datagram(shell.now, from, bytes);
        shell.handle(Input::Timeout);
        let to_it = shell.sent.iter().filter(|(to, _)| *to == from);
        let sent: usize = to_it.map(|(_, bytes)| bytes.len()).sum();
        assert!(sent <= bytes.len(), "{sent} bytes out for {} in", bytes.len());
        if sent > 0 {
            seen.accept("sent", &bytes.first());
        }
        seen.count("first byte", u64::from(bytes.first().copied().unwrap_or(0)));
        shell.tell_what_moved(seen);
    })
}

/// A node with a session with a peer, whose keys the target has.
struct Acquainted {
    shell: Shell,
    sealer: Sealer,
    /// Request ids that the node waits for, newest last.
    asked: VecDeque<[u8; 8]>,
    inputs: u64,
}

const PEER: u8 = 2;
/// Open requests that answers are made for.
const ASKED_MAX: usize = 8;

impl Acquainted {
    fn new(number: u64) -> Self {
        let (node, peer) = (samples::identity(1).public_key(), samples::identity(PEER));
        let mut boot = [7; 16];
        boot[..8].copy_from_slice(&number.to_be_bytes());
        let sealer =
            Sealer::new(peer, samples::network(), &node, boot).expect("keys of identities");
        let (shell, asked) = (Shell::new(1), VecDeque::new());
        let mut this = Self { shell, sealer, asked, inputs: 0 };
        // The node asks the peer, so that it has a session with it, and is answered.
        let entry = EntryPoint::Contact(samples::contact(PEER));
        this.shell.command("join", Command::Join(entry));
        this.look();
        let pong = potluck_wire::encode_response(&potluck_wire::Response::Pong);
        for _ in 0..ASKED_MAX {
            this.answer_with(&pong);
        }
        this.shell.pass(Duration::from_millis(100));
        this.look();
        this
    }

    /// Reads the requests that the node sent to the peer.
    fn look(&mut self) {
        let to_peer = samples::contact(PEER).address;
        for (to, datagram) in std::mem::take(&mut self.shell.sent) {
            let inside = (to == to_peer).then(|| self.sealer.open(&datagram)).flatten();
            if let Some([kind, id @ ..]) = inside.as_deref()
                && kind & 15 == 1
                && let Some(id) = id.first_chunk()
            {
                self.asked.push_back(*id);
            }
        }
        while self.asked.len() > ASKED_MAX {
            self.asked.pop_front();
        }
    }

    fn receive(&mut self, inside: &[u8]) {
        let bytes = self.sealer.seal(inside);
        self.shell.handle(Input::Datagram { from: samples::contact(PEER).address, bytes });
        self.look();
    }

    /// A response as it should be, with this message.
    fn answer_with(&mut self, message: &[u8]) {
        let Some(id) = self.asked.pop_back() else { return };
        self.receive(&response_inside(id, message));
    }
}

/// The inside of a request.
fn request_inside(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u16).to_be_bytes();
    [&[1][..], &77_u64.to_be_bytes(), &[0], &length, message].concat()
}

/// The inside of a response to the node.
fn response_inside(id: [u8; 8], message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u16).to_be_bytes();
    let asker = [6, 127, 0, 0, 1, 0x0f, 0xa0];
    let clock = 1_800_000_000_000_u64.to_be_bytes();
    [&[2][..], &id, &[0], &asker, &clock, &length, message].concat()
}

/// The insides of sealed datagrams of a peer. The first byte says what the rest is, the inside (0, 1) or only
/// the message of a request (2) or answer (3), and how much time passes before. The id of a request that is
/// open is put in where there is a place for it.
pub(super) fn sealed() -> Box<Feed> {
    let mut number = 0;
    let mut peer = Acquainted::new(number);
    Box::new(move |bytes, seen| {
        let Some((mode, inside)) = bytes.split_first() else { return };
        peer.inputs += 1;
        if peer.inputs.is_multiple_of(ROUNDS_MAX) {
            number += 1;
            peer = Acquainted::new(number);
        }
        let rest = &inside[..inside.len().min(1000)];
        let pause = Duration::from_micros(100 << (mode >> 5 << 1));
        peer.shell.pass(pause);
        peer.look();
        let id = peer.asked.back().copied().unwrap_or_default();
        let mut inside = match mode & 3 {
            2 => request_inside(rest),
            3 => response_inside(id, rest),
            _ => rest.to_vec(),
        };
        if mode & 3 == 1
            && let Some(place) = inside.get_mut(1..9)
        {
            place.copy_from_slice(&id);
        }
        peer.shell.tell_what_moved(&mut Seen::default());
        let stats = peer.shell.node.stats().link;
        peer.receive(&inside);
        let after = peer.shell.node.stats().link;
        let answered = after.responses_out > stats.responses_out;
        let taken = after.requests_answered > stats.requests_answered;
        if answered || taken {
            seen.accept("datagram", &(answered, taken, inside.first()));
        }
        outcome_of_message(&inside, seen);
        peer.shell.tell_what_moved(seen);
    })
}

/// What the message in a sealed datagram is, for the search.
fn outcome_of_message(inside: &[u8], seen: &mut Seen) {
    // Where it begins without certificate and cookie.
    let at = if inside.first() == Some(&1) { 12 } else { 27 };
    let Some(message) = inside.get(at..) else { return };
    match inside.first() {
        Some(1) => seen.note("message", &potluck_wire::decode_request(message)),
        _ => seen.note("message", &potluck_wire::decode_response(message)),
    }
}

/// Samples for [`sealed`].
pub(super) fn sealed_samples() -> Vec<Vec<u8>> {
    let (requests, answers) = (samples::requests(), samples::responses());
    let raw = [
        [vec![0x20], request_inside(&requests[1])].concat(),
        [vec![0x41], response_inside([0; 8], &answers[1])].concat(),
    ];
    let requests = requests.into_iter().map(|message| [vec![0x22], message].concat());
    let answers = answers.into_iter().map(|message| [vec![0x43], message].concat());
    requests.chain(answers).chain(raw).collect()
}

/// Calls of peers.
pub(super) fn call() -> Box<Feed> {
    let mut shell = Shell::new(1);
    let mut number = 0_u64;
    Box::new(move |bytes, seen| {
        number += 1;
        if number.is_multiple_of(ROUNDS_MAX) {
            shell = Shell::new(1);
        }
        // Another peer now and then, so that no budget of one peer ends it all.
        shell.pass(Duration::from_millis(number % 40));
        let answered = shell.answered;
        shell.tell_what_moved(&mut Seen::default());
        shell.called(2 + (number % 200) as u8, Bytes::copy_from_slice(bytes));
        shell.sent.clear();
        if shell.answered > answered {
            let request = potluck_wire::decode_request(bytes);
            seen.result("call", &request.map(|_| ()));
        }
        shell.tell_what_moved(seen);
    })
}

/// Answers to the calls and requests of a node with a peer. The first byte says what the node does that makes
/// it ask.
pub(super) fn answer() -> Box<Feed> {
    let mut number = 0;
    let mut peer = Acquainted::new(number);
    Box::new(move |bytes, seen| {
        let Some((mode, message)) = bytes.split_first() else { return };
        peer.inputs += 1;
        if peer.inputs.is_multiple_of(ROUNDS_MAX / 4) {
            number += 1;
            peer = Acquainted::new(number);
        }
        let shell = &mut peer.shell;
        let key = Key::from_bytes([5; 32]);
        match mode & 7 {
            0 => shell.command("get", Command::Get { key, quorum: None }),
            1 => shell.command("trace", Command::Trace { key }),
            2 => shell.command("replicas", Command::Replicas { key }),
            3 => shell.command("watch", Command::Watch { key }),
            4 => {
                let query = super::commands::names_query("config/", None);
                shell.command("names", Command::Names { query });
            }
            5 => {
                let begin = potluck_swarm::Begin {
                    fetch: potluck_swarm::FetchId(peer.inputs),
                    blob: BlobId::from_bytes([7; 32]),
                    root: BlobId::from_bytes([7; 32]),
                    sources: vec![samples::contact(PEER)],
                    size: None,
                };
                shell.handle(Input::Swarm(potluck_swarm::Input::Begin(begin)));
            }
            _ => shell.pass(Duration::from_secs(1)),
        }
        peer.look();
        let replies = peer.shell.replies;
        peer.shell.tell_what_moved(&mut Seen::default());
        let message = Bytes::copy_from_slice(&message[..message.len().min(4096)]);
        let mut calls = 0;
        while let Some(call) = peer.shell.calls.pop_front() {
            calls += 1;
            peer.shell.handle(Input::Answered { call, bytes: message.clone() });
            if calls > 20 {
                break;
            }
        }
        if message.len() < 1000 {
            for _ in 0..3 {
                peer.answer_with(&message);
            }
        }
        peer.shell.pass(Duration::from_millis(20));
        peer.look();
        let response = potluck_wire::decode_response(&message).map(|_| ());
        seen.result("response", &response);
        seen.count("replies", peer.shell.replies - replies);
        seen.count("calls", calls);
        peer.shell.tell_what_moved(seen);
    })
}

/// Samples for [`answer`].
pub(super) fn answer_samples() -> Vec<Vec<u8>> {
    samples::responses()
        .into_iter()
        .enumerate()
        .map(|(number, message)| [vec![number as u8], message].concat())
        .collect()
}
