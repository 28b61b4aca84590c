//! The port on loopback.

use std::time::Duration;

use super::*;
use crate::socket::DatagramKind;

const LOCAL: &str = "127.0.0.1:0";

async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_in_the_error() {
    let first = PortSocket::bind(LOCAL.parse().unwrap()).unwrap();
    let error = PortSocket::bind(first.local_addr()).unwrap_err();
    assert!(matches!(error, BindError::InUse { address } if address == first.local_addr()));
    assert!(error.to_string().contains(&first.local_addr().to_string()), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_in_the_error() {
    let error = PortSocket::bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
    assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
}

#[tokio::test]
async fn the_granted_buffers_are_reported() {
    let buffers = PortSocket::bind(LOCAL.parse().unwrap()).unwrap().buffers();
    assert!((4096..=2 * SOCKET_BUFFER_BYTES).contains(&buffers.receive_bytes), "{buffers:?}");
    assert!((4096..=2 * SOCKET_BUFFER_BYTES).contains(&buffers.send_bytes), "{buffers:?}");
}

#[tokio::test]
async fn datagrams_arrive_with_their_sender_and_kind_in_both_families() {
    for address in [LOCAL, "[::1]:0"] {
        let (here, there) = match PortSocket::bind(address.parse().unwrap()) {
            Ok(here) => (here, PortSocket::bind(address.parse().unwrap()).unwrap()),
            // A machine without IPv6 cannot show anything about it.
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
    let here = PortSocket::bind(LOCAL.parse().unwrap()).unwrap();
    let there = PortSocket::bind(LOCAL.parse().unwrap()).unwrap();
    let segments = here.max_send_segments().get().min(6);
    let mut contents = vec![0; segments * 500];
    for (index, datagram) in contents.chunks_mut(500).enumerate() {
        datagram.fill(if index % 2 == 0 { 0x40 } else { 0x01 });
    }
    here.try_transmit(&Transmit {
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
