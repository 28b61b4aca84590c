//! Names against a DNS server in the test process.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::*;

/// How a server answers a question.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Answers,
    /// It takes questions for SRV records and never answers them.
    DropsService,
    Silent,
    Garbage,
}

/// A DNS server for one zone. Ends with the test.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(manner: Manner, zone: Vec<(&str, RData)>) -> Self {
        let (socket, listener) = sockets().await;
        let address = socket.local_addr().unwrap();
        let zone: Vec<(Name, RData)> =
            zone.into_iter().map(|(at, data)| (Name::from_ascii(at).unwrap(), data)).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let long = zone.clone();
        let streams = async move {
            // What does not fit a datagram is asked for again by TCP.
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut length = [0; 2];
                stream.read_exact(&mut length).await.unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).await.unwrap();
                let reply = reply(&Message::from_vec(&question).unwrap(), &long);
                stream.write_all(&(reply.len() as u16).to_be_bytes()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        };
        let datagrams = async move {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let query = &question.queries[0];
                log.lock().unwrap().push((query.name().to_ascii(), query.query_type()));
                let reply = match manner {
                    Manner::Silent => continue,
                    Manner::DropsService if query.query_type() == RecordType::SRV => continue,
                    Manner::Garbage => b"\x00\x01garbage and no DNS at all".to_vec(),
                    Manner::Answers | Manner::DropsService => datagram(&question, &zone),
                };
                let _ = socket.send_to(&reply, from).await;
            }
        };
        let task = tokio::spawn(async move {
            tokio::join!(streams, datagrams);
        });
        Self { address, asked, task }
    }

    async fn groups(&self, name: &str) -> Result<Vec<Vec<SocketAddr>>, String> {
        Names::at(self.address).groups(name, Families { v4: true, v6: true }).await
    }

    fn asked(&self) -> Vec<(String, RecordType)> {
        self.asked.lock().unwrap().clone()
    }
}

/// One port for both protocols.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            return (socket, listener);
        }
    }
    panic!("no port is free for both protocols");
}

fn datagram(question: &Message, zone: &[(Name, RData)]) -> Vec<u8> {
    let whole = reply(question, zone);
    if whole.len() <= 1200 {
        return whole;
    }
    let mut cut = Message::response(question.metadata.id, OpCode::Query);
    cut.add_query(question.queries[0].clone());
    cut.metadata.truncation = true;
    cut.to_vec().unwrap()
}

