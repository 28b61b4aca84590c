use super::*;
use bytes::Bytes;
use potluck_base::Identity;

fn id(publisher: u8, incarnation: u64, sequence: u64) -> MessageId {
    let publisher = Identity::from_seed([publisher; 32]).public_key();
    MessageId { publisher, incarnation, sequence }
}

fn message(id: MessageId) -> Message {
    Message { topic: "t".parse().expect("a topic"), id, payload: Bytes::from_static(b"x") }
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

/// Sequence numbers of the deliveries; missing messages as a negative number.
fn numbers(deliveries: Vec<Delivery>) -> Vec<i64> {
    let number = |deliveries| match deliveries {
        Delivery::Message(message) => message.id.sequence as i64,
        Delivery::Missed(missed) => -(missed as i64),
    };
    deliveries.into_iter().map(number).collect()
}

fn take(delivery_order: &mut DeliveryOrder, millis: u64, id: MessageId) -> Vec<i64> {
    numbers(delivery_order.on_message(at(millis), message(id), |_| None))
}

fn look(delivery_order: &mut DeliveryOrder, millis: u64, alone: bool) -> (Vec<i64>, usize) {
    let (deliveries, wanted) = delivery_order.on_timeout(at(millis), alone, |_, _| None);
    (numbers(deliveries), wanted.len())
}

#[test]
fn a_message_waits_for_missing_earlier_ones_and_other_publishers_do_not() {
    let mut delivery_order = DeliveryOrder::default();
    assert_eq!(
        take(&mut delivery_order, 0, id(1, 1, 5)),
        [5],
        "the first message received from it"
    );
    assert_eq!(take(&mut delivery_order, 1, id(1, 1, 8)), []);
    assert_eq!(take(&mut delivery_order, 2, id(2, 1, 1)), [1]);
    assert_eq!(take(&mut delivery_order, 3, id(1, 1, 7)), []);
    assert_eq!((delivery_order.held(), delivery_order.next()), (2, Some(at(1_001))));
    assert_eq!(take(&mut delivery_order, 4, id(1, 1, 6)), [6, 7, 8]);
    assert_eq!(
        (delivery_order.held(), delivery_order.next(), delivery_order.held_bytes),
        (0, None, 0)
    );
    assert_eq!(take(&mut delivery_order, 5, id(1, 1, 4)), [4], "it was published before all that");
}

#[test]
fn a_missing_message_is_asked_for_each_second_and_counted_after_five() {
    let mut delivery_order = DeliveryOrder::default();
    take(&mut delivery_order, 0, id(1, 1, 1));
    take(&mut delivery_order, 0, id(1, 1, 4));
    take(&mut delivery_order, 100, id(1, 1, 6));
    let mut asked = Vec::new();
    while let Some(next) = delivery_order.next() {
        let millis = next.since(Instant::ZERO).as_millis() as u64;
        asked.push((millis, look(&mut delivery_order, millis, false)));
    }
    let nothing = |millis| (millis, (vec![], 2));
    let first = (5_000, (vec![-2, 4], 0));
    let second = (5_100, (vec![-1, 6], 0));
    assert_eq!(asked[..4], [nothing(1_000), nothing(2_000), nothing(3_000), nothing(4_000)]);
    assert_eq!(asked[4..], [first, second]);
    assert_eq!(take(&mut delivery_order, 6_000, id(1, 1, 2)), [], "it was counted as missing");
    assert_eq!(take(&mut delivery_order, 6_000, id(1, 1, 7)), [7]);
}

#[test]
fn a_node_without_links_or_after_a_standstill_waits_longer() {
    let mut delivery_order = DeliveryOrder::default();
    take(&mut delivery_order, 0, id(1, 1, 1));
    take(&mut delivery_order, 0, id(1, 1, 3));
    assert_eq!(look(&mut delivery_order, 30_000, true).0, []);
    delivery_order.on_standstill(at(40_000));
    assert_eq!(look(&mut delivery_order, 44_000, false).0, []);
    assert_eq!(look(&mut delivery_order, 45_000, false).0, [-1, 3]);
}

#[test]
fn announced_messages_of_a_new_publisher_are_waited_for() {
    let mut delivery_order = DeliveryOrder::default();
    let announced = |stream| (stream == 1).then_some(2);
    assert_eq!(numbers(delivery_order.on_message(at(0), message(id(1, 1, 4)), announced)), []);
    assert_eq!(numbers(delivery_order.on_message(at(1), message(id(1, 1, 2)), |_| None)), [2]);
    assert_eq!(numbers(delivery_order.on_message(at(2), message(id(1, 1, 3)), |_| None)), [3, 4]);
}

#[test]
fn messages_from_before_the_subscription_are_not_waited_for() {
    let mut delivery_order = DeliveryOrder::default();
    let announced = |stream| (stream == 1).then_some(2);
    assert_eq!(numbers(delivery_order.on_message(at(0), message(id(1, 1, 9)), announced)), []);
    let passed = |delivery_order: &mut DeliveryOrder, sequence| {
        numbers(delivery_order.skip_before(at(1), &id(1, 1, sequence), |_| None))
    };
    assert_eq!(passed(&mut delivery_order, 2), []);
    assert_eq!(passed(&mut delivery_order, 7), [], "the eighth is still missing");
    assert_eq!(passed(&mut delivery_order, 3), []);
    assert_eq!(passed(&mut delivery_order, 8), [9]);
    assert_eq!(
        (delivery_order.held(), delivery_order.held_bytes, delivery_order.next()),
        (0, 0, None)
    );
    assert_eq!(
        numbers(delivery_order.skip_before(at(2), &id(2, 1, 5), |_| None)),
        [],
        "nothing waits"
    );
    assert_eq!(take(&mut delivery_order, 3, id(2, 1, 9)), [9]);
    // A message with a wrong date in the middle of an incarnation: the messages behind it are
    // delivered, those held before it are not counted.
    assert_eq!(take(&mut delivery_order, 4, id(1, 1, 12)), []);
    assert_eq!(passed(&mut delivery_order, 13), []);
    assert_eq!((delivery_order.held(), delivery_order.held_bytes), (0, 0));
    assert_eq!(take(&mut delivery_order, 5, id(1, 1, 14)), [14]);
}

#[test]
fn a_new_incarnation_begins_with_its_first_message_and_after_the_last_one() {
    let mut delivery_order = DeliveryOrder::default();
    take(&mut delivery_order, 0, id(1, 1, 1));
    take(&mut delivery_order, 0, id(1, 1, 3));
    assert_eq!(take(&mut delivery_order, 10, id(1, 2, 2)), []);
    assert_eq!(take(&mut delivery_order, 20, id(1, 2, 1)), []);
    assert_eq!(take(&mut delivery_order, 30, id(1, 1, 2)), [2, 3, 1, 2]);
    assert_eq!(
        take(&mut delivery_order, 40, id(1, 1, 4)),
        [4],
        "late, but it was not counted as missing"
    );
    // Messages that neighbours have of the earlier incarnation are waited for.
    let announced = |stream| (stream == 2).then_some(3);
    assert_eq!(numbers(delivery_order.on_message(at(50), message(id(1, 3, 1)), announced)), []);
    assert_eq!(take(&mut delivery_order, 60, id(1, 2, 3)), [3, 1]);
    let announced = |stream| (stream == 3).then_some(2);
    assert_eq!(numbers(delivery_order.on_message(at(70), message(id(1, 4, 1)), announced)), []);
    assert_eq!(look(&mut delivery_order, 5_070, false).0, [1], "not for ever");
}

#[test]
fn a_message_that_is_known_to_be_lost_is_not_waited_for() {
    let mut delivery_order = DeliveryOrder::default();
    take(&mut delivery_order, 0, id(1, 1, 1));
    take(&mut delivery_order, 0, id(1, 1, 4));
    assert_eq!(numbers(delivery_order.on_lost(at(1), id(1, 1, 2), |_| None)), [-1]);
    assert_eq!(numbers(delivery_order.on_lost(at(1), id(1, 1, 3), |_| None)), [-1, 4]);
}

#[test]
fn a_reader_that_names_its_last_message_is_told_how_many_it_missed_after_it() {
    let mut delivery_order = DeliveryOrder::default();
    delivery_order.start_after(at(0), &id(1, 1, 7));
    assert_eq!(take(&mut delivery_order, 0, id(1, 1, 10)), []);
    assert_eq!(look(&mut delivery_order, 5_000, false).0, [-2, 10]);
}

#[test]
fn waiting_messages_are_bounded() {
    let mut delivery_order = DeliveryOrder::default();
    take(&mut delivery_order, 0, id(1, 1, 1));
    let mut deliveries = Vec::new();
    for number in 0..2 * HELD_MAX as u64 {
        deliveries.extend(take(&mut delivery_order, 1, id(1, 1, 3 + 2 * number)));
    }
    assert_eq!(delivery_order.held(), HELD_MAX);
    assert_eq!(deliveries[..4], [-1, 3, -1, 5]);
    assert!(delivery_order.due.len() <= 1 && delivery_order.publishers.len() == 1);
}
