//! What neighbours may cost this node and its other neighbours.

use potluck_wire::{Request, encode_request, limits};

use super::super::ROUTES_MAX;
use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

/// The searches that were relayed, with their hops.
fn passed(sent: &[(Contact, SearchRequest)], to: usize) -> Vec<u8> {
    let to_it = sent.iter().filter(|(at, _)| *at == contact(to));
    let hops = to_it.filter_map(|(_, request)| match request {
        SearchRequest::Query { hops, .. } => Some(*hops),
        _ => None,
    });
    hops.collect()
}

/// A search with many hops left.
fn far(number: u32) -> SearchRequest {
    let SearchRequest::Query { query, words, .. } = numbered(number, "word") else {
        unreachable!("it is a search")
    };
    SearchRequest::Query { query, words, ring: 4, hops: 3 }
}

fn walk(number: u8, walkers: u8, steps: u8) -> SearchRequest {
    let (query, words) = (QueryId([number; 16]), vec!["word".to_owned()]);
    SearchRequest::Walk { query, words, walkers, steps }
}

#[test]
fn one_neighbour_gets_32_searches_at_once_and_eight_a_second() {
    let mut lone = Lone::new(6);
    let mut number = 0;
    let mut round = |lone: &mut Lone| {
        let mut got = 0;
        for from in (1..=5).cycle().take(100) {
            number += 1;
            got += passed(&lone.asked(from, numbered(number, "word")).1, 6).len();
        }
        got
    };
    assert_eq!(round(&mut lone), 32);
    lone.now += Duration::from_secs(1);
    assert_eq!(round(&mut lone), 8);
    assert!(lone.node.stats().held_back > 0);
}

#[test]
fn of_one_neighbour_forty_searches_are_accepted_and_twenty_relayed() {
    let mut lone = Lone::new(3);
    let mut number = 0;
    let mut round = |lone: &mut Lone| {
        let (mut taken, mut sent) = (0, 0);
        for _ in 0..60 {
            number += 1;
            let (ok, asked) = lone.asked(1, numbered(number, "word"));
            taken += usize::from(ok);
            sent += passed(&asked, 2).len();
        }
        (taken, sent)
    };
    assert_eq!(round(&mut lone), (40, 20));
    lone.now += Duration::from_secs(1);
    assert_eq!(round(&mut lone), (10, 4));
}

#[test]
fn messages_caused_elsewhere_are_charged_to_the_sender() {
    let mut lone = Lone::new(3);
    let sent = (1..=20).filter(|number| !passed(&lone.asked(1, far(*number)).1, 2).is_empty());
    assert_eq!(sent.count(), 400 / 32);
    assert_eq!(lone.node.stats().unpaid, 8);
    let mut lone = Lone::new(3);
    (1..=3).for_each(|link| lone.filter(link, Vec::new()));
    let sent = (1..=5).filter(|number| !lone.asked(1, walk(*number, 192, 8)).1.is_empty());
    assert_eq!(sent.count(), 400 / 192);
}

#[test]
fn hits_and_filters_have_a_quota_too() {
    let mut lone = Lone::new(2);
    (0..410).for_each(|_| {
        lone.asked(1, hits(1, Vec::new()));
    });
    assert_eq!(lone.node.stats().over_quota, 10);
    let mut lone = Lone::new(2);
    let filter = || SearchRequest::Keywords { filter: Vec::new().into() };
    assert_eq!((0..9).filter(|_| lone.asked(1, filter()).0).count(), 4);
    lone.now += Duration::from_secs(10);
    assert_eq!((0..9).filter(|_| lone.asked(1, filter()).0).count(), 1);
}

#[test]
fn filters_are_sent_every_five_minutes_and_changed_ones_after_a_pause() {
    let mut lone = Lone::new(1);
    let mut sent_at = 0;
    for _ in 0..6_000 {
        sent_at += lone.pass(Duration::from_millis(100)).len();
    }
    assert!((1..=2).contains(&sent_at), "{sent_at} in ten minutes");
    let mut lone = Lone::new(1);
    lone.input(Input::Names(vec![file("alpha")]));
    assert_eq!(lone.pass(14_999 * MILLISECOND), []);
    assert_eq!(asks(lone.pass(MILLISECOND)).len(), 1);
}

#[test]
fn hits_return_for_half_a_minute_and_a_search_is_new_again_after_a_minute() {
    let mut lone = Lone::new(3);
    lone.asked(1, query(1, "word", 2, 1));
    let mut states = Vec::new();
    for seconds in [29, 2, 28, 2] {
        lone.pass(Duration::from_secs(seconds));
        states.push((lone.node.stats().routes, lone.node.stats().seen));
    }
    assert_eq!(states, [(1, 1), (0, 1), (0, 1), (0, 0)]);
}

