use bytes::Bytes;
use potluck_base::Identity;

use super::*;

fn topic(name: &str) -> TopicName {
    name.parse().unwrap()
}

fn message(name: &str, sequence: u64, bytes: usize) -> Message {
    let publisher = Identity::from_seed([1; 32]).public_key();
    let id = MessageId { publisher, incarnation: 1, sequence };
    Message { topic: topic(name), id, payload: Bytes::from(vec![0; bytes]) }
}

type Answer = oneshot::Receiver<Result<Subscription, SubscribeError>>;

fn ask(topics: &mut Topics, name: &str) -> (Option<Pending>, Answer) {
    let (reply, answer) = oneshot::channel();
    let begun = topics.begin(Subscribe { topic: topic(name), after: None, reply });
    (begun.map(|(_, pending)| pending), answer)
}

fn subscribed(backlog: Vec<Message>) -> Reply {
    Reply::Subscribed { backlog, complete: true }
}

fn subscribe(topics: &mut Topics, name: &str) -> Subscription {
    let (pending, mut answer) = ask(topics, name);
    topics.answered(pending.unwrap(), subscribed(Vec::new()));
    answer.try_recv().unwrap().unwrap()
}

/// What is there to be taken out now.
fn taken(subscription: &mut Subscription) -> Vec<Delivery> {
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(Some(delivery)) = subscription.poll(&mut context) {
        all.push(delivery);
    }
    all
}

fn sequences(deliveries: &[Delivery]) -> Vec<u64> {
    let sequence = |delivery: &Delivery| match delivery {
        Delivery::Message(message) => message.id.sequence,
        Delivery::Lagged { .. } | Delivery::Lost { .. } => 0,
    };
    deliveries.iter().map(sequence).collect()
}

#[test]
fn each_subscription_of_a_topic_gets_each_message_once() {
    let mut topics = Topics::default();
    let (mut first, mut second) = (subscribe(&mut topics, "a"), subscribe(&mut topics, "a"));
    let mut other = subscribe(&mut topics, "b");
    (1..=3).for_each(|sequence| topics.deliver(&message("a", sequence, 10)));
    assert_eq!(sequences(&taken(&mut first)), [1, 2, 3]);
    assert_eq!(sequences(&taken(&mut second)), [1, 2, 3]);
    assert_eq!(taken(&mut other), []);
    assert_eq!(topics.counts(), Counts { subscriptions: 3, delivered: 6, missed: 0 });
}

#[test]
fn what_was_kept_comes_first_and_nothing_twice() {
    let mut topics = Topics::default();
    let _earlier = subscribe(&mut topics, "a");
    let (pending, mut answer) = ask(&mut topics, "a");
    // Before the core has answered a message is not the new subscription's; it is in the answer.
    topics.deliver(&message("a", 2, 1));
    topics.answered(pending.unwrap(), subscribed(vec![message("a", 1, 1), message("a", 2, 1)]));
    topics.deliver(&message("a", 3, 1));
    let mut subscription = answer.try_recv().unwrap().unwrap();
    assert_eq!(sequences(&taken(&mut subscription)), [1, 2, 3]);
}

#[test]
fn a_slow_subscriber_is_told_what_it_missed_where_it_missed_it() {
    let mut topics = Topics::default();
    let mut slow = subscribe(&mut topics, "a");
    let many = QUEUE_MESSAGES_MAX as u64;
    (1..=many + 5).for_each(|sequence| topics.deliver(&message("a", sequence, 1)));
    let mut context = Context::from_waker(std::task::Waker::noop());
    let first = slow.poll(&mut context);
    assert_eq!(first, Poll::Ready(Some(Delivery::Message(message("a", 1, 1)))));
    topics.deliver(&message("a", many + 6, 1));
    topics.deliver(&message("a", many + 7, 1));
    let rest = taken(&mut slow);
    let tail = &rest[rest.len() - 3..];
    assert_eq!(tail[0], Delivery::Lagged { missed: 5 });
    assert_eq!(tail[1], Delivery::Message(message("a", many + 6, 1)));
    assert_eq!(tail[2], Delivery::Lagged { missed: 1 });
    assert_eq!(topics.counts().missed, 6);
}

#[test]
fn what_was_lost_on_its_way_is_told_in_its_place_by_one_mark() {
    let mut topics = Topics::default();
    let mut reader = subscribe(&mut topics, "a");
    topics.deliver(&message("a", 1, 1));
    (0..10_000).for_each(|_| topics.lose(&topic("a"), 2));
    topics.lose(&topic("b"), 7);
    topics.deliver(&message("a", 20_002, 1));
    let all = taken(&mut reader);
    assert_eq!(all.len(), 3);
    assert_eq!(all[1], Delivery::Lost { missed: 20_000 });
    assert_eq!(topics.counts().missed, 20_000);
    // What did not fit besides can be had by coming back.
    let many = QUEUE_MESSAGES_MAX as u64;
    (1..=many).for_each(|sequence| topics.deliver(&message("a", sequence, 1)));
    topics.lose(&topic("a"), 3);
    topics.deliver(&message("a", many + 4, 1));
    topics.lose(&topic("a"), 1);
    let all = taken(&mut reader);
    assert_eq!((all.len() as u64, all.last()), (many + 1, Some(&Delivery::Lagged { missed: 5 })));
}

