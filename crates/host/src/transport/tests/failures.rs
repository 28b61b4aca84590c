//! Peers that have another key, go away, come back, or send garbage.

use super::*;

#[tokio::test]
async fn a_node_with_another_key_is_refused_before_it_sees_the_request() {
    let (a, b) = (Node::new(1), Node::new(2));
    let expected = Identity::from_seed([9; 32]).public_key();
    let contact = Contact { public_key: expected, ..b.contact };
    let error = bounded(a.transport.call(&contact, "secret".into())).await.unwrap_err();
    assert_eq!(error, CallError::WrongKey { found: b.contact.public_key });
    until(|| b.stats().refused == 1).await;
    assert_eq!((b.stats().incoming, b.stats().accepted, a.stats().connections), (0, 0, 0));
    assert_eq!((a.stats().dials_failed, a.stats().failures), (1, 1));
}

#[tokio::test]
async fn nodes_of_two_networks_refuse_each_other() {
    let other = NetworkId::new("other", Admission::Lab, None);
    let socket = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let a = Node::new(1);
    let b = Node::on(socket, 2, &other, TransportConfig::default());
    assert_eq!(a.call(&b, "hello").await, Err(CallError::WrongNetwork));
    assert_eq!(b.call(&a, "hello").await, Err(CallError::WrongNetwork));
    assert_eq!((a.stats().incoming, b.stats().incoming), (0, 0));
}

#[tokio::test]
async fn a_port_where_nobody_answers_is_a_dial_timeout() {
    let config =
        TransportConfig { dial_timeout: Duration::from_millis(300), ..TransportConfig::default() };
    let a = Node::with(1, config);
    let silent = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let public_key = Identity::from_seed([2; 32]).public_key();
    let nobody = Contact::new(public_key, silent.local_addr());
    let error = bounded(a.transport.call(&nobody, "hello".into())).await.unwrap_err();
    assert_eq!(error, CallError::DialTimeout);
    let nowhere = Contact { address: "127.0.0.1:0".parse().unwrap(), ..nobody };
    let error = bounded(a.transport.call(&nowhere, "hello".into())).await.unwrap_err();
    assert_eq!(error, CallError::Address(nowhere.address));
}

#[tokio::test]
async fn a_request_that_is_dropped_resets_the_call() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (answer, ()) = tokio::join!(a.call(&b, "ignored"), async {
        drop(b.incoming().await);
    });
    assert_eq!(answer, Err(CallError::Reset));
    let (answer, ()) = tokio::join!(a.call(&b, "too much"), async {
        b.incoming().await.responder.refuse();
    });
    assert_eq!(answer, Err(CallError::Refused));
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    let config =
        TransportConfig { call_timeout: Duration::from_millis(300), ..TransportConfig::default() };
    let (a, b) = (Node::with(1, config), Node::new(2));
    let (answer, call) = tokio::join!(a.call(&b, "well?"), b.incoming());
    assert_eq!(answer, Err(CallError::Timeout));
    // No task waits for this any more, which must do no harm.
    call.responder.answer("late".into()).unwrap();
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_not_taken_for_a_request() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    a.call(&b, "connect").await.unwrap();
    let pool::Found::Open(lease) = a.inner().pool.find_or_dial(&b.contact, None) else {
        panic!("a connection is open");
    };
    let (mut send, recv) = lease.connection().open_bi().await.unwrap();
    send.write_all(b"half a requ").await.unwrap();
    drop(stream::Outgoing::new(send));
    until(|| b.stats().incoming_refused == 1).await;
    assert_eq!(b.stats().incoming, 1);
    drop(recv);
}

/// A node in a runtime of its own. Dropping the runtime sends no datagram, as when a process is killed.
pub(super) struct Process {
    runtime: tokio::runtime::Runtime,
}