#[test]
fn routes_are_bounded() {
    let mut routes = Routes::default();
    let words = QueryWords::parse(&["word".to_owned()]).unwrap();
    let opened = (0..9_000_u32).filter(|number| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        routes.open(Instant::ZERO, QueryId(id), Route::new(None, words.clone()))
    });
    assert_eq!(opened.count(), ROUTES_MAX);
    assert_eq!((routes.len(), ROUTES_MAX), (8_192, 8_192));
}

#[test]
fn unanswered_requests_are_forgotten() {
    let mut lone = Lone::new(LINKS_MAX);
    for second in 0..60 {
        lone.now += Duration::from_secs(1);
        for from in 1..=LINKS_MAX {
            for number in 0..4 {
                let number = second * 1_000 + 10 * from as u32 + number;
                lone.asked(from, numbered(number, "word"));
            }
        }
    }
    let stats = lone.node.stats();
    assert!(stats.queries_sent > 5_000, "{}", stats.queries_sent);
    assert_eq!(stats.asking, 4_096);
}

#[test]
fn hits_with_long_names_go_in_messages_that_fit_in_datagrams() {
    let mut lone = Lone::new(2);
    let name = |number| format!("word {number} {}", "x".repeat(240));
    lone.input(Input::Names((0..20).map(|number| file(&name(number))).collect()));
    let (_, sent) = lone.asked(1, query(1, "word", 1, 0));
    let mut count = 0;
    for (_, request) in sent {
        let SearchRequest::Hits { hits, .. } = &request else { panic!("{request:?}") };
        count += hits.len();
        let bytes = encode_request(&Request::Search(request.clone())).len();
        assert!(bytes <= limits::MESSAGE_BYTES_MAX, "{bytes}");
    }
    assert_eq!(count, 20);
}

#[test]
fn a_search_with_enough_hits_is_not_relayed() {
    for (files, goes) in [(7, true), (8, false)] {
        let mut lone = Lone::new(3);
        lone.input(Input::Names((0..files).map(|n| file(&format!("word {n}"))).collect()));
        let far = |sent: Vec<(Contact, SearchRequest)>| {
            sent.iter().any(|(_, request)| !matches!(request, SearchRequest::Hits { .. }))
        };
        assert_eq!(far(lone.asked(1, query(1, "word", 3, 2)).1), goes, "{files} files");
        assert_eq!(far(lone.asked(1, walk(2, 8, 5)).1), goes, "{files} files, walkers");
    }
}

#[test]
fn walkers_prefer_neighbours_the_search_has_not_reached() {
    let mut lone = Lone::new(8);
    (1..=8).for_each(|link| lone.filter(link, Vec::new()));
    let mut reached: Vec<PublicKey> =
        (0..7).flat_map(|_| lone.asked(1, walk(1, 1, 5)).1).map(|(to, _)| to.public_key).collect();
    reached.sort_unstable();
    reached.dedup();
    assert_eq!(reached.len(), 7);
}

#[test]
fn a_node_with_many_neighbours_shortens_half_of_the_searches() {
    for (links, shortened) in [(6, 0..=0), (8, 5..=19)] {
        let mut lone = Lone::new(links);
        let mut hops = Vec::new();
        for number in 0..24 {
            let from = 1 + number as usize % 2;
            hops.extend(passed(&lone.asked(from, far(number)).1, 3));
        }
        assert_eq!(hops.len(), 24);
        let short = hops.iter().filter(|hops| **hops < 2).count();
        assert!(shortened.contains(&short), "{short} with {links} neighbours");
    }
}

#[test]
fn a_search_of_two_common_words_looks_at_four_thousand_names() {
    let mut lone = Lone::new(0);
    let mut files: Vec<FoundFile> = (0..5_000).map(|n| file(&format!("alpha {n}"))).collect();
    files.extend((0..5_000).map(|n| file(&format!("beta {n}"))));
    files.push(file("alpha beta"));
    for (names, found) in [(&files[5_000..], 1), (&files[..], 0)] {
        lone.input(Input::Names(names.to_vec()));
        let outputs = lone.input(Input::Search { id: 1, words: vec!["alpha beta".to_owned()] });
        let [Output::Found { files, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
        assert_eq!(files.len(), found, "of {} names", names.len());
    }
}

#[test]
fn sixteen_neighbours_are_used_and_32_hits_of_all_of_them_taken() {
    let mut lone = Lone::new(100);
    assert_eq!(lone.node.stats().links, 16);
    lone.asked(1, query(1, "word", 2, 1));
    for from in 2..=5 {
        let many = (0..32).map(|n| hit(&format!("word {n}"), key(from * 100 + n))).collect();
        lone.asked(from, hits(1, many));
    }
    let stats = lone.node.stats();
    assert_eq!((stats.hits_taken, stats.surplus_hits), (32, 4 * 32 - 32));
}
