mod limits;
mod look;
mod network;
mod own;

use std::time::Duration;

use potluck_base::machine::{check_timer_contract, drain};
use potluck_base::{Contact, Instant, Machine, PublicKey, Rng};
use potluck_wire::search::{HITS_MAX, QueryId};
use potluck_wire::{Hit, SearchRequest};

use super::routes::{Route, Routes};
use super::words::QueryWords;
use super::{AskId, Input, LINKS_MAX, Output, Search, SearchError, ServeId, WAITING_MAX};
use crate::view::FoundFile;
use network::{Network, contact, file, key};

/// A node with neighbours 1 to `links`, all of which have its filter.
struct Lone {
    node: Search,
    now: Instant,
    serves: u64,
}

impl Lone {
    fn new(links: usize) -> Self {
        let node = Search::new(key(0), Rng::from_number(9));
        let mut lone = Self { node, now: Instant::from_micros(1), serves: 0 };
        lone.input(Input::Neighbours((1..=links).map(contact).collect()));
        lone
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.node.handle(self.now, input);
        drain(&mut self.node)
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.input(Input::Timeout)
    }

    /// Whether it accepts this, and what it sends in the same turn.
    fn asked(
        &mut self,
        from: usize,
        request: SearchRequest,
    ) -> (bool, Vec<(Contact, SearchRequest)>) {
        self.serves += 1;
        let serve = ServeId(self.serves);
        let outputs = self.input(Input::Asked { serve, from: contact(from), request });
        let mut answers = outputs.iter().filter_map(|output| match output {
            Output::Answer { serve: at, taken } if *at == serve => Some(*taken),
            _ => None,
        });
        let taken = answers.next().expect("every request is answered");
        assert_eq!(answers.next(), None, "and once");
        (taken, asks(outputs))
    }

    fn filter(&mut self, from: usize, filter: Vec<u8>) {
        let (taken, _) = self.asked(from, SearchRequest::Keywords { filter: filter.into() });
        assert!(taken);
    }
}

fn asks(outputs: Vec<Output>) -> Vec<(Contact, SearchRequest)> {
    let asks = outputs.into_iter().filter_map(|output| match output {
        Output::Ask { to, request, .. } => Some((to, request)),
        _ => None,
    });
    asks.collect()
}

fn query(number: u8, word: &str, ring: u8, hops: u8) -> SearchRequest {
    let (query, words) = (QueryId([number; 16]), vec![word.to_owned()]);
    SearchRequest::Query { query, words, ring, hops }
}

fn numbered(number: u32, word: &str) -> SearchRequest {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_le_bytes());
    SearchRequest::Query { query: QueryId(id), words: vec![word.to_owned()], ring: 2, hops: 1 }
}

fn hit(name: &str, holder: PublicKey) -> Hit {
    let FoundFile { name, root, bytes, folder, .. } = file(name);
    Hit { name, root, bytes, folder, holder }
}

fn hits(number: u8, hits: Vec<Hit>) -> SearchRequest {
    SearchRequest::Hits { query: QueryId([number; 16]), hits }
}

#[test]
fn a_common_name_is_found_near_and_costs_little() {
    let mut network = Network::new(5, 500, 8);
    for number in (0..500).step_by(3) {
        network.input(number, Input::Names(vec![file(&format!("song {number}.mp3"))]));
    }
    network.run(Duration::from_secs(30));
    let (files, rings, took, messages) = network.search(1, "song");
    assert!(files.len() >= 8 && files.len() <= HITS_MAX, "{}", files.len());
    assert!(rings <= 3 && took < Duration::from_secs(2) && messages < 200, "{rings} {messages}");
    assert!(files.iter().all(|file| file.holder.is_some()));
    let (files, ..) = network.search(3, "song 3 mp3");
    assert!(files.iter().any(|file| file.holder.is_none()), "its own is among them");
}

