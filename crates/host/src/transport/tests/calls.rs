//! Calls that succeed.

use super::*;

#[tokio::test]
async fn requests_of_every_length_are_answered_byte_for_byte() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    for length in [0, 1, 1200, MESSAGE_BYTES_MAX] {
        let request: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        assert_eq!(a.call(&b, request.clone()).await.unwrap(), request, "{length} bytes");
    }
    let stats = a.stats();
    assert_eq!((stats.calls, stats.failures, stats.dialed, stats.connections), (4, 0, 1, 1));
    assert_eq!(stats.bytes_sent, 1201 + MESSAGE_BYTES_MAX as u64);
    assert_eq!(stats.bytes_received, stats.bytes_sent);
    assert_eq!((b.stats().accepted, b.stats().incoming), (1, 4));
}

#[tokio::test]
async fn the_callee_learns_who_calls_and_from_where() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (answer, ()) = tokio::join!(a.call(&b, "hello"), async {
        let call = b.incoming().await;
        assert_eq!((call.from, call.address), (a.contact.public_key, a.contact.address));
        assert_eq!(call.request, "hello");
        call.responder.answer("welcome".into()).unwrap();
    });
    assert_eq!(answer.unwrap(), "welcome");
}

#[tokio::test]
async fn a_connection_carries_calls_in_both_directions() {
    let (a, b) = (Node::new(1).echo(), Node::new(2).echo());
    a.call(&b, "there").await.unwrap();
    b.call(&a, "and back").await.unwrap();
    assert_eq!((a.stats().dialed, b.stats().dialed), (1, 0));
    assert_eq!((a.stats().connections, b.stats().connections), (1, 1));
}

#[tokio::test]
async fn two_hundred_calls_at_once_share_one_connection() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    let mut calls = JoinSet::new();
    // None of them begins like a fetch or a protocol.
    for number in 81..281u32 {
        let (transport, peer) = (a.transport.clone(), b.contact);
        calls.spawn(async move {
            let request = Bytes::from(vec![number as u8; 1 + number as usize * 100]);
            assert_eq!(transport.call(&peer, request.clone()).await.unwrap(), request);
        });
    }
    while let Some(done) = bounded(calls.join_next()).await {
        done.unwrap();
    }
    assert_eq!((a.stats().dialed, a.stats().failures, b.stats().accepted), (1, 0, 1));
}

#[tokio::test]
async fn many_of_the_longest_messages_at_once_pass_the_budgets() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    let request = Bytes::from(vec![7; MESSAGE_BYTES_MAX]);
    let mut calls = JoinSet::new();
    // More than a connection's budget of half-read requests.
    for _ in 0..48 {
        let (transport, peer, request) = (a.transport.clone(), b.contact, request.clone());
        calls.spawn(async move {
            assert_eq!(transport.call(&peer, request.clone()).await.unwrap(), request);
        });
    }
    while let Some(done) = bounded(calls.join_next()).await {
        done.unwrap();
    }
    // Everything was given back.
    until(|| a.inner().pool.has_room() && b.inner().pool.has_room()).await;
    assert_eq!(b.inner().requests.available_permits(), permits(config::REQUESTS_BYTES) as usize);
    until(|| b.inner().desk.answers.available_permits() == permits(config::ANSWERS_BYTES) as usize)
        .await;
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_agree_on_one_connection() {
    let (a, b) = (Node::new(1).echo(), Node::new(2).echo());
    let (there, back) = tokio::join!(a.call(&b, "there"), b.call(&a, "back"));
    assert_eq!((there.unwrap(), back.unwrap()), ("there".into(), "back".into()));
    let dialed = a.stats().dialed + b.stats().dialed;
    assert!((1..=2).contains(&dialed));
    until(|| a.stats().connections == dialed as usize && b.stats().connections == dialed as usize)
        .await;
    for _ in 0..3 {
        a.call(&b, "again").await.unwrap();
        b.call(&a, "again").await.unwrap();
    }
    assert_eq!(a.stats().dialed + b.stats().dialed, dialed);
    let peer =
        |node: &Node, other: &Node| match node.inner().pool.find_or_dial(&other.contact, None) {
            pool::Found::Open(lease) => lease,
            _ => panic!("a connection is open"),
        };
    // Both ends choose the connection that the same side began.
    let sides = [peer(&a, &b), peer(&b, &a)].map(|lease| lease.connection().side());
    assert_ne!(sides[0], sides[1]);
}

