//! Networks of many nodes.

use std::collections::BTreeSet;

use super::net::{TestNet, TestNode, seconds};
use super::*;

fn config(mode: Mode) -> TopicsConfig {
    TopicsConfig { mode, verify: false, ..TopicsConfig::default() }
}

/// Publishes `count` messages, one every 300 ms, from `publishers` nodes in turn.
fn publish(net: &mut TestNet, publishers: usize, count: usize) {
    let living = net.living();
    for number in 0..count {
        net.publish(&living[number % publishers], b"hello");
        net.run(Duration::from_millis(300));
    }
    net.run(seconds(10));
}

/// Duplicates for each message and node, in steady state.
fn surplus(net: &mut TestNet, publishers: usize) -> f64 {
    publish(net, publishers, 40);
    let before = net.sum(|stats| stats.payloads_received);
    publish(net, publishers, 60);
    let copies = net.sum(|stats| stats.payloads_received) - before;
    copies as f64 / (60 * (net.living().len() - 1)) as f64 - 1.0
}

#[test]
fn a_fleet_gets_every_message_with_hardly_any_duplicate() {
    let mut net = TestNet::subscribed(60, config(Mode::Fleet), 1);
    let surplus = surplus(&mut net, 3);
    assert_eq!(net.complete(&net.ids()), 60);
    assert_eq!(net.ids().len(), 100);
    assert!(surplus <= 0.1, "{surplus}");
    let down = net.sum(|stats| stats.neighbours_down.crashed + stats.neighbours_down.misbehaved);
    assert_eq!(down, 0);
}

#[test]
fn strangers_get_every_message_twice_at_most() {
    let mut net = TestNet::subscribed(60, config(Mode::Open), 2);
    let surplus = surplus(&mut net, 3);
    assert_eq!(net.complete(&net.ids()), 60);
    assert!((0.2..=1.1).contains(&surplus), "{surplus}");
}

#[test]
fn overlays_fill_up_and_both_ends_agree() {
    let mut net = TestNet::gathered(100, config(Mode::Open), 3);
    net.run(seconds(120));
    let links = |net: &TestNet| -> BTreeMap<PublicKey, Vec<PublicKey>> {
        let of = |test_node: &TestNode| {
            test_node.topics.neighbours().iter().map(|to| to.public_key).collect()
        };
        net.nodes.iter().map(|(key, test_node)| (*key, of(test_node))).collect()
    };
    let one_ended =
        |links: &BTreeMap<PublicKey, Vec<PublicKey>>| -> BTreeSet<(PublicKey, PublicKey)> {
            let ends = links.iter().flat_map(|(from, to)| to.iter().map(|to| (*from, *to)));
            ends.filter(|(from, to)| !links[to].contains(from)).collect()
        };
    // A link that was just made or dropped has one end until the other end is told.
    let before = one_ended(&links(&net));
    net.run(seconds(1));
    let all = links(&net);
    assert_eq!(before.intersection(&one_ended(&all)).count(), 0);
    for links in all.values() {
        assert!((4..=12).contains(&links.len()), "{} links", links.len());
    }
    let links: usize = all.values().map(Vec::len).sum();
    assert!(links >= 100 * 6, "{links} ends of links");
    for test_node in net.nodes.values() {
        let stats = test_node.topics.stats();
        assert!(stats.system_passive >= 8, "{} contacts", stats.system_passive);
    }
}

#[test]
fn when_seven_of_ten_crash_the_others_get_messages_within_ten_seconds() {
    for (mode, seed) in [(Mode::Fleet, 4), (Mode::Open, 5)] {
        let mut net = TestNet::subscribed(200, config(mode), seed);
        publish(&mut net, 3, 10);
        let keys = net.keys.clone();
        net.kill(&keys[60..]);
        let before = net.ids().len();
        for key in &keys[..5] {
            net.publish(key, b"is anybody there?");
        }
        net.run(seconds(10));
        let ids = net.ids();
        assert_eq!(ids.len(), before + 5);
        assert_eq!(net.complete(&ids), 60);
    }
}

#[test]
fn every_message_arrives_with_ten_percent_loss() {
    let mut net = TestNet::subscribed(50, config(Mode::Fleet), 6);
    net.loss = 0.1;
    publish(&mut net, 5, 60);
    net.run(seconds(60));
    assert_eq!((net.ids().len(), net.complete(&net.ids())), (60, 50));
    net.assert_order();
    assert_eq!(net.nodes.values().map(|test_node| test_node.missed).sum::<u64>(), 0);
}

#[test]
fn messages_after_a_standstill_arrive_within_seconds_and_in_order() {
    for (count, seed) in [(2, 20), (3, 21), (3, 22), (8, 23)] {
        let mut net = TestNet::subscribed(count, config(Mode::Fleet), seed);
        let keys = net.keys.clone();
        for _ in 0..3 {
            net.publish(&keys[0], b"before");
            net.run(Duration::from_millis(200));
        }
        net.stand_still(&keys[0], seconds(7), |net| {
            for _ in 0..3 {
                net.publish(&keys[1], b"meanwhile");
                net.run(seconds(2));
            }
        });
        for _ in 0..10 {
            net.publish(&keys[0], b"after");
            net.run(Duration::from_millis(100));
        }
        net.run(seconds(4));
        let ids = net.ids();
        assert_eq!((ids.len(), net.complete(&ids)), (16, count), "of {count} nodes, seed {seed}");
        net.assert_order();
        assert_eq!(net.nodes.values().map(|test_node| test_node.missed).sum::<u64>(), 0);
    }
}

