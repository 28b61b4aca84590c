//! Fetches, and how they end.

use super::failures::Process;
use super::*;

fn pattern(number: usize, length: usize) -> Bytes {
    (0..length).map(|index| (index * 31 + number) as u8).collect()
}

#[tokio::test]
async fn frames_of_every_length_arrive_whole_and_in_order() {
    let (a, b) = (Node::new(1), Node::new(2));
    let lengths = [0, 1, 3, 1200, 65_536, 1 << 20, FRAME_BYTES_MAX, 0, 7];
    let request = Bytes::from(vec![b'F'; FETCH_REQUEST_BYTES_MAX]);
    let read = async {
        let mut stream = a.fetch(&b, request.clone()).await.unwrap();
        for (number, length) in lengths.into_iter().enumerate() {
            let frame = bounded(stream.next()).await.unwrap().expect("a frame");
            assert!(frame == pattern(number, length), "frame {number} of {length} bytes");
        }
        assert_eq!(bounded(stream.next()).await, Ok(None));
        assert_eq!(bounded(stream.next()).await, Ok(None));
        assert!(stream.rtt() > Duration::ZERO);
    };
    let send = async {
        let IncomingFetch { from, address, request: asked, mut sender } = b.incoming_fetch().await;
        assert_eq!((from, address), (a.contact.public_key, a.contact.address));
        assert!(asked == request);
        for (number, length) in lengths.into_iter().enumerate() {
            bounded(sender.send(pattern(number, length))).await.unwrap();
        }
        sender.finish();
    };
    tokio::join!(read, send);
    let bytes = lengths.iter().sum::<usize>() as u64;
    assert_eq!((a.stats().fetches, a.stats().frame_bytes_received), (1, bytes));
    assert_eq!((b.stats().fetches_served, b.stats().frame_bytes_sent), (1, bytes));
}

#[tokio::test]
async fn an_empty_request_and_no_frames_are_a_fetch_too() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (stream, fetch) = tokio::join!(a.fetch(&b, ""), b.incoming_fetch());
    assert!(fetch.request.is_empty());
    fetch.sender.finish();
    assert_eq!(read_all(&mut stream.unwrap()).await, Ok((0, 0)));
}

#[tokio::test]
async fn a_reader_that_loses_interest_stops_the_sender() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (mut stream, mut sender) = a.fetch_both(&b).await;
    let frame = Bytes::from(vec![0; 1 << 20]);
    sender.send(frame.clone()).await.unwrap();
    assert!(bounded(stream.next()).await.unwrap().is_some());
    let cancelled = sender.cancelled();
    let send = async {
        // The window is full before the third frame is out.
        loop {
            if let Err(error) = bounded(sender.send(frame.clone())).await {
                return error;
            }
        }
    };
    let drop_later = async {
        until(|| b.stats().frame_bytes_sent >= 2 << 20).await;
        drop(stream);
    };
    let (error, ()) = tokio::join!(send, drop_later);
    assert_eq!(error, FetchError::Cancelled);
    bounded(cancelled).await;
    assert_eq!(bounded(sender.send("x".into())).await, Err(FetchError::Cancelled));
}

#[tokio::test]
async fn a_sender_says_why_there_are_no_frames() {
    let (a, b) = (Node::new(1), Node::new(2));
    for (refusal, error) in [
        (Some(FetchRefusal::Busy), FetchError::Busy),
        (Some(FetchRefusal::NotHeld), FetchError::NotHeld),
        (Some(FetchRefusal::Broken), FetchError::Broken),
        (None, FetchError::Cancelled),
    ] {
        let (mut stream, sender) = a.fetch_both(&b).await;
        match refusal {
            Some(refusal) => sender.refuse(refusal),
            None => drop(sender),
        }
        assert_eq!(bounded(stream.next()).await, Err(error));
        assert_eq!(bounded(stream.next()).await, Err(error), "once more");
    }
    let (mut stream, mut sender) = a.fetch_both(&b).await;
    sender.send("first".into()).await.unwrap();
    assert_eq!(bounded(stream.next()).await.unwrap().unwrap(), "first");
    sender.refuse(FetchRefusal::NotHeld);
    assert_eq!(bounded(stream.next()).await, Err(FetchError::NotHeld));
}