#[test]
fn a_search_without_a_holder_ends_within_three_seconds() {
    for millis in [1, 80, 120, 150] {
        let mut lone = Lone::new(3);
        lone.filter(2, Vec::new());
        for number in 0..60 {
            // Neighbours answer, so that their response time is known.
            let query = numbered(number, "other");
            let (_, asked) = lone.asked(1, query);
            assert!(!asked.is_empty() || number > 0);
            lone.now += Duration::from_millis(millis);
            for ask in 1..=4 * u64::from(number + 1) {
                lone.input(Input::Answered { ask: AskId(ask) });
            }
            lone.now += Duration::from_secs(1);
        }
        let began = lone.now;
        lone.input(Input::Search { id: 1, words: vec!["gamma".to_owned()] });
        let mut found = Vec::new();
        while found.is_empty() {
            let (at, did) = check_timer_contract(&mut lone.node, lone.now, || Input::Timeout)
                .expect("a search is under way");
            found.extend(did.into_iter().filter(|output| matches!(output, Output::Found { .. })));
            lone.now = at;
        }
        let walked = matches!(found[..], [Output::Found { rings: 5, .. }]);
        let took = lone.now.since(began);
        assert!(walked && took <= Duration::from_secs(3), "{millis} ms: {took:?}");
        assert!(took > Duration::from_millis(400), "{millis} ms: {took:?}");
    }
}

#[test]
fn every_deadline_keeps_the_timer_contract() {
    let mut lone = Lone::new(3);
    lone.filter(2, Vec::new());
    lone.input(Input::Names(vec![file("alpha beta")]));
    lone.input(Input::Search { id: 1, words: vec!["gamma".to_owned()] });
    lone.asked(1, query(1, "alpha", 4, 3));
    lone.asked(2, query(2, "nothing", 4, 3));
    let mut ended = 0;
    for _ in 0..40 {
        let (at, did) = check_timer_contract(&mut lone.node, lone.now, || Input::Timeout)
            .expect("filters are sent for ever");
        ended += did.iter().filter(|output| matches!(output, Output::Found { .. })).count();
        lone.now = at;
    }
    assert_eq!(ended, 1);
}

#[test]
fn without_neighbours_a_search_ends_at_once_with_own_files() {
    let mut lone = Lone::new(0);
    lone.input(Input::Names(vec![file("alpha beta")]));
    let outputs = lone.input(Input::Search { id: 1, words: vec!["ALPHA".to_owned()] });
    let found = Output::Found { id: 1, files: vec![file("alpha beta")], rings: 0 };
    assert_eq!(outputs, [found]);
}

#[test]
fn own_searches_have_a_quota_and_bad_words_cost_none_of_it() {
    let mut lone = Lone::new(0);
    for _ in 0..10 {
        let outputs = lone.input(Input::Search { id: 1, words: vec!["--".to_owned()] });
        assert_eq!(outputs, [Output::Refused { id: 1, error: SearchError::Words }]);
    }
    let search = |lone: &mut Lone| {
        let outputs = lone.input(Input::Search { id: 2, words: vec!["word".to_owned()] });
        assert_eq!(outputs.len(), 1);
        matches!(outputs[0], Output::Found { .. })
    };
    assert_eq!((0..8).filter(|_| search(&mut lone)).count(), 5);
    lone.now += Duration::from_secs(5);
    assert_eq!((0..8).filter(|_| search(&mut lone)).count(), 1);
}

#[test]
fn a_farther_ring_is_relayed_and_the_same_one_is_not() {
    let mut lone = Lone::new(4);
    (1..=4).for_each(|link| lone.filter(link, vec![0xff; 64]));
    let (taken, sent) = lone.asked(1, query(1, "word", 2, 1));
    assert_eq!((taken, sent.len()), (true, 3));
    assert!(
        sent.iter().all(|(to, request)| *to != contact(1) && *request == query(1, "word", 2, 0))
    );
    assert_eq!(lone.asked(2, query(1, "word", 2, 1)), (true, vec![]));
    assert_eq!(lone.node.stats().duplicates, 1);
    // Neighbours 1 and 2 have it; 3 and 4 are asked once more, to relay it.
    let (_, sent) = lone.asked(1, query(1, "word", 3, 2));
    assert_eq!(sent, [(contact(3), query(1, "word", 3, 1)), (contact(4), query(1, "word", 3, 1))]);
    // A minute later nothing of it is left.
    lone.now += Duration::from_secs(45);
    assert_eq!(lone.asked(1, query(1, "word", 4, 3)).1, []);
    assert_eq!((lone.node.stats().routes, lone.node.stats().seen), (0, 1));
    lone.now += Duration::from_secs(20);
    assert_eq!(lone.asked(1, query(2, "word", 1, 0)).1, []);
    assert_eq!((lone.node.stats().routes, lone.node.stats().seen), (1, 1));
}

