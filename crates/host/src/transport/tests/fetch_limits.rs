//! What fetches may take, and that calls have theirs.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn calls_work_while_fifty_fetches_stand_still() {
    let (a, b) = (Node::new(1).echo(), Node::new(2).echo().serve(3, 1 << 20));
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(a.fetch(&b, "go").await.unwrap());
    }
    // Every window is full: the first frame fits, the second does not.
    until(|| b.stats().frame_bytes_sent == 50 << 20).await;
    let full = 50 * u64::from(FETCH_WINDOW_BYTES_MAX);
    until(|| a.socket.stats().received_bytes >= full).await;
    let request = Bytes::from(vec![7; MESSAGE_BYTES_MAX]);
    assert_eq!(a.call(&b, request.clone()).await.unwrap(), request);
    assert_eq!(b.call(&a, request.clone()).await.unwrap(), request);
    assert_eq!((a.stats().dialed, b.stats().dialed), (1, 0));
    assert_eq!(a.stats().fetch_window_bytes as u64, full, "each stream has added its window");
    for stream in &mut streams {
        assert_eq!(read_all(stream).await, Ok((3, 3 << 20)));
    }
    // The connection may bring as much again; only with it does the sum get smaller.
    assert_eq!((a.stats().fetch_window_bytes as u64, b.stats().fetch_window_bytes), (full, 0));
    drop(streams);
    b.transport.close().await;
    until(|| a.stats().fetch_window_bytes == 0).await;
}

#[tokio::test]
async fn a_reader_that_stands_still_keeps_its_connection_with_the_shortest_packets() {
    let config = TransportConfig { datagram_bytes: 1200, ..TransportConfig::default() };
    let (a, b) = (Node::with(1, config.clone()), Node::with(2, config).echo().serve(8, 1 << 20));
    let mut stream = a.fetch(&b, "go").await.unwrap();
    let full = u64::from(FETCH_WINDOW_BYTES_MAX);
    until(|| a.socket.stats().received_bytes >= full).await;
    assert_eq!(a.call(&b, "still there?").await.unwrap(), "still there?");
    assert_eq!(read_all(&mut stream).await, Ok((8, 8 << 20)));
}

#[tokio::test]
async fn fetches_over_what_is_served_are_refused_and_served_when_one_ends() {
    for config in [
        TransportConfig { fetches_served: 2, ..TransportConfig::default() },
        TransportConfig { fetches_per_connection: 2, ..TransportConfig::default() },
    ] {
        let (a, b) = (Node::new(1), Node::with(2, config));
        let (_first, held) = a.fetch_both(&b).await;
        let (_second, _held) = a.fetch_both(&b).await;
        let mut third = a.fetch(&b, "third").await.unwrap();
        assert_eq!(bounded(third.next()).await, Err(FetchError::Busy));
        assert_eq!((b.stats().fetches_served, b.stats().fetches_refused), (2, 1));
        drop(held);
        let (_fourth, _held) = a.fetch_both(&b).await;
    }
}

#[tokio::test]
async fn a_full_queue_of_fetches_refuses_the_next() {
    let (a, b) = (
        Node::new(1),
        Node::with(2, TransportConfig { incoming_queue: 1, ..TransportConfig::default() }),
    );
    let mut first = a.fetch(&b, "first").await.unwrap();
    until(|| b.stats().fetches_served == 1).await;
    let mut second = a.fetch(&b, "second").await.unwrap();
    assert_eq!(bounded(second.next()).await, Err(FetchError::Busy));
    b.incoming_fetch().await.sender.finish();
    assert_eq!(bounded(first.next()).await, Ok(None));
}

#[tokio::test]
async fn own_fetches_over_the_limit_wait_for_their_turn() {
    let config = TransportConfig {
        fetches_per_connection: 1,
        dial_timeout: Duration::from_millis(300),
        ..TransportConfig::default()
    };
    let (a, b) = (Node::with(1, config), Node::new(2));
    let (first, _held) = a.fetch_both(&b).await;
    assert_eq!(a.fetch(&b, "second").await.err(), Some(CallError::Busy));
    drop(first);
    let (_third, _held) = a.fetch_both(&b).await;
}

