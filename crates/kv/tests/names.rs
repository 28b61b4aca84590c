//! Listing names: what the asking node does with the pages of the members, and what a holder answers.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{
    Admission, Contact, Identity, Instant, Machine as _, NetworkId, NodeId, Peer, UnixMillis,
};
use potluck_kv::{
    AskId, Command, CommandError, CommandId, Config, Input, Kv, ListNames, NamesListed, Output,
    PeerRequest, Reply, ServeId,
};
use potluck_record::{
    Dot, Kind, Name, NamedState, NamesQuery, OpId, Space, StorageOp, StorageReply,
};
use potluck_wire::limits::CALL_BYTES_MAX;
use potluck_wire::{NameEntry, Names, NamesFound, Refusal, Request, Response};

const START: Instant = Instant::ZERO;

fn network() -> NetworkId {
    NetworkId::new("t", Admission::Lab, None)
}

fn peer(number: u8) -> Peer {
    let public_key = Identity::from_seed([number; 32]).public_key();
    Contact::new(public_key, ([10, 0, 0, number], 7).into()).in_network(&network())
}

fn kv(serves: bool) -> Kv {
    let mut kv =
        Kv::new(Identity::from_seed([0; 32]), network(), peer(0), serves, Config::default());
    kv.handle(START, Input::WallClock { now: UnixMillis(1_000), offset: 0 });
    kv
}

fn query(limit: u32) -> NamesQuery {
    let space = Space::Commons;
    NamesQuery { space, prefix: "n".to_owned(), after: None, until: None, limit }
}

/// What a member holds: a name, its newest dot, and how many values live.
fn entry(name: &str, newest: u64, values: u32) -> NameEntry {
    let dots = u128::from(newest).to_be_bytes();
    let name = name.to_owned();
    NameEntry { name, newest, dots, kind: 0, values, bytes: 7, expires_ms: 9_000 }
}

fn state(name: &str, newest: u64, values: u32) -> NamedState {
    NamedState {
        name: Name::new(name).expect("a name"),
        newest: Dot::from_raw(newest),
        dots: u128::from(newest),
        kind: Kind::Siblings,
        values,
        bytes: 7,
        expires: UnixMillis(9_000),
    }
}

fn found(entries: &[NameEntry], next: &str) -> Response {
    Response::Names(NamesFound { entries: entries.to_vec(), next: next.to_owned() })
}

/// A listing under way, and what it waits for.
struct Run {
    kv: Kv,
    asks: BTreeMap<NodeId, (AskId, Names)>,
    storage: Vec<(OpId, StorageOp)>,
    reply: Option<Reply>,
}

impl Run {
    fn start(serves: bool, members: u8, limit: u32) -> Self {
        let members = (0..=members).map(peer).collect();
        let list = ListNames { query: query(limit), members, all_members: true };
        let mut kv = kv(serves);
        kv.handle(START, Input::Command { id: CommandId(1), command: Command::Names(list) });
        let mut run = Self { kv, asks: BTreeMap::new(), storage: Vec::new(), reply: None };
        run.poll();
        run
    }

    fn poll(&mut self) {
        while let Some(output) = self.kv.poll_output() {
            match output {
                Output::Ask { id, to, request: Request::Names(names), .. } => {
                    assert!(self.asks.insert(to.id, (id, names)).is_none(), "asked twice at once");
                }
                Output::Storage { id, op } => self.storage.push((id, op)),
                Output::Reply { reply, .. } => self.reply = Some(reply),
                other => panic!("{other:?}"),
            }
        }
    }

    /// This node's own page.
    fn own(&mut self, entries: Vec<NamedState>, next: Option<&str>) {
        let (id, op) = self.storage.pop().expect("the own store is asked first");
        assert!(matches!(op, StorageOp::Names { .. }), "{op:?}");
        let next = next.map(|next| Name::new(next).expect("a name"));
        let reply = StorageReply::Names { entries, next };
        self.kv.handle(START, Input::Stored { id, reply });
        self.poll();
    }

