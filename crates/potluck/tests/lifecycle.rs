//! Starting, stopping, leaving, and coming back.

mod common;

use std::net::{SocketAddr, UdpSocket};

use common::{bounded, network, node, node_in, until};
use potluck::{Admission, Builder, Error, Event, Identity, ListenError, Node, Read, StartError};

async fn refusal(builder: Builder) -> StartError {
    match bounded(builder.start()).await {
        Err(Error::Start(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let error =
        refusal(Node::builder().in_memory().network("t").admission(Admission::Lab).listen(taken))
            .await;
    assert!(matches!(error, StartError::Bind(_)), "{error}");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    drop(holder);
}

#[tokio::test]
async fn a_data_folder_is_for_one_node_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = node_in(folder.path()).start().await.unwrap();
    let error = refusal(node_in(folder.path())).await;
    assert!(error.to_string().contains("in use by another node"), "{error}");
    first.stop().await.unwrap();
    let again = node_in(folder.path()).start().await.unwrap();
    assert_eq!(again.public_key(), first.public_key());
}

#[tokio::test]
async fn a_data_folder_belongs_to_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let first = node_in(folder.path()).start().await.unwrap();
    first.stop().await.unwrap();
    let error = refusal(node_in(folder.path()).network("another")).await;
    assert!(error.to_string().contains("belongs to the network `tests`"), "{error}");
    let unnamed = Node::builder().data_dir(folder.path()).listen(([127, 0, 0, 1], 0).into());
    let unnamed = unnamed.start().await.unwrap();
    assert_eq!(unnamed.network(), first.network());
    assert_eq!(unnamed.data_dir(), std::path::absolute(folder.path()).unwrap());
}

#[tokio::test]
async fn a_damaged_identity_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    node_in(folder.path()).start().await.unwrap().stop().await.unwrap();
    let path = folder.path().join("identity");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = refusal(node_in(folder.path())).await;
    assert!(matches!(error, StartError::IdentityDamaged { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_a_sentence() {
    let bare = || Node::builder().listen(([127, 0, 0, 1], 0).into());
    let without_folder = refusal(bare().network("t").admission(Admission::Lab)).await;
    assert!(matches!(without_folder, StartError::NoFolder), "{without_folder}");
    let nameless = refusal(bare().in_memory().admission(Admission::Open)).await;
    assert!(matches!(nameless, StartError::NoNetwork), "{nameless}");
    let hard = node().difficulty(potluck::Difficulty::DEFAULT);
    let hard = refusal(hard).await;
    assert!(matches!(hard, StartError::DifficultyOfOpen), "{hard}");
    let ticket = refusal(node().ticket("potluck-ticket:nonsense")).await;
    assert!(ticket.to_string().contains("copy it again"), "{ticket}");
    let many = (0..4).fold(node(), |node, _| node.listen(([127, 0, 0, 1], 0).into()));
    let many = refusal(many).await;
    assert!(matches!(many, StartError::Listen(ListenError::TooMany(5))), "{many}");
    let entry = refusal(node().entry("nonsense here").entry("10.0.0.1:7")).await;
    assert!(entry.to_string().contains("`nonsense here` is no entry point"), "{entry}");
    let public = refusal(node().advertise("8.8.8.8:7".parse().unwrap())).await;
    assert!(matches!(public, StartError::PublicLab(_)), "{public}");
    let nameless = refusal(bare().in_memory()).await;
    assert!(matches!(nameless, StartError::NoNetwork), "{nameless}");
}

#[tokio::test]
async fn a_restarted_node_is_who_it_was_and_has_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let first = node_in(folder.path()).start().await.unwrap();
    first.kv().put("a", "kept").await.unwrap();
    let id = first.node_id();
    first.stop().await.unwrap();
    let again = node_in(folder.path()).start().await.unwrap();
    assert_eq!(again.node_id(), id);
    bounded(again.ready()).await.unwrap();
    let read = bounded(again.kv().get("a").into_future()).await.unwrap();
    assert_eq!(read.value().unwrap().text().unwrap(), "kept");
}

#[tokio::test]
async fn a_node_remembers_its_peers_and_finds_them_without_an_entry_point() {
    let folder = tempfile::tempdir().unwrap();
    let other = node().start().await.unwrap();
    let mut config = default_config();
    config.dht.save_interval = std::time::Duration::from_millis(100);
    let builder = || node_in(folder.path()).config(config.clone());
    let first = builder().entry(other.contact()).start().await.unwrap();
    let peers = folder.path().join("peers");
    let key = other.public_key().to_string();
    until(async || {
        let text = std::fs::read_to_string(&peers).unwrap_or_default();
        text.contains(&key).then_some(())
    })
    .await;
    first.stop().await.unwrap();
    let again = builder().start().await.unwrap();
    until(async || (again.status().await.unwrap().view.peers == 1).then_some(())).await;
}

fn default_config() -> potluck::Config {
    potluck::Config {
        link: potluck::LinkConfig::default(),
        dht: potluck_dht::Config::default(),
        kv: potluck_kv::Config::default(),
        swarm: potluck_swarm::Config::default(),
        ..potluck::Config::default()
    }
}

#[tokio::test]
async fn when_stop_returns_the_port_is_free_and_every_clone_knows() {
    let nodes = network(2).await;
    // A connection of QUIC holds the socket too.
    nodes[0].kv().put("large", vec![1; 50_000]).await.unwrap();
    let address = nodes[0].local_addresses()[0];
    let clone = nodes[0].clone();
    let mut events = clone.events();
    bounded(nodes[0].stop()).await.unwrap();
    UdpSocket::bind(address).unwrap();
    assert!(matches!(clone.view().await, Err(Error::Stopped)));
    assert!(matches!(clone.kv().get("large").await, Err(Error::Stopped)));
    assert!(matches!(clone.leave().await, Err(Error::Stopped)));
    bounded(async { while events.next().await.is_some() {} }).await;
    bounded(clone.stop()).await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_clone_stops_a_node() {
    let node = node().start().await.unwrap();
    let address = node.local_addresses()[0];
    let clone = node.clone();
    drop(node);
    assert!(clone.status().await.is_ok(), "not the last one");
    assert!(UdpSocket::bind(address).is_err());
    drop(clone);
    until(async || UdpSocket::bind(address).ok()).await;
}

#[tokio::test]
async fn a_leaving_node_hands_its_records_over() {
    let mut nodes = network(3).await;
    for number in 0..20 {
        nodes[1].kv().put(format!("k{number}"), "x").await.unwrap();
    }
    let leaving = nodes.remove(1);
    let report = bounded(leaving.hand_over()).await.unwrap();
    assert!(report.finished, "{report:?}");
    for number in 0..20 {
        let read = bounded(nodes[0].kv().get(format!("k{number}")).into_future()).await.unwrap();
        assert!(matches!(read, Read::Value(_)), "k{number}: {read:?}");
    }
}

#[tokio::test]
async fn joining_is_an_event() {
    let first = node().start().await.unwrap();
    let second = node().entry(first.contact().address).start().await.unwrap();
    let mut events = second.events();
    bounded(second.ready()).await.unwrap();
    let third = node().entry(first.contact().to_string()).start().await.unwrap();
    let id = third.node_id();
    bounded(async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::SiblingJoined(peer) if peer.id == id) {
                return;
            }
        }
        panic!("stopped");
    })
    .await;
}

#[tokio::test]
async fn a_node_is_who_it_is_told_to_be() {
    let identity = Identity::from_seed([9; 32]);
    let node = node().identity(identity.clone()).start().await.unwrap();
    assert_eq!(node.public_key(), identity.public_key());
    assert_eq!(node.node_id(), identity.public_key().node_id(&node.network().id));
    let bound: SocketAddr = node.local_addresses()[0];
    assert_eq!(node.contact().address, bound);
    assert_eq!(node.data_dir().as_os_str(), "");
}