#[test]
fn the_last_hop_is_spared_where_the_filter_does_not_match() {
    let mut sharer = Lone::new(1);
    let outputs = sharer.input(Input::Names(vec![file("alpha beta.txt")]));
    assert_eq!(outputs, [], "sent a moment ago");
    let told = asks(sharer.pass(Duration::from_secs(15)));
    let [(_, SearchRequest::Keywords { filter })] = told.as_slice() else { panic!("{told:?}") };
    let mut lone = Lone::new(4);
    lone.filter(2, filter.to_vec());
    lone.filter(3, Vec::new());
    let (_, sent) = lone.asked(1, query(1, "alph", 2, 1));
    // Of the fourth no filter is known.
    assert_eq!(sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [contact(2), contact(4)]);
    let (_, sent) = lone.asked(1, query(2, "zebra", 2, 1));
    assert_eq!(sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [contact(4)]);
    assert_eq!(lone.node.stats().spared, 3);
}

#[test]
fn a_filter_that_did_not_arrive_is_sent_again() {
    let mut node = Search::new(key(0), Rng::from_number(9));
    let mut now = Instant::from_micros(1);
    node.handle(now, Input::Neighbours(vec![contact(1)]));
    for _ in 0..3 {
        let asked = drain(&mut node);
        let [Output::Ask { ask, request: SearchRequest::Keywords { .. }, .. }] = asked.as_slice()
        else {
            panic!("{asked:?}")
        };
        node.handle(now, Input::Failed { ask: *ask });
        assert_eq!(drain(&mut node), []);
        now += Duration::from_secs(5);
        node.handle(now, Input::Timeout);
    }
    node.handle(now, Input::Failed { ask: AskId(999) });
    assert_eq!(node.stats().failed, 3);
}

#[test]
fn one_flooding_neighbour_does_not_hurt_the_others() {
    let mut lone = Lone::new(8);
    (1..=8).for_each(|link| lone.filter(link, vec![0xff; 64]));
    let (mut taken, mut passed, mut honest) = (0, 0, 0);
    for number in 0..60_000 {
        // A minute at 1,000 a second, and an honest one every two seconds.
        lone.now += Duration::from_millis(1);
        let (ok, sent) = lone.asked(1, numbered(number, "flood"));
        taken += usize::from(ok);
        passed += sent.iter().filter(|(_, r)| matches!(r, SearchRequest::Query { .. })).count();
        if number % 2000 == 1999 {
            let (ok, sent) = lone.asked(2, numbered(1_000_000 + number, "honest"));
            honest += usize::from(ok && sent.len() == 7);
        }
        drain(&mut lone.node);
    }
    assert!(taken <= 40 + 600 + 1, "{taken} taken");
    let stats = lone.node.stats();
    assert_eq!(stats.over_quota, 60_000 - taken as u64);
    assert!(stats.routes < 700 && stats.seen < 700 && stats.asking <= 4096, "{stats:?}");
    assert_eq!(honest, 30, "{passed} of the flood were passed on");
}

#[test]
fn strangers_are_refused_and_reconnecting_renews_no_quota() {
    let mut lone = Lone::new(2);
    assert_eq!(lone.asked(7, query(1, "word", 2, 1)), (false, vec![]));
    assert_eq!(lone.node.stats().strangers, 1);
    let mut taken = 0;
    for number in 0..400 {
        lone.input(Input::Neighbours(vec![contact(2)]));
        lone.input(Input::Neighbours(vec![contact(1), contact(2)]));
        taken += usize::from(lone.asked(1, numbered(number, "word")).0);
    }
    assert_eq!(taken, 40);
    lone.input(Input::Neighbours((1..=100).map(contact).collect()));
    assert_eq!(lone.node.stats().links, LINKS_MAX);
}