#[tokio::test]
async fn frames_that_make_no_sense_end_the_fetch_on_both_sides() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (mut stream, mut sender) = a.fetch_both(&b).await;
    let long = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
    assert_eq!(bounded(sender.send(long)).await, Err(FetchError::TooLarge));
    // A peer that does not keep to the limit.
    sender.send_raw(Bytes::from_static(&[0xff; 4])).await.expect("the stream is open");
    assert_eq!(bounded(stream.next()).await, Err(FetchError::TooLarge));
    bounded(sender.cancelled()).await;
    assert_eq!(bounded(sender.send("x".into())).await, Err(FetchError::TooLarge));
    for part in [&[0, 0][..], &[0, 0, 0, 5, 1, 2]] {
        let (mut stream, mut sender) = a.fetch_both(&b).await;
        let part: &'static [u8] = part;
        sender.send_raw(Bytes::from_static(part)).await.expect("the stream is open");
        sender.finish();
        assert_eq!(bounded(stream.next()).await, Err(FetchError::Broken));
    }
}

#[tokio::test]
async fn a_frame_of_another_length_ends_the_fetch_before_any_of_it_is_waited_for() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (mut stream, mut sender) = a.fetch_both(&b).await;
    sender.send("right".into()).await.unwrap();
    // Of the second frame there is a length, and nothing else will ever come.
    sender.send_raw(Bytes::from_static(&[0, 0x40, 0, 0])).await.expect("the stream is open");
    assert_eq!(bounded(stream.next_of(Some(5))).await.unwrap().unwrap(), "right");
    assert_eq!(bounded(stream.next_of(Some(1000))).await, Err(FetchError::WrongLength));
    assert_eq!(bounded(stream.next()).await, Err(FetchError::WrongLength), "once more");
    bounded(sender.cancelled()).await;
    assert_eq!(bounded(sender.send("x".into())).await, Err(FetchError::Broken));
}

#[tokio::test]
async fn a_peer_that_closes_ends_its_fetches_at_once() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (mut stream, mut sender) = a.fetch_both(&b).await;
    b.transport.close().await;
    assert_eq!(bounded(stream.next()).await, Err(FetchError::Lost));
    assert_eq!(bounded(sender.send("x".into())).await, Err(FetchError::Lost));
    assert!(bounded(b.transport.next_incoming_fetch()).await.is_none());
    let closed = bounded(b.transport.fetch(&a.contact, "x".into())).await;
    assert_eq!(closed.err(), Some(CallError::Closed));
}

#[tokio::test]
async fn a_peer_that_was_killed_is_given_up_in_time() {
    let config =
        TransportConfig { fetch_silence: Duration::from_millis(400), ..TransportConfig::default() };
    let a = Node::with(1, config);
    let (process, b) = Process::start(2, "127.0.0.1:0".parse().unwrap());
    let mut stream = bounded(a.transport.fetch(&b, "anything".into())).await.unwrap();
    process.kill().await;
    let error = bounded(stream.next()).await.unwrap_err();
    assert!(matches!(error, FetchError::Silent | FetchError::Lost), "{error:?}");
    // With the connection gone by its own timeout it is lost.
    let config =
        TransportConfig { idle_timeout: Duration::from_millis(400), ..TransportConfig::default() };
    let a = Node::with(3, config);
    let (process, b) = Process::start(2, "127.0.0.1:0".parse().unwrap());
    let mut stream = bounded(a.transport.fetch(&b, "anything".into())).await.unwrap();
    process.kill().await;
    assert_eq!(bounded(stream.next()).await, Err(FetchError::Lost));
}

#[tokio::test]
async fn a_fetch_on_a_dead_connection_goes_through_on_a_fresh_one() {
    // Only a stateless reset can be fast enough here.
    let a = Node::with(1, TransportConfig { silence: BOUND, ..TransportConfig::default() });
    let (process, b) = Process::start(2, "127.0.0.1:0".parse().unwrap());
    bounded(a.transport.call(&b, "first life".into())).await.unwrap();
    process.kill().await;
    let second =
        Node::on(Sockets::bind(&[b.address]).unwrap(), 2, &network(), TransportConfig::default())
            .serve(3, 100);
    let mut stream = bounded(a.transport.fetch(&second.contact, "go".into())).await.unwrap();
    assert_eq!(read_all(&mut stream).await, Ok((3, 300)));
    assert_eq!((a.stats().failovers, a.stats().dialed), (1, 2));
}

#[tokio::test]
async fn frames_that_are_on_their_way_arrive_though_the_sender_is_done() {
    let config = TransportConfig { connections: 1, ..TransportConfig::default() };
    let (a, b) = (Node::new(1), Node::with(2, config).serve(16, 100_000).echo());
    let mut stream = a.fetch(&b, "go").await.unwrap();
    until(|| b.stats().frame_bytes_sent == 1_600_000).await;
    // The connection is in use until all of it is there, so its place is not for others.
    let c = Node::new(3);
    let _ = c.call(&b, "room?").await;
    assert_eq!(read_all(&mut stream).await, Ok((16, 1_600_000)));
}