#[test]
fn a_queue_is_bounded_in_bytes_too() {
    let mut topics = Topics::default();
    let mut slow = subscribe(&mut topics, "a");
    let large = 64 * 1024;
    let fit = (QUEUE_BYTES_MAX / large) as u64;
    (1..=fit + 2).for_each(|sequence| topics.deliver(&message("a", sequence, large)));
    let all = taken(&mut slow);
    assert_eq!(all.len() as u64, fit + 1);
    assert_eq!(all.last(), Some(&Delivery::Lagged { missed: 2 }));
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

#[test]
fn the_last_subscriber_of_a_topic_to_go_ends_it_unless_somebody_comes_back() {
    let mut topics = Topics::default();
    let (first, second) = (subscribe(&mut topics, "a"), subscribe(&mut topics, "a"));
    let other = subscribe(&mut topics, "b");
    drop(first);
    assert_eq!(topics.sweep(at(0)), []);
    drop(second);
    assert_eq!(topics.sweep(at(100)), []);
    assert_eq!(topics.sweep(at(159)), []);
    let back = subscribe(&mut topics, "a");
    assert_eq!(topics.sweep(at(160)), []);
    drop(back);
    assert_eq!(topics.sweep(at(200)), []);
    assert_eq!(topics.sweep(at(260)), [topic("a")]);
    assert_eq!(topics.sweep(at(261)), []);
    assert_eq!(topics.counts().subscriptions, 1);
    drop(other);
    assert_eq!(topics.sweep(at(300)), []);
    assert_eq!(topics.sweep(at(360)), [topic("b")]);
}

#[test]
fn of_topics_that_nobody_listens_to_only_some_are_kept_for_a_while() {
    let mut topics = Topics::default();
    for number in 0..=LINGERING_MAX as u64 {
        drop(subscribe(&mut topics, &format!("{number:02}")));
        let gone = topics.sweep(at(number));
        let expected: &[TopicName] =
            if number == LINGERING_MAX as u64 { &[topic("00")] } else { &[] };
        assert_eq!(gone, expected);
    }
}

#[test]
fn whoever_asks_and_goes_leaves_nothing_behind() {
    let mut topics = Topics::default();
    let (pending, answer) = ask(&mut topics, "a");
    drop(answer);
    topics.answered(pending.unwrap(), subscribed(Vec::new()));
    assert_eq!(topics.sweep(at(0)), []);
    assert_eq!(topics.sweep(at(60)), [topic("a")]);
}

#[test]
fn a_refused_subscription_is_not_ended_in_the_core() {
    let mut topics = Topics::default();
    let (pending, mut answer) = ask(&mut topics, "a");
    topics.answered(pending.unwrap(), Reply::TopicRefused(TopicRefusal::Reserved));
    let refused = SubscribeError::Refused(TopicRefusal::Reserved);
    assert_eq!(answer.try_recv().unwrap().unwrap_err(), refused);
    assert_eq!(topics.sweep(at(0)), []);
    assert_eq!(topics.counts().subscriptions, 0);
    assert!(topics.topics.is_empty());
}

#[test]
fn there_is_a_limit_to_subscriptions() {
    let mut topics = Topics::default();
    let _all: Vec<_> = (0..SUBSCRIPTIONS_MAX).map(|_| subscribe(&mut topics, "a")).collect();
    let (pending, mut answer) = ask(&mut topics, "a");
    assert!(pending.is_none());
    assert_eq!(answer.try_recv().unwrap().unwrap_err(), SubscribeError::TooMany);
}

#[tokio::test]
async fn a_subscription_ends_with_its_node_behind_what_came() {
    let mut topics = Topics::default();
    let mut subscription = subscribe(&mut topics, "a");
    topics.deliver(&message("a", 1, 1));
    let waiting = tokio::spawn(async move {
        let all = [subscription.next().await, subscription.next().await];
        all.map(|delivery| delivery.is_some())
    });
    tokio::task::yield_now().await;
    drop(topics);
    assert_eq!(waiting.await.unwrap(), [true, false]);
}

#[tokio::test]
async fn a_dropped_subscription_is_noticed() {
    let mut topics = Topics::default();
    drop(subscribe(&mut topics, "a"));
    topics.dropped().await;
    topics.sweep(at(0));
    assert_eq!(topics.counts().subscriptions, 0);
}
