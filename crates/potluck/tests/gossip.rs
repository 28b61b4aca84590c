//! Topics, members and search by way of the library.

mod common;

use common::{bounded, network, node, until};
use potluck::{
    Change, Delivery, Error, Event, MemberState, MessageId, Mode, Node, SearchError, Subscription,
    TopicRefusal,
};

/// Publishes until the subscription has heard something, and takes out what was published for that.
async fn heard(publisher: &Node, topic: &str, subscription: &mut Subscription) {
    let topics = publisher.topics();
    bounded(async {
        loop {
            topics.publish(topic, "probe").await.expect("it works");
            let soon = std::time::Duration::from_millis(50);
            if tokio::time::timeout(soon, subscription.next()).await.is_ok() {
                break;
            }
        }
    })
    .await;
    topics.publish(topic, "no more probes").await.expect("it works");
    while next(subscription).await.1 != "no more probes" {}
}

/// The next message. A probe may come late, when its way through the network is not settled yet.
async fn next(subscription: &mut Subscription) -> (MessageId, String) {
    loop {
        match bounded(subscription.next()).await {
            Some(Delivery::Message(message)) if message.payload == "probe" => {}
            Some(Delivery::Message(message)) => {
                return (
                    message.id,
                    String::from_utf8(message.payload.to_vec()).expect("it works"),
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn messages_come_once_and_those_of_one_publisher_in_order() {
    let nodes = network(3).await;
    let mut near = nodes[0].topics().subscribe("news").await.unwrap();
    let mut far = nodes[2].topics().subscribe("news").await.unwrap();
    heard(&nodes[1], "news", &mut far).await;
    let topics = nodes[1].topics();
    let mut under_way = Vec::new();
    for number in 0..100 {
        under_way.push(topics.hand_over("news", format!("{number}")).await.unwrap());
    }
    let mut ids = Vec::new();
    for publishing in under_way {
        ids.push(bounded(publishing).await.unwrap());
    }
    assert!(ids.is_sorted() && ids[0].publisher == nodes[1].public_key());
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(next(&mut far).await, (*id, number.to_string()));
    }
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        numbers.extend(next(&mut near).await.1.parse::<u32>());
    }
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    let none = tokio::time::timeout(std::time::Duration::from_millis(1), far.next()).await;
    assert!(none.is_err(), "{none:?}");
}

#[tokio::test]
async fn a_subscription_begins_behind_a_message_if_asked() {
    let node = node().start().await.unwrap();
    let topics = node.topics();
    let mut first = topics.subscribe("t").await.unwrap();
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(topics.publish("t", text).await.unwrap());
    }
    assert_eq!(next(&mut first).await, (ids[0], "one".to_owned()));
    let mut second = topics.subscribe("t").after(ids[0]).await.unwrap();
    assert!(second.is_complete());
    let fourth = topics.publish("t", "four").await.unwrap();
    for (id, text) in [(ids[1], "two"), (ids[2], "three"), (fourth, "four")] {
        assert_eq!(next(&mut second).await, (id, text.to_owned()));
    }
}

#[tokio::test]
async fn what_is_no_topic_or_no_message_is_refused_and_a_subscription_ends_with_its_node() {
    let node = node().start().await.unwrap();
    assert!(matches!(node.topics().publish("a\nb", "x").await, Err(Error::Topic(_))));
    assert!(matches!(node.topics().subscribe("").await, Err(Error::Topic(_))));
    let long = vec![0; potluck_gossip::message::PAYLOAD_BYTES_MAX + 1];
    let long = node.topics().publish("t", long).await;
    assert!(matches!(long, Err(Error::TopicRefused(TopicRefusal::TooLong))), "{long:?}");
    let reserved = node.topics().subscribe("potluck/members").await;
    assert!(matches!(reserved, Err(Error::TopicRefused(TopicRefusal::Reserved))));
    let mut subscription = node.topics().subscribe("t").await.unwrap();
    node.topics().publish("t", "last words").await.unwrap();
    assert_eq!(next(&mut subscription).await.1, "last words");
    bounded(node.stop()).await.unwrap();
    assert_eq!(bounded(subscription.next()).await, None);
    assert!(matches!(node.topics().subscribe("t").await, Err(Error::Stopped)));
}

#[tokio::test]
async fn members_are_listed_with_their_labels_and_their_deaths_are_events() {
    let first = node().label("rack", "7").start().await.unwrap();
    let second = node().entry(first.contact()).start().await.unwrap();
    let third = node().entry(first.contact()).start().await.unwrap();
    let alive = async |node: &Node| {
        let view = node.members().await.unwrap();
        assert_eq!(view.mode, Mode::Fleet);
        let alive = view.members.iter().filter(|member| member.state == MemberState::Alive);
        alive.count()
    };
    until(async || (alive(&third).await == 3 && alive(&first).await == 3).then_some(())).await;
    let members = third.members().await.unwrap().members;
    let labelled = members.iter().find(|member| member.peer.id == first.node_id()).unwrap();
    assert_eq!(labelled.labels, [("rack".to_owned(), "7".to_owned())]);
    let gone = second.node_id();
    let mut events = third.events();
    second.stop().await.unwrap();
    bounded(async {
        loop {
            let event = events.next().await.expect("it runs");
            if let Event::Member(event) = event
                && event.change == Change::Died
            {
                assert_eq!(event.peer.id, gone);
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn labels_that_are_none_are_refused_at_the_start() {
    let long = "x".repeat(100);
    let error = node().label("rack", long).start().await.unwrap_err();
    assert!(matches!(error, Error::Start(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_files_are_found_by_words() {
    let folder = tempfile::tempdir().unwrap();
    let first = common::node_in(&folder.path().join("0")).start().await.unwrap();
    let second = node().entry(first.contact()).start().await.unwrap();
    let path = folder.path().join("Winter-Soup.txt");
    std::fs::write(&path, "leek").unwrap();
    let shared = first.files().share(&path).await.unwrap();
    let found = until(async || match second.search(["soup"]).await {
        Ok(found) => (!found.files.is_empty()).then_some(found.files),
        Err(Error::SearchRefused(SearchError::Busy)) => None,
        Err(error) => panic!("{error}"),
    })
    .await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].root, found[0].name.as_str()), (shared.id, "Winter-Soup.txt"));
    assert_eq!(found[0].holder, Some(first.public_key()));
    let nonsense = second.search(["..."]).await;
    assert!(matches!(nonsense, Err(Error::SearchRefused(SearchError::Words))), "{nonsense:?}");
}