#[test]
fn a_message_that_no_node_has_any_more_is_counted_as_missed() {
    let mut net = TestNet::subscribed(3, config(Mode::Fleet), 24);
    let keys = net.keys.clone();
    net.publish(&keys[0], b"one");
    net.run(seconds(1));
    // No node gets the second one, and its publisher does not cache it.
    net.cut.insert(keys[0]);
    net.publish(&keys[0], b"two");
    let topics = &mut net.nodes.get_mut(&keys[0]).expect("a node").topics;
    let id = net::topic().id();
    let topic = topics.topics.get_mut(&id).expect("it is in the topic");
    topic.broadcast.forget();
    net.run(Duration::from_millis(1_300));
    net.cut.clear();
    net.publish(&keys[0], b"three");
    net.run(seconds(10));
    for key in &keys[1..] {
        let test_node = &net.nodes[key];
        let sequences: Vec<u64> = test_node.messages.iter().map(|(_, of)| of.id.sequence).collect();
        assert_eq!((sequences, test_node.missed), (vec![1, 3], 1));
    }
}

#[test]
fn a_stream_of_messages_reaches_sixteen_subscribers_whole() {
    let mut net = TestNet::subscribed(16, config(Mode::Fleet), 7);
    let publisher = net.keys[0];
    let (mut asked, total) = (0, 5_000);
    while asked < total {
        while asked < total && net.nodes[&publisher].topics.stats().publishes_waiting < 200 {
            net.publish(&publisher, b"one of very many");
            asked += 1;
        }
        net.run(Duration::from_millis(5));
    }
    net.run(seconds(60));
    assert_eq!((net.ids().len(), net.nodes[&publisher].refused), (total, 0));
    assert_eq!(net.complete(&net.ids()), 16);
    let copies = net.sum(|stats| stats.payloads_received);
    // It was 128,980 while a publisher could lose the last link of its tree and push to no
    // neighbour.
    assert!(copies < 16 * 5_000 * 5 / 4, "{copies} copies");
}

#[test]
fn a_publisher_that_does_not_subscribe_comes_and_goes() {
    let mut net = TestNet::gathered(20, config(Mode::Open), 8);
    let keys = net.keys.clone();
    for key in &keys[..10] {
        net.input(key, TopicsInput::Subscribe(net::topic()));
    }
    net.run(seconds(30));
    net.publish(&keys[15], b"from outside");
    net.run(seconds(10));
    assert_eq!(net.complete(&net.ids()), 10);
    assert!(net.nodes[&keys[15]].messages.is_empty());
    assert_eq!(net.nodes[&keys[15]].topics.stats().topics, 2);
    net.run(seconds(61));
    assert_eq!(net.nodes[&keys[15]].topics.stats().topics, 1);
    // And the sequence continues.
    net.publish(&keys[15], b"again");
    net.run(seconds(10));
    assert_eq!(net.nodes[&keys[15]].published[1].1.sequence, 2);
    assert_eq!(net.complete(&net.ids()), 10);
}

#[test]
fn a_new_subscriber_gets_nothing_old_and_everything_new() {
    let mut net = TestNet::gathered(12, config(Mode::Fleet), 9);
    let keys = net.keys.clone();
    for key in &keys[..11] {
        net.input(key, TopicsInput::Subscribe(net::topic()));
    }
    net.run(seconds(30));
    (0..5).for_each(|_| net.publish(&keys[0], b"old"));
    net.run(seconds(20));
    net.input(&keys[11], TopicsInput::Subscribe(net::topic()));
    net.run(seconds(60));
    assert!(net.nodes[&keys[11]].messages.is_empty());
    net.publish(&keys[0], b"new");
    net.run(seconds(5));
    let got: Vec<&[u8]> =
        net.nodes[&keys[11]].messages.iter().map(|(_, message)| &message.payload[..]).collect();
    assert_eq!(got, [b"new"]);
}

#[test]
fn an_isolated_node_gets_the_messages_it_missed() {
    let mut net = TestNet::subscribed(20, config(Mode::Fleet), 10);
    let keys = net.keys.clone();
    net.cut.insert(keys[19]);
    for key in &keys[..5] {
        net.publish(key, b"while you were away");
    }
    net.run(seconds(60));
    net.cut.clear();
    net.input(&keys[19], TopicsInput::Resumed);
    net.run(seconds(60));
    assert_eq!(net.complete(&net.ids()), 20);
    assert!(!net.nodes[&keys[19]].downs.contains(&Cause::Crashed));
}

#[test]
fn a_leaving_node_disconnects() {
    let mut net = TestNet::gathered(10, config(Mode::Fleet), 11);
    let keys = net.keys.clone();
    net.input(&keys[3], TopicsInput::Leave);
    net.run(seconds(2));
    let downs: Vec<Cause> =
        net.nodes.values().flat_map(|test_node| test_node.downs.iter().copied()).collect();
    assert!(downs.contains(&Cause::Left) && !downs.contains(&Cause::Crashed), "{downs:?}");
}
