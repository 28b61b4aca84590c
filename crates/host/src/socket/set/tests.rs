//! Tests of the ports on loopback.

use std::time::Duration;

use super::*;
use crate::socket::SOCKET_BUFFER_BYTES;

const LOCAL: &str = "127.0.0.1:0";

fn bind(addresses: &[&str]) -> Result<Sockets, BindError> {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Sockets::bind(&addresses)
}

/// Whether this machine has IPv6. Prints a line if not.
fn has_ipv6() -> bool {
    let has = UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no IPv6");
    }
    has
}

/// The next control datagram: the port at which it arrived, and its sender.
async fn next(sockets: &Sockets, batch: &mut ReceiveBatch) -> (usize, SocketAddr) {
    bounded(sockets.recv(batch)).await.unwrap();
    let segment = batch.segments().next().expect("a datagram");
    sockets.note(&segment);
    (segment.port, segment.from)
}

async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_in_the_error() {
    let first = bind(&[LOCAL]).unwrap();
    let error = Sockets::bind(&[first.local_addr()]).unwrap_err();
    assert!(matches!(error, BindError::InUse { address } if address == first.local_addr()));
    assert!(error.to_string().contains(&first.local_addr().to_string()), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_in_the_error() {
    let error = bind(&["203.0.113.1:0"]).unwrap_err();
    assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
}

#[tokio::test]
async fn the_granted_buffers_are_reported() {
    let buffers = bind(&[LOCAL]).unwrap().buffers();
    assert!((4096..=2 * SOCKET_BUFFER_BYTES).contains(&buffers.receive_bytes), "{buffers:?}");
    assert!((4096..=2 * SOCKET_BUFFER_BYTES).contains(&buffers.send_bytes), "{buffers:?}");
}

#[tokio::test]
async fn datagrams_arrive_with_their_sender_and_kind_in_both_families() {
    for address in [LOCAL, "[::1]:0"] {
        let (here, there) = match bind(&[address]) {
            Ok(here) => (here, bind(&[address]).unwrap()),
            // Without IPv6 the machine cannot run this test.
            Err(BindError::NoSuchAddress { .. } | BindError::Io { .. }) if address != LOCAL => {
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        here.try_send(there.local_addr(), &[0x01; 1200]).unwrap();
        bounded(here.send(there.local_addr(), &[0x42; 7])).await.unwrap();
        let mut batch = ReceiveBatch::new();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            bounded(there.recv(&mut batch)).await.unwrap();
            for segment in batch.segments() {
                assert_eq!(segment.from, here.local_addr());
                assert_eq!(segment.local, Some(there.local_addr().ip()));
                seen.push((segment.kind, segment.bytes.len()));
            }
        }
        assert_eq!(seen, [(DatagramKind::Control, 1200), (DatagramKind::Quic, 7)]);
        assert_eq!(there.stats().received_bytes, 1207);
        assert_eq!(here.stats().sent, 2);
    }
}

#[tokio::test]
async fn equal_sized_datagrams_of_both_kinds_sent_as_one_are_told_apart() {
    let here = bind(&[LOCAL]).unwrap();
    let there = bind(&[LOCAL]).unwrap();
    let segments = here.max_send_segments().get().min(6);
    let mut contents = vec![0; segments * 500];
    for (index, datagram) in contents.chunks_mut(500).enumerate() {
        datagram.fill(if index % 2 == 0 { 0x40 } else { 0x01 });
    }
    here.ports[0]
        .socket
        .try_transmit(&Transmit {
            destination: there.local_addr(),
            ecn: None,
            contents: &contents,
            segment_size: Some(500),
            src_ip: None,
        })
        .unwrap();
    let mut batch = ReceiveBatch::new();
    let mut kinds = Vec::new();
    while kinds.len() < segments {
        bounded(there.recv(&mut batch)).await.unwrap();
        for segment in batch.segments() {
            assert_eq!(segment.bytes.len(), 500);
            kinds.push(segment.kind);
        }
    }
    for (index, kind) in kinds.iter().enumerate() {
        let expected = if index % 2 == 0 { DatagramKind::Quic } else { DatagramKind::Control };
        assert_eq!(*kind, expected, "datagram {index}");
    }
}

#[tokio::test]
async fn port_0_is_one_port_in_both_families_and_each_datagram_leaves_by_its_family() {
    if !has_ipv6() {
        return;
    }
    let both = bind(&["127.0.0.1:0", "[::1]:0"]).unwrap();
    let [v4, v6] = both.local_addrs()[..] else { panic!("two") };
    assert_eq!((v4.port(), both.families()), (v6.port(), Families { v4: true, v6: true }));
    let mut batch = ReceiveBatch::new();
    for (index, address) in [LOCAL, "[::1]:0"].into_iter().enumerate() {
        let there = bind(&[address]).unwrap();
        both.try_send(there.local_addr(), &[1; 9]).unwrap();
        let from = next(&there, &mut batch).await.1;
        assert_eq!(from, both.local_addrs()[index]);
        there.try_send(from, &[1; 9]).unwrap();
        assert_eq!(next(&both, &mut batch).await, (index, there.local_addr()));
    }
    assert_eq!((both.stats().sent, both.stats().received_bytes), (2, 18), "of both together");
    let alone = bind(&[LOCAL]).unwrap();
    let error = alone.try_send(v6, &[1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
    let written: SocketAddr = format!("[::ffff:127.0.0.1]:{}", v4.port()).parse().unwrap();
    alone.try_send(written, &[1; 9]).unwrap();
    assert_eq!(next(&both, &mut batch).await, (0, alone.local_addr()));
}

#[tokio::test]
async fn a_port_that_is_taken_in_one_family_only_is_named_and_by_port_0_another_is_found() {
    if !has_ipv6() {
        return;
    }
    let holder = bind(&["[::1]:0"]).unwrap().local_addr();
    let holding = UdpSocket::bind(holder).unwrap();
    let v4 = SocketAddr::new("127.0.0.1".parse().unwrap(), holder.port());
    let error = Sockets::bind(&[v4, holder]).unwrap_err();
    assert!(matches!(error, BindError::InUse { address } if address == holder), "{error}");
    let both = bind(&["127.0.0.1:0", "[::1]:0"]).unwrap().local_addrs();
    assert_eq!(both[0].port(), both[1].port());
    assert_ne!(both[0].port(), holder.port());
    drop(holding);
}

#[tokio::test]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    let all = bind(&["0.0.0.0:0"]).unwrap();
    let asker = bind(&[LOCAL]).unwrap();
    let asked: SocketAddr = format!("127.0.0.5:{}", all.local_addr().port()).parse().unwrap();
    if asker.try_send(asked, &[1; 9]).is_err() {
        eprintln!("skipped: this machine has one loopback address only");
        return;
    }
    let mut batch = ReceiveBatch::new();
    let (_, from) = next(&all, &mut batch).await;
    all.try_send(from, &[1; 9]).unwrap();
    assert_eq!(next(&asker, &mut batch).await.1, asked);
}

#[tokio::test]
async fn of_two_ports_of_a_family_the_one_answers_that_was_asked() {
    let two = bind(&[LOCAL, LOCAL]).unwrap();
    let asker = bind(&[LOCAL]).unwrap();
    let mut batch = ReceiveBatch::new();
    for (index, address) in two.local_addrs().into_iter().enumerate().rev() {
        for _ in 0..2 {
            asker.try_send(address, &[1; 9]).unwrap();
            let (port, from) = next(&two, &mut batch).await;
            assert_eq!((port, from), (index, asker.local_addr()));
            two.try_send(from, &[1; 9]).unwrap();
            assert_eq!(next(&asker, &mut batch).await.1, address);
        }
    }
}

#[tokio::test]
async fn of_two_ports_the_first_datagram_leaves_by_the_one_that_is_routed_there() {
    let two = bind(&["127.0.0.7:0", "127.0.0.1:0"]);
    let Ok(two) = two else {
        eprintln!("skipped: this machine has one loopback address only");
        return;
    };
    let other = bind(&[LOCAL]).unwrap();
    two.try_send(other.local_addr(), &[1; 9]).unwrap();
    let (_, from) = next(&other, &mut ReceiveBatch::new()).await;
    assert_eq!(from, two.local_addrs()[1], "127.0.0.1 is where packets to 127.0.0.1 leave from");
}

#[tokio::test]
async fn an_address_that_this_machine_has_lost_costs_neither_the_datagram_nor_the_speed() {
    let all = bind(&["0.0.0.0:0"]).unwrap();
    let other = bind(&[LOCAL]).unwrap();
    let segments = all.max_send_segments();
    let sent = all.ports[0].socket.try_transmit(&Transmit {
        destination: other.local_addr(),
        ecn: None,
        contents: &[1; 9],
        segment_size: None,
        src_ip: Some("203.0.113.1".parse().unwrap()),
    });
    sent.unwrap();
    assert_eq!(next(&other, &mut ReceiveBatch::new()).await.1.ip(), other.local_addr().ip());
    assert_eq!(all.max_send_segments(), segments, "several datagrams at once as before");
}

#[tokio::test]
async fn a_family_that_is_not_wanted_is_let_go() {
    let mut two = bind(&["127.0.0.1:0", "127.0.0.1:0"]).unwrap();
    let kept = two.local_addrs()[1];
    two.retain(|address| address == kept);
    assert_eq!(two.local_addrs(), [kept]);
    two.retain(|_| false);
    assert_eq!(two.local_addrs(), [kept], "a node without a port is none");
}