    fn answers(&mut self, number: u8, response: Response) {
        let (ask, _) = self.asks.remove(&peer(number).id).expect("it was asked");
        self.kv.handle(START, Input::Answered { ask, response });
        self.poll();
    }

    fn fails(&mut self, number: u8) {
        let (ask, _) = self.asks.remove(&peer(number).id).expect("it was asked");
        self.kv.handle(START, Input::Failed { ask });
        self.poll();
    }

    fn listed(&self) -> &NamesListed {
        match &self.reply {
            Some(Reply::Names(listed)) => listed,
            other => panic!("{other:?}"),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.listed().names.iter().map(|state| state.name.as_str()).collect()
    }
}

#[test]
fn the_pages_of_all_members_become_one_without_repetition() {
    let mut run = Run::start(true, 2, 10);
    assert!(run.asks.is_empty(), "this node is asked first");
    run.own(vec![state("n1", 1, 1), state("n3", 1, 2)], None);
    run.answers(1, found(&[entry("n1", 1, 1), entry("n2", 5, 1)], ""));
    run.answers(2, found(&[entry("n2", 5, 1), entry("n3", 1, 2)], ""));
    assert_eq!(run.names(), ["n1", "n2", "n3"]);
    let listed = run.listed();
    assert_eq!((listed.asked, listed.answered, listed.next.as_deref()), (3, 3, None));
    assert!(listed.all_members && listed.silent.is_empty());
}

#[test]
fn a_deletion_hides_what_a_stale_member_still_holds_whoever_answers_first() {
    for turn in [[1, 2], [2, 1]] {
        let mut run = Run::start(false, 2, 10);
        for number in turn {
            let entry = if number == 1 { entry("n", 5, 1) } else { entry("n", 9, 0) };
            run.answers(number, found(&[entry], ""));
        }
        assert_eq!(run.names(), [""; 0]);
    }
}

#[test]
fn a_page_ends_where_the_first_member_ended_and_later_members_are_asked_no_farther() {
    let mut run = Run::start(true, 2, 3);
    run.own(vec![state("n1", 1, 1), state("n4", 1, 1), state("n6", 1, 1)], Some("n6"));
    assert_eq!(run.asks[&peer(1).id].1.until, "n6");
    run.answers(1, found(&[entry("n2", 1, 1), entry("n3", 1, 1), entry("n5", 1, 1)], "n5"));
    run.answers(2, found(&[entry("n2", 1, 1)], ""));
    assert_eq!(run.names(), ["n1", "n2", "n3"], "a page holds no more than was asked for");
    assert_eq!(run.listed().next.as_deref(), Some("n3"));
}

#[test]
fn a_member_that_does_not_answer_is_named_and_the_list_is_there_all_the_same() {
    let mut run = Run::start(true, 3, 10);
    run.own(vec![state("n1", 1, 1)], None);
    run.fails(1);
    run.answers(2, Response::unsupported());
    run.answers(3, Response::refused(Refusal::NotServing));
    let listed = run.listed();
    assert_eq!((listed.asked, listed.answered), (4, 2), "a client holds no names");
    assert_eq!(listed.silent, [peer(1), peer(2)]);
    assert_eq!(run.names(), ["n1"]);
}

#[test]
fn a_busy_member_is_asked_again_a_few_times() {
    let mut run = Run::start(true, 1, 10);
    run.own(Vec::new(), None);
    for _ in 0..4 {
        run.answers(1, Response::refused(Refusal::Busy));
    }
    assert_eq!(run.reply, None);
    run.answers(1, Response::refused(Refusal::Busy));
    assert_eq!(run.listed().silent, [peer(1)]);
}

#[test]
fn at_most_eight_members_are_asked_at_once_and_the_deadline_ends_it() {
    let mut run = Run::start(false, 20, 10);
    assert_eq!(run.asks.len(), 8);
    let first = run.asks.keys().next().copied().expect("some");
    let (ask, _) = run.asks.remove(&first).expect("some");
    run.kv.handle(START, Input::Answered { ask, response: found(&[entry("n", 1, 1)], "") });
    run.poll();
    assert_eq!(run.asks.len(), 8);
    run.kv.handle(START + Duration::from_secs(60), Input::Timeout);
    while let Some(output) = run.kv.poll_output() {
        if let Output::Reply { reply, .. } = output {
            run.reply = Some(reply);
        }
    }
    let listed = run.listed();
    assert_eq!((listed.asked, listed.answered, listed.silent.len()), (20, 1, 19));
    assert_eq!(run.names(), ["n"]);
    assert_eq!(run.kv.stats().commands_active, 0);
}

#[test]
fn it_fails_only_if_no_member_answered() {
    let mut run = Run::start(false, 1, 10);
    run.fails(1);
    let failed = CommandError::TooFewAnswers { answers: 0, needed: 1 };
    assert_eq!(run.reply, Some(Reply::Failed(failed.clone())));
    assert_eq!(Run::start(false, 0, 10).reply, Some(Reply::Failed(failed)));
}

#[test]
fn an_answer_that_was_not_asked_for_counts_as_none() {
    let long = "n".repeat(513);
    for bad in [
        found(&[entry("m", 1, 1)], ""),
        found(&[entry("n2", 1, 1), entry("n1", 1, 1)], ""),
        found(&[entry("n1", 1, 1), entry("n1", 1, 1)], ""),
        found(&[entry(&long, 1, 1)], ""),
        found(&[entry("n\n", 1, 1)], ""),
        found(&[entry("n2", 1, 1)], "n1"),
    ] {
        let mut run = Run::start(true, 1, 10);
        run.own(Vec::new(), None);
        run.answers(1, bad);
        assert_eq!(run.listed().silent, [peer(1)]);
        assert_eq!(run.kv.stats().answers_bad, 1);
    }
}

#[test]
fn a_holder_answers_members_with_a_page_and_bounds_what_it_reads_at_once() {
    let mut kv = kv(true);
    let names = |space, owner| {
        Request::Names(Names {
            space,
            owner,
            prefix: "n".to_owned(),
            after: String::new(),
            until: String::new(),
            limit: 10,
        })
    };
    let mut ask = |serve: u64, from: u8, request, proven| {
        let (contacts, budget) = (Vec::new(), CALL_BYTES_MAX);
        let request = PeerRequest { from: peer(from), request, contacts, proven, budget };
        kv.handle(START, Input::PeerRequest { serve: ServeId(serve), request });
        kv.poll_output()
    };
    let refused = |output: Option<Output>| match output {
        Some(Output::Respond { response, .. }) => response.refusal(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(ask(1, 1, names(2, None), false)), Some(Refusal::Unproven));
    let unknown = ask(2, 1, names(9, None), true);
    assert!(matches!(unknown, Some(Output::Respond { response: Response::Names(_), .. })));
    let mut ops = Vec::new();
    for serve in 3..=4 {
        match ask(serve, 1, names(2, None), true) {
            Some(Output::Storage { id, op: StorageOp::Names { query, .. } }) => {
                assert_eq!((query.space, query.prefix.as_str()), (Space::Commons, "n"));
                ops.push(id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused(ask(5, 1, names(2, None), true)), Some(Refusal::Busy), "its share");
    for serve in 0..14 {
        let output = ask(10 + serve, 2 + serve as u8, names(2, None), true);
        assert!(matches!(output, Some(Output::Storage { .. })), "{output:?}");
    }
    assert_eq!(refused(ask(30, 30, names(2, None), true)), Some(Refusal::Busy), "all pages");
    let reply = StorageReply::Names { entries: vec![state("n", 5, 1)], next: None };
    kv.handle(START, Input::Stored { id: ops[0], reply });
    match kv.poll_output() {
        Some(Output::Respond { serve: ServeId(3), response }) => {
            assert_eq!(response, found(&[entry("n", 5, 1)], ""));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((kv.stats().names_served, kv.stats().names_busy), (1, 2));
    assert_eq!(kv.stats().requests_active, 15);
}