#[test]
fn hits_return_to_the_sender_of_the_search_first_at_once_then_together() {
    let mut lone = Lone::new(3);
    lone.input(Input::Names(vec![file("word one")]));
    let (_, sent) = lone.asked(1, query(1, "word", 3, 2));
    let back = (contact(1), hits(1, vec![hit("word one", key(0))]));
    assert!(sent.contains(&back) && sent.len() == 3, "{sent:?}");
    let (a, b) = (hit("word a", key(8)), hit("word b", key(9)));
    assert_eq!(lone.asked(2, hits(1, vec![a.clone()])), (true, vec![]));
    assert_eq!(lone.asked(3, hits(1, vec![b.clone(), a.clone()])), (true, vec![]));
    let sent = asks(lone.pass(Duration::from_millis(200)));
    assert_eq!(sent, [(contact(1), hits(1, vec![a, b]))]);
    assert_eq!(lone.node.stats().surplus_hits, 1);
}

#[test]
fn unsolicited_and_impossible_hits_are_dropped() {
    let mut lone = Lone::new(3);
    let good = hit("word", key(8));
    assert!(!lone.asked(2, hits(1, vec![good.clone()])).0, "an unknown search");
    lone.asked(1, query(1, "word", 3, 2));
    assert!(!lone.asked(1, hits(1, vec![good.clone()])).0, "from where the search came");
    assert_eq!(lone.node.stats().stray_hits, 2);
    let huge = Hit { bytes: u64::MAX, ..good.clone() };
    let bad = vec![hit("other", key(8)), hit("word\u{1b}[2J", key(8)), huge];
    let (taken, sent) = lone.asked(2, hits(1, bad));
    assert!(taken && sent.is_empty());
    assert_eq!(lone.node.stats().malformed, 3);
    // A neighbour that invents hits leaves room for those of others.
    let many =
        |from: usize| (0..32).map(|n| hit(&format!("word {n}"), key(from * 100 + n))).collect();
    lone.asked(2, hits(1, many(1)));
    assert_eq!(lone.node.stats().hits_taken, 16);
    lone.asked(3, hits(1, many(2)));
    lone.asked(3, hits(1, many(3)));
    assert_eq!(lone.node.stats().hits_taken, 32);
    lone.pass(Duration::from_secs(1));
    assert_eq!(lone.node.stats().waiting, 0);
}

#[test]
fn waiting_hits_are_bounded_over_all_searches() {
    let mut routes = Routes::default();
    let words = || QueryWords::parse(&["word".to_owned()]).unwrap();
    let mut dropped = 0;
    for number in 0..50 {
        let query = QueryId([number; 16]);
        assert!(routes.open(Instant::ZERO, query, Route::new(None, words())));
        dropped += routes.wait(query, vec![hit("word", key(1)); HITS_MAX]);
    }
    assert_eq!((routes.waiting(), dropped), (WAITING_MAX, 50 * HITS_MAX - WAITING_MAX));
    routes.flush(Instant::ZERO);
    assert_eq!((routes.waiting(), routes.flush_at()), (0, None));
    routes.wait(QueryId([0; 16]), vec![hit("word", key(1))]);
    routes.expire(Instant::ZERO + Duration::from_secs(30));
    assert_eq!((routes.waiting(), routes.len(), routes.flush_at()), (0, 0, None));
}

#[test]
fn malformed_searches_are_refused_and_counted() {
    let mut lone = Lone::new(2);
    for word in ["UPPER", "two words", "-"] {
        assert_eq!(lone.asked(1, query(1, word, 2, 1)), (false, vec![]));
    }
    assert_eq!((lone.node.stats().malformed, lone.node.stats().routes), (3, 0));
}

#[test]
fn walkers_split_and_go_on_until_their_steps_are_used_up() {
    let mut lone = Lone::new(4);
    (1..=4).for_each(|link| lone.filter(link, Vec::new()));
    let walk = |number, walkers, steps| SearchRequest::Walk {
        query: QueryId([number; 16]),
        words: vec!["word".to_owned()],
        walkers,
        steps,
    };
    let (_, sent) = lone.asked(1, walk(1, 8, 5));
    let count: u8 = sent
        .iter()
        .map(|(to, request)| match request {
            SearchRequest::Walk { walkers, steps: 4, .. } if *to != contact(1) => *walkers,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!((count, sent.len()), (8, 3));
    assert_eq!(lone.asked(1, walk(2, 8, 0)).1, []);
    // The same walkers do not go on for ever.
    let again = (0..60).filter(|_| !lone.asked(1, walk(3, 1, 5)).1.is_empty()).count();
    assert!(again <= 16, "{again}");
}
