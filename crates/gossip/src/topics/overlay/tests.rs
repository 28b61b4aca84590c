use potluck_wire::TopicResponse;

use super::super::cost::Cost;
use super::super::events::{TopicServeId, TopicsOutput};
use super::super::tests::harness::contact;
use super::super::tests::{second, shared};
use super::*;
use crate::view::Mode;

const HIGH: LinkRequest = LinkRequest { high_priority: true, age_ms: 0 };
const LOW: LinkRequest = LinkRequest { high_priority: false, age_ms: 0 };

/// An overlay of a fleet in which these nodes requested links, with high priority.
fn linked(shared: &mut Shared, numbers: impl IntoIterator<Item = u8>) -> Overlay {
    let mut overlay = Overlay::new(shared, false);
    for number in numbers {
        request(&mut overlay, shared, number, HIGH);
    }
    overlay.take_outputs();
    overlay
}

fn request(overlay: &mut Overlay, shared: &mut Shared, number: u8, request: LinkRequest) {
    let serve = TopicServeId(number.into());
    overlay.on_neighbour(shared, serve, contact(number), request, &|_| Cost::NONE);
}

fn answer(output: &OverlayOutput) -> Option<&TopicResponse> {
    match output {
        OverlayOutput::Tell(TopicsOutput::Answer { answer, .. }) => Some(answer),
        _ => None,
    }
}

fn key(number: u8) -> PublicKey {
    contact(number).public_key
}

#[test]
fn a_joiner_is_answered_linked_and_passed_on_in_this_order() {
    let mut shared = shared(Mode::Fleet);
    let mut overlay = linked(&mut shared, [1]);
    request(&mut overlay, &mut shared, 2, HIGH);
    let outputs = overlay.take_outputs();
    assert!(matches!(answer(&outputs[0]), Some(TopicResponse::Accepted { .. })));
    let new = NewLink { contact: contact(2), joined: second(0), surplus: false };
    assert_eq!(outputs[1], OverlayOutput::LinkUp(new));
    let joiner = contact(2);
    let body = TopicRequest::ForwardJoin { joiner, hops: 6 };
    let forward = OverlayOutput::Ask { to: contact(1), purpose: Purpose::Notify, body };
    assert_eq!(outputs[2..], [forward.clone(), forward.clone(), forward]);
}

#[test]
fn a_full_node_declines_with_other_contacts_and_no_link_comes_up() {
    let mut shared = shared(Mode::Fleet);
    let mut overlay = linked(&mut shared, 1..=8);
    // It made no room for a link lately.
    shared.now = second(1);
    request(&mut overlay, &mut shared, 9, LOW);
    request(&mut overlay, &mut shared, 10, LOW);
    let outputs = overlay.take_outputs();
    assert!(matches!(answer(&outputs[0]), Some(TopicResponse::Accepted { .. })));
    let Some(TopicResponse::Declined { others }) = answer(&outputs[2]) else {
        panic!("{outputs:?}")
    };
    assert_eq!((others.len(), outputs.len()), (4, 3));
}

#[test]
fn a_neighbour_that_fails_its_check_goes_silent_and_then_down() {
    let mut shared = shared(Mode::Fleet);
    let mut overlay = linked(&mut shared, [1, 2]);
    overlay.on_silent(second(1), &key(1));
    let check = |to| OverlayOutput::Ask { to, purpose: Purpose::Check, body: TopicRequest::Probe };
    let silent = OverlayOutput::LinkSilent(key(1));
    assert_eq!(overlay.take_outputs(), [silent, check(contact(1))]);
    assert_eq!((overlay.healthy(), overlay.neighbours().count()), (1, 2));
    overlay.on_check_failed(&mut shared, &key(1));
    assert_eq!(overlay.take_outputs(), [OverlayOutput::LinkDown(key(1))]);
    overlay.on_silent(second(1), &key(2));
    overlay.on_heard(second(2), &key(2));
    let back = OverlayOutput::LinkBack { peer: key(2), answered: true };
    assert_eq!(overlay.take_outputs().last(), Some(&back));
}

#[test]
fn of_the_links_beyond_the_limit_the_cheapest_for_the_trees_go_one_at_a_time() {
    let mut shared = shared(Mode::Fleet);
    let mut overlay = linked(&mut shared, 1..=10);
    let due = overlay.due(OverlayTimer::Trim).expect("there are too many links");
    shared.now = due;
    let down = |overlay: &mut Overlay, shared: &mut Shared, cheap: u8| {
        let cost = |peer: &PublicKey| Cost { roots: 0, trees: usize::from(*peer != key(cheap)) };
        overlay.on_timer(shared, OverlayTimer::Trim, &cost);
        let outputs = overlay.take_outputs();
        let down = outputs.iter().filter_map(|output| match output {
            OverlayOutput::LinkDown(peer) => Some(*peer),
            _ => None,
        });
        down.collect::<Vec<_>>()
    };
    assert_eq!(down(&mut overlay, &mut shared, 5), [key(5)]);
    assert_eq!(overlay.due(OverlayTimer::Trim), Some(due), "there is one more");
    assert_eq!(down(&mut overlay, &mut shared, 6).len(), 1);
    assert_eq!(down(&mut overlay, &mut shared, 7), []);
    assert_eq!(overlay.due(OverlayTimer::Trim), None);
}

#[test]
fn a_shuffle_walks_on_while_it_has_hops_and_is_replied_to_at_its_end() {
    let mut shared = shared(Mode::Fleet);
    let mut overlay = linked(&mut shared, [1, 2]);
    let shuffle = |hops| Shuffle { origin: contact(9), nonce: 7, hops, contacts: vec![contact(8)] };
    overlay.on_shuffle(&mut shared, &key(1), shuffle(3));
    let contacts = vec![contact(8)];
    let body = TopicRequest::Shuffle { origin: contact(9), nonce: 7, hops: 2, contacts };
    let on = OverlayOutput::Ask { to: contact(2), purpose: Purpose::Notify, body };
    assert_eq!(overlay.take_outputs(), [on]);
    overlay.on_shuffle(&mut shared, &key(1), shuffle(0));
    let [OverlayOutput::Ask { to, body: TopicRequest::ShuffleReply { nonce: 7, .. }, .. }] =
        overlay.take_outputs()[..]
    else {
        panic!("a reply");
    };
    assert_eq!((to, overlay.has_contacts()), (contact(9), true));
}