impl Process {
    pub(super) fn start(seed: u8, address: SocketAddr) -> (Self, Contact) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let socket = Sockets::bind(&[address]).unwrap();
        let node = Node::on(socket, seed, &network(), TransportConfig::default()).echo();
        drop(guard);
        let contact = node.contact;
        runtime.spawn(async move {
            let _node = node;
            std::future::pending::<()>().await;
        });
        (Self { runtime }, contact)
    }

    pub(super) async fn kill(self) {
        let stop = move || self.runtime.shutdown_timeout(BOUND);
        tokio::task::spawn_blocking(stop).await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_was_killed_and_came_back_says_so_and_the_call_goes_through() {
    // Only a stateless reset can be fast enough here.
    let config = TransportConfig { silence: BOUND, ..TransportConfig::default() };
    let a = Node::with(1, config);
    let (process, b) = Process::start(2, "127.0.0.1:0".parse().unwrap());
    bounded(a.transport.call(&b, "first life".into())).await.unwrap();
    process.kill().await;
    let (process, b) = Process::start(2, b.address);
    let answer = bounded(a.transport.call(&b, "second life".into())).await;
    assert_eq!(answer.unwrap(), "second life");
    assert_eq!((a.stats().failovers, a.stats().dialed), (1, 2));
    until(|| a.stats().connections == 1).await;
    process.kill().await;
}

#[tokio::test]
async fn a_peer_that_moved_without_a_word_is_found_at_its_new_address() {
    let silence = Duration::from_millis(300);
    let a = Node::with(1, TransportConfig { silence, ..TransportConfig::default() });
    let (process, before) = Process::start(2, "127.0.0.1:0".parse().unwrap());
    bounded(a.transport.call(&before, "first".into())).await.unwrap();
    process.kill().await;
    // Keeps the old port taken, and says nothing there.
    let _silent = Sockets::bind(&[before.address]).unwrap();
    let (process, after) = Process::start(2, "127.0.0.1:0".parse().unwrap());
    assert_ne!(before.address, after.address);
    let answer = bounded(a.transport.call(&after, "second".into())).await;
    assert_eq!(answer.unwrap(), "second");
    assert_eq!((a.stats().failovers, a.stats().failures), (1, 0));
    process.kill().await;
}

#[tokio::test]
async fn a_slow_answer_is_not_taken_for_a_dead_peer() {
    let silence = Duration::from_millis(200);
    let a = Node::with(1, TransportConfig { silence, ..TransportConfig::default() });
    let b = Node::new(2);
    let mut stay = Vec::new();
    for round in 0..2 {
        let (answer, ()) = tokio::join!(a.call(&b, "think"), async {
            let call = b.incoming().await;
            if round == 1 {
                // Three times the silence, spent on a call without an answer.
                let wait = timeout(3 * silence, b.transport.next_incoming());
                stay.push(wait.await.is_err());
            }
            call.responder.answer("thought".into()).unwrap();
        });
        assert_eq!(answer.unwrap(), "thought");
    }
    assert_eq!(stay, [true]);
    assert_eq!((a.stats().failovers, b.stats().incoming), (0, 2));
}

#[tokio::test]
async fn closing_ends_everything_and_tells_the_peer() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (answer, ()) = tokio::join!(a.call(&b, "hello"), async {
        let _call = b.incoming().await;
        b.transport.close().await;
        assert!(bounded(b.transport.next_incoming()).await.is_none());
    });
    assert_eq!(answer, Err(CallError::Reset));
    assert_eq!(b.call(&a, "hello").await, Err(CallError::Closed));
    until(|| a.stats().connections == 0).await;
    bounded(a.transport.close()).await;
    assert_eq!(a.call(&b, "hello").await, Err(CallError::Closed));
}

#[tokio::test]
async fn a_node_that_is_dropped_frees_its_port_and_closes_its_connections() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    a.call(&b, "hello").await.unwrap();
    let port = Arc::downgrade(&a.socket);
    drop(a);
    until(|| port.upgrade().is_none()).await;
    until(|| b.stats().connections == 0).await;
}

#[tokio::test]
async fn garbage_that_looks_like_quic_is_counted_and_harms_nobody() {
    let (a, mut b) = (Node::new(1), Node::new(2).echo());
    let source = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let mut rng = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        (rng >> 32) as u8
    };
    for round in 0..3u8 {
        for length in 1..=1472 {
            let mut garbage: Vec<u8> = (0..length).map(|_| next()).collect();
            garbage[0] |= 0x40;
            source.send(b.contact.address, &garbage).await.unwrap();
        }
        source.send(b.contact.address, &[0x01, round]).await.unwrap();
        // One sender's datagrams stay in order on loopback: when this one arrived, so have they.
        assert_eq!(bounded(b.controls.recv()).await.expect("driven").1, [0x01, round]);
        a.call(&b, "still there?").await.unwrap();
    }
    let stats = b.stats();
    assert!(stats.malformed > 600 && stats.malformed < 3 * 1472, "{stats:?}");
    assert!(stats.stray > 0, "{stats:?}");
    assert_eq!((stats.accepted, stats.incoming, a.stats().failovers), (1, 3, 0));
}