fn reply(question: &Message, zone: &[(Name, RData)]) -> Vec<u8> {
    let query = question.queries[0].clone();
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    let known: Vec<&RData> =
        zone.iter().filter(|(at, _)| at == query.name()).map(|(_, data)| data).collect();
    let fits = |data: &&&RData| {
        let kind = data.record_type();
        kind == query.query_type() || kind == RecordType::CNAME
    };
    let answers = known.iter().filter(fits);
    reply.answers = answers
        .map(|data| Record::from_rdata(query.name().clone(), 60, (**data).clone()))
        .collect();
    if known.is_empty() {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    reply.add_query(query);
    reply.to_vec().unwrap()
}

fn srv(priority: u16, port: u16, host: &str) -> RData {
    RData::SRV(SRV::new(priority, 0, port, Name::from_ascii(host).unwrap()))
}

fn a(d: u8) -> RData {
    RData::A(A(Ipv4Addr::new(10, 0, 0, d)))
}

fn at(d: u8, port: u16) -> SocketAddr {
    ([10, 0, 0, d], port).into()
}

const SERVICE: &str = "_potluck._udp.seed.example.";

#[tokio::test]
async fn targets_of_srv_records_come_by_priority_with_their_ports_and_the_name_itself_last() {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    let zone = vec![
        (SERVICE, srv(20, 4000, "spare.example.")),
        (SERVICE, srv(10, 3000, "main.example.")),
        ("main.example.", a(1)),
        ("main.example.", RData::AAAA(AAAA(v6))),
        ("spare.example.", a(2)),
        ("seed.example.", a(3)),
    ];
    let server = Server::start(Manner::Answers, zone).await;
    let groups = server.groups("seed.example:12345").await.unwrap();
    assert_eq!(groups.len(), 3, "{groups:?}");
    assert_eq!(groups[0].len(), 2, "both families at once");
    assert!(groups[0].contains(&at(1, 3000)));
    assert!(groups[0].contains(&SocketAddr::new(v6.into(), 3000)));
    assert_eq!(groups[1..], [vec![at(2, 4000)], vec![at(3, 12345)]]);
    let ipv4 = Families::of(&["0.0.0.0:1".parse().unwrap()]);
    let groups = Names::at(server.address).groups("seed.example:12345", ipv4).await.unwrap();
    assert_eq!(groups, [[at(1, 3000)], [at(2, 4000)], [at(3, 12345)]]);
}

#[tokio::test]
async fn a_name_without_srv_records_has_its_addresses_and_each_lookup_asks_anew() {
    let server = Server::start(Manner::Answers, vec![("seed.example.", a(3))]).await;
    for lookup in 1..=2 {
        assert_eq!(server.groups("seed.example:7").await.unwrap(), [[at(3, 7)]]);
        let asked = server.asked();
        let services = asked.iter().filter(|(_, kind)| *kind == RecordType::SRV).count();
        assert_eq!(services, lookup, "{asked:?}");
    }
}

#[tokio::test]
async fn a_dot_as_target_means_that_nobody_is_there() {
    let zone = vec![(SERVICE, srv(0, 0, ".")), ("seed.example.", a(3))];
    let server = Server::start(Manner::Answers, zone).await;
    let why = server.groups("seed.example:7").await.unwrap_err();
    assert!(why.contains("_potluck._udp.seed.example"), "{why}");
}

#[tokio::test]
async fn names_that_lead_in_circles_or_nowhere_end_in_a_sentence() {
    let circle = |to: &str| RData::CNAME(CNAME(Name::from_ascii(to).unwrap()));
    let zone = vec![
        (SERVICE, srv(0, 7, "a.example.")),
        // A target is a host: its own SRV records are not requested.
        (SERVICE, srv(0, 7, SERVICE)),
        ("a.example.", circle("b.example.")),
        ("b.example.", circle("a.example.")),
    ];
    let server = Server::start(Manner::Answers, zone).await;
    let began = Instant::now();
    for name in ["seed.example:7", "nowhere.example:7"] {
        let why = server.groups(name).await.unwrap_err();
        assert!(!why.is_empty());
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(server.asked().len() < 100, "{} questions", server.asked().len());
}

#[tokio::test]
async fn of_a_hundred_targets_eight_are_looked_up() {
    let hosts: Vec<String> = (0..100).map(|n| format!("h{n}.x.")).collect();
    let mut zone: Vec<(&str, RData)> = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        zone.push(("_potluck._udp.x.", srv(0, 7, host)));
        zone.push((host, a(n as u8)));
    }
    let server = Server::start(Manner::Answers, zone).await;
    let groups = server.groups("x:7").await.unwrap();
    assert_eq!((groups.len(), groups[0].len()), (1, 8), "{groups:?}");
    let hosts = server.asked().into_iter().filter(|(name, _)| name.starts_with('h')).count();
    assert_eq!(hosts, 16, "each in both families");
}

#[tokio::test]
async fn a_server_that_never_answers_questions_for_srv_records_costs_a_second() {
    let server = Server::start(Manner::DropsService, vec![("seed.example.", a(3))]).await;
    let began = Instant::now();
    assert_eq!(server.groups("seed.example:7").await.unwrap(), [[at(3, 7)]]);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_is_silent_or_answers_garbage_ends_in_a_sentence() {
    let ask = async |manner| {
        let server = Server::start(manner, vec![("seed.example.", a(3))]).await;
        let began = Instant::now();
        let why = server.groups("seed.example:7").await.unwrap_err();
        assert!(!why.is_empty() && !server.asked().is_empty());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    };
    tokio::join!(ask(Manner::Silent), ask(Manner::Garbage));
}