#[tokio::test]
async fn control_datagrams_and_calls_share_the_port() {
    let (a, mut b) = (Node::new(1), Node::new(2).echo());
    let request = Bytes::from(vec![3; 100_000]);
    for round in 0..20u8 {
        let control = vec![0x01, round, 0xff];
        let peer = b.contact;
        let (answer, arrived) = tokio::join!(a.transport.call(&peer, request.clone()), async {
            a.socket.send(peer.address, &control).await.unwrap();
            bounded(b.controls.recv()).await.expect("driven")
        });
        assert_eq!(answer.unwrap(), request);
        assert_eq!(arrived, (a.contact.address, control));
    }
    assert_eq!((b.stats().malformed, b.stats().stray), (0, 0));
}

#[tokio::test]
async fn an_endpoint_exists_only_once_it_is_needed() {
    let (a, b, idle) = (Node::new(1), Node::new(2).echo(), Node::new(3));
    let exists = |node: &Node| matches!(*node.inner().endpoint.lock(), EndpointState::Open(_));
    assert!(!exists(&a) && !exists(&b));
    a.call(&b, "wake up").await.unwrap();
    assert!(exists(&a) && exists(&b) && !exists(&idle));
}

#[tokio::test]
async fn calls_work_over_ipv6() {
    // A machine without IPv6 cannot show anything about it.
    let Ok(socket) = Sockets::bind(&["[::1]:0".parse().unwrap()]) else { return };
    let a = Node::on(socket, 1, &network(), TransportConfig::default());
    let socket = Sockets::bind(&["[::1]:0".parse().unwrap()]).unwrap();
    let b = Node::on(socket, 2, &network(), TransportConfig::default()).echo();
    assert_eq!(a.call(&b, "six").await.unwrap(), "six");
    let c = Node::new(3);
    assert_eq!(a.call(&c, "four").await, Err(CallError::Address(c.contact.address)));
}

/// A node at both loopback addresses; `None` on a machine without IPv6.
fn at_both(seed: u8) -> Option<(Node, [Contact; 2])> {
    let both = ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap());
    let Ok(sockets) = Sockets::bind(&both) else {
        eprintln!("skipped: this machine has no IPv6");
        return None;
    };
    let at = sockets.local_addrs();
    let node = Node::on(sockets, seed, &network(), TransportConfig::default());
    let contacts = [at[0], at[1]].map(|address| Contact { address, ..node.contact });
    Some((node, contacts))
}

#[tokio::test]
async fn one_endpoint_serves_both_families_and_a_peer_has_one_connection_in_both() {
    let Some((a, _)) = at_both(1) else { return };
    let Some((b, at)) = at_both(2) else { return };
    for (index, contact) in at.iter().enumerate() {
        let call = a.transport.call(contact, "how are you".into());
        let (answer, incoming) = tokio::join!(bounded(call), async {
            let call = b.incoming().await;
            call.responder.answer("well".into()).unwrap();
            call.address
        });
        assert_eq!(answer.unwrap(), "well");
        // The connection of the first call is used for the second, too.
        assert_eq!(incoming, a.socket.local_addrs()[0], "call {index}, as IPv4 is written");
    }
    assert_eq!((a.stats().dialed, b.stats().connections), (1, 1));
    let single = Node::new(3);
    let over_six = Node::on(
        Sockets::bind(&["[::1]:0".parse().unwrap()]).unwrap(),
        4,
        &network(),
        TransportConfig::default(),
    );
    let b = b.echo();
    for node in [&single, &over_six] {
        let contact = at[usize::from(node.contact.address.is_ipv6())];
        let answer = bounded(node.transport.call(&contact, "me too".into())).await;
        assert_eq!(answer.unwrap(), "me too");
    }
    assert_eq!(b.stats().connections, 3);
}

#[tokio::test]
async fn a_peer_that_is_silent_in_one_family_is_reached_in_the_other_and_remembered_there() {
    let Some((a, _)) = at_both(1) else { return };
    let Some((b, at)) = at_both(2) else { return };
    let b = b.echo();
    let silent = std::net::UdpSocket::bind("[::1]:0").unwrap();
    let gone = Contact { address: silent.local_addr().unwrap(), ..b.contact };
    a.transport.learn(gone.public_key, &[at[0].address]);
    let began = std::time::Instant::now();
    assert_eq!(bounded(a.transport.call(&gone, "there?".into())).await.unwrap(), "there?");
    assert!(began.elapsed() >= paths::ATTEMPT_DELAY, "IPv6 had its start");
    let asked = |silent: &std::net::UdpSocket| {
        silent.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| silent.recv(&mut [0; 2000]).ok()).count()
    };
    assert!(asked(&silent) > 0);
    a.inner().pool.close_peer(&b.contact.public_key);
    assert_eq!(bounded(a.transport.call(&gone, "again".into())).await.unwrap(), "again");
    assert_eq!(asked(&silent), 0, "what worked is tried first, and was fast enough");
}
