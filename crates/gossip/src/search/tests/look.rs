//! Names that are too many to be held by the machine: its caller looks them up.

use super::*;
use crate::search::{LOOKS_MAX, rings::LOOK_MAX};

fn looks(outputs: &[Output]) -> Vec<(QueryId, Vec<String>)> {
    let looks = outputs.iter().filter_map(|output| match output {
        Output::Look { query, words, .. } => Some((*query, words.clone())),
        _ => None,
    });
    looks.collect()
}

fn elsewhere(links: usize) -> Lone {
    let mut lone = Lone::new(links);
    lone.input(Input::NamesElsewhere(10_000_000));
    lone
}

#[test]
fn an_own_search_lists_looked_up_files_first() {
    let mut lone = elsewhere(0);
    assert_eq!(lone.node.stats().names, 10_000_000);
    let outputs = lone.input(Input::Search { id: 7, words: vec!["Photo 9999999".to_owned()] });
    let (query, words) = looks(&outputs)[0].clone();
    assert_eq!((words, outputs.len()), (vec!["photo".to_owned(), "9999999".to_owned()], 1));
    let files = vec![file("photo 9999999.jpg"), file("con\u{7}trol photo 9999999")];
    let outputs = lone.input(Input::Looked { query, files: files.clone() });
    let found = Output::Found { id: 7, files: files[..1].to_vec(), rings: 0 };
    assert_eq!(outputs, [found]);
    assert_eq!(lone.node.stats().looking, 0);
}

#[test]
fn a_slow_look_up_does_not_delay_the_end_of_a_search() {
    let mut lone = elsewhere(0);
    let outputs = lone.input(Input::Search { id: 7, words: vec!["photo".to_owned()] });
    let (query, _) = looks(&outputs)[0].clone();
    assert!(lone.pass(LOOK_MAX - Duration::from_millis(1)).is_empty());
    let outputs = lone.pass(Duration::from_millis(1));
    assert_eq!(outputs, [Output::Found { id: 7, files: Vec::new(), rings: 0 }]);
    assert!(lone.input(Input::Looked { query, files: vec![file("photo")] }).is_empty());
    assert_eq!(lone.node.stats().looking, 0);
}

#[test]
fn looked_up_files_return_to_the_neighbour_that_asked() {
    let mut lone = elsewhere(3);
    lone.serves += 1;
    let serve = ServeId(lone.serves);
    let request = query(1, "photo", 1, 0);
    let outputs = lone.input(Input::Asked { serve, from: contact(2), request });
    let (asked, _) = looks(&outputs)[0].clone();
    let outputs = lone.input(Input::Looked { query: asked, files: vec![file("photo 1.jpg")] });
    let [(to, SearchRequest::Hits { query, hits })] = &asks(outputs)[..] else { panic!() };
    assert_eq!((to.public_key, *query), (key(2), asked));
    assert_eq!((hits.len(), hits[0].holder), (1, key(0)));
    // The same search over another link is not looked up again.
    let (taken, asked) = lone.asked(3, super::query(1, "photo", 2, 1));
    assert!(taken && asked.iter().all(|(to, _)| to.public_key == key(1)));
}

#[test]
fn with_looked_up_names_every_filter_bit_is_set_and_look_ups_are_bounded() {
    let mut lone = Lone::new(8);
    let outputs = lone.input(Input::NamesElsewhere(9));
    drop(outputs);
    let outputs = lone.pass(Duration::from_secs(30));
    let sent_at = asks(outputs).into_iter().filter_map(|(_, request)| match request {
        SearchRequest::Keywords { filter } => Some(filter),
        _ => None,
    });
    assert!(sent_at.inspect(|filter| assert!(filter.iter().all(|byte| *byte == 0xff))).count() > 0);
    let mut asked = 0;
    for number in 0..200u8 {
        lone.serves += 1;
        let serve = ServeId(lone.serves);
        let from = contact(1 + usize::from(number) % 8);
        let request = query(number, "photo", 1, 0);
        asked += looks(&lone.input(Input::Asked { serve, from, request })).len();
    }
    let stats = lone.node.stats();
    assert_eq!((asked, stats.looking, stats.looks_dropped), (LOOKS_MAX, LOOKS_MAX, 136));
    lone.input(Input::Names(vec![file("photo")]));
    assert_eq!(lone.node.stats().names, 1, "and held again once they are few");
}
