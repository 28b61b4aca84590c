//! This node's own searches: when they go on, and when they end.

use super::*;

/// Lets time pass until an output matches, and returns it with all outputs of its turn.
fn until(lone: &mut Lone, is_such: impl Fn(&Output) -> bool) -> Vec<Output> {
    for _ in 0..100 {
        let due = lone.node.poll_timeout().expect("something is due").at;
        lone.now = lone.now.max(due);
        let outputs = lone.input(Input::Timeout);
        if outputs.iter().any(&is_such) {
            return outputs;
        }
    }
    panic!("it never comes");
}

fn is_found(output: &Output) -> bool {
    matches!(output, Output::Found { .. })
}

fn is_walk(output: &Output) -> bool {
    matches!(output, Output::Ask { request: SearchRequest::Walk { .. }, .. })
}

fn is_ring(wanted: u8) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Ask { request: SearchRequest::Query { ring, .. }, .. } if *ring == wanted)
}

/// A search for "word", and its id in messages.
fn search(lone: &mut Lone) -> QueryId {
    let outputs = lone.input(Input::Search { id: 1, words: vec!["word".to_owned()] });
    let query = asks(outputs).into_iter().find_map(|(_, request)| match request {
        SearchRequest::Query { query, .. } => Some(query),
        _ => None,
    });
    query.expect("a first ring")
}

fn bring(lone: &mut Lone, query: QueryId, holders: std::ops::Range<usize>) {
    let hits = holders.map(|holder| hit("word", key(holder))).collect();
    assert!(lone.asked(1, SearchRequest::Hits { query, hits }).0);
}

/// The end of a search: the number of files, the rings and the time.
fn end(lone: &mut Lone) -> (usize, u8, Duration) {
    let before = lone.now;
    let outputs = until(lone, is_found);
    let ended = outputs.iter().find_map(|output| match output {
        Output::Found { files, rings, .. } => Some((files.len(), *rings)),
        _ => None,
    });
    let (files, rings) = ended.expect("just seen");
    (files, rings, lone.now.since(before))
}

const SETTLED: Duration = Duration::from_millis(250);

#[test]
fn eight_hits_are_enough_and_those_on_their_way_are_waited_for() {
    let mut lone = Lone::new(2);
    let query = search(&mut lone);
    until(&mut lone, is_ring(3));
    bring(&mut lone, query, 10..18);
    assert_eq!(end(&mut lone), (8, 3, SETTLED));
}

#[test]
fn a_search_that_found_anything_sends_no_walkers() {
    let mut lone = Lone::new(2);
    let query = search(&mut lone);
    bring(&mut lone, query, 10..11);
    let (files, rings, _) = end(&mut lone);
    assert_eq!((files, rings, lone.node.stats().searches_walked), (1, 4, 0));
}

#[test]
fn a_walker_search_ends_soon_after_the_first_hit() {
    let mut lone = Lone::new(2);
    let query = search(&mut lone);
    until(&mut lone, is_walk);
    bring(&mut lone, query, 10..11);
    assert_eq!(end(&mut lone), (1, 5, SETTLED));
}

#[test]
fn walkers_get_half_a_second_however_long_the_rings_took() {
    let mut lone = Lone::new(3);
    lone.filter(2, Vec::new());
    for number in 0..60 {
        lone.asked(1, numbered(number, "other"));
        lone.now += Duration::from_millis(600);
        for ask in 1..=4 * u64::from(number + 1) {
            lone.input(Input::Answered { ask: AskId(ask) });
        }
        lone.now += Duration::from_secs(1);
    }
    search(&mut lone);
    until(&mut lone, is_walk);
    assert_eq!(end(&mut lone), (0, 5, Duration::from_millis(500)));
}

#[test]
fn hits_that_name_this_node_as_holder_are_ignored() {
    let mut lone = Lone::new(2);
    let query = search(&mut lone);
    bring(&mut lone, query, 0..1);
    assert_eq!(end(&mut lone).0, 0);
}