#[tokio::test]
async fn windows_move_from_idle_connections_to_those_that_fetch() {
    let config = TransportConfig {
        fetches: 1,
        dial_timeout: Duration::from_millis(300),
        ..TransportConfig::default()
    };
    let (a, b, c) = (Node::with(1, config), Node::new(2).serve(1, 10), Node::new(3).serve(1, 10));
    let mut stream = a.fetch(&b, "go").await.unwrap();
    assert_eq!(a.fetch(&c, "not yet").await.err(), Some(CallError::Busy));
    assert_eq!(read_all(&mut stream).await, Ok((1, 10)));
    drop(stream);
    let mut stream = a.fetch(&c, "go").await.unwrap();
    assert_eq!(read_all(&mut stream).await, Ok((1, 10)));
    // The connection to the first one had the only window.
    assert_eq!((a.stats().connections, a.stats().evicted), (1, 1));
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_on_both_sides() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    let long = vec![0; FETCH_REQUEST_BYTES_MAX + 1];
    assert_eq!(a.fetch(&b, long).await.err(), Some(CallError::TooLarge));
    assert_eq!(a.stats().dialed, 0);
    a.call(&b, "connect").await.unwrap();
    let pool::Found::Open(lease) = a.inner().pool.find_or_dial(&b.contact, None) else {
        panic!("a connection is open");
    };
    let (send, mut recv) = lease.connection().open_bi().await.unwrap();
    let mut stream = stream::Outgoing::new(send);
    let mut long = vec![0; FETCH_REQUEST_BYTES_MAX + 2];
    long[0] = FETCH_BYTE;
    let _ = bounded(stream.send(long.into())).await;
    let answer = bounded(recv.read_to_end(10)).await;
    let code = error::StreamCode::TooLarge.into();
    let reset = noq::ReadToEndError::Read(noq::ReadError::Reset(code));
    assert_eq!(answer, Err(reset));
    assert_eq!((b.stats().fetches_served, b.stats().fetches_refused), (0, 1));
}

#[tokio::test]
async fn everything_is_given_back_when_fetches_end() {
    let (a, b) = (Node::new(1), Node::new(2).serve(2, 50_000));
    for _ in 0..3 {
        let mut stream = a.fetch(&b, vec![0; 40_000]).await.unwrap();
        assert_eq!(read_all(&mut stream).await, Ok((2, 100_000)));
    }
    let default = TransportConfig::default();
    until(|| b.inner().served.available_permits() == default.fetches_served).await;
    let all = permits(config::FETCH_REQUESTS_BYTES) as usize;
    until(|| b.inner().fetch_requests.available_permits() == all).await;
    until(|| b.inner().pool.idle() == 1 && a.inner().pool.idle() == 1).await;
}

/// What is over this in `bytes` must wait at `rate`: 10 ms are saved up, and one turn goes at once.
fn least(bytes: usize, rate: u64) -> Duration {
    let turn = 200_000.min(bytes / 4) as f64;
    Duration::from_secs_f64((bytes as f64 - turn) / rate as f64) - Duration::from_millis(10)
}

#[tokio::test]
async fn an_upload_cap_holds_while_it_is_set() {
    const RATE: u64 = 8_000_000;
    let (mut a, b) = (Node::new(1), Node::new(2).serve(4, 1 << 20));
    b.transport.set_rates(Some(RATE), None);
    let start = Instant::now();
    let mut stream = a.fetch(&b, "go").await.unwrap();
    assert_eq!(read_all(&mut stream).await, Ok((4, 4 << 20)));
    let elapsed = start.elapsed();
    assert!(elapsed >= least(4 << 20, RATE), "{elapsed:?}");
    // Slow enough that the first frame cannot be through before the cap is lower still: then almost
    // nothing may go, but for control datagrams, until it is lifted.
    b.transport.set_rates(Some(500_000), None);
    let mut stream = a.fetch(&b, "go").await.unwrap();
    b.transport.set_rates(Some(1), None);
    b.socket.try_send(a.contact.address, &[0x01; 1200]).unwrap();
    bounded(a.controls.recv()).await.expect("driven");
    {
        let frame = stream.next();
        tokio::pin!(frame);
        assert!(timeout(Duration::from_millis(200), &mut frame).await.is_err());
        b.transport.set_rates(None, None);
        assert!(bounded(frame).await.unwrap().is_some());
    }
    assert_eq!(read_all(&mut stream).await, Ok((3, 3 << 20)));
}

#[tokio::test]
async fn a_download_cap_slows_fetches_and_nothing_else() {
    const RATE: u64 = 8_000_000;
    let (a, b) = (Node::new(1), Node::new(2).echo().serve(4, 1 << 20));
    a.transport.set_rates(None, Some(RATE));
    let start = Instant::now();
    let mut stream = a.fetch(&b, "go").await.unwrap();
    assert_eq!(read_all(&mut stream).await, Ok((4, 4 << 20)));
    let elapsed = start.elapsed();
    assert!(elapsed >= least(4 << 20, RATE), "{elapsed:?}");
    a.transport.set_rates(None, Some(1));
    let mut stream = a.fetch(&b, "go").await.unwrap();
    let request = Bytes::from(vec![7; MESSAGE_BYTES_MAX]);
    let call = async {
        until(|| b.stats().frame_bytes_sent > 4 << 20).await;
        a.call(&b, request.clone()).await
    };
    tokio::select! {
        answer = call => assert_eq!(answer.unwrap(), request),
        frame = stream.next() => panic!("a whole frame at a byte a second: {:?}", frame.is_ok()),
    }
}
