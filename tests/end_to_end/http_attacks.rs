//! Clients that misbehave, over real sockets: health is answered beside all of them, other requests come
//! through, no memory is lost, and none of what they send is taken for a request that it is not.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Node, wait_until};

/// A node answers about its health within this, whatever else clients do.
const HEALTHY: Duration = Duration::from_secs(10);
/// More connections than a node has places.
const MANY: usize = 300;

struct Attacked {
    node: Node,
    address: SocketAddr,
}

impl Attacked {
    fn start() -> Self {
        let node = Node::start(&[]);
        let address = node.url.strip_prefix("http://").expect("a URL");
        let address = address.parse().expect("an address");
        Self { node, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, HEALTHY).expect("a connection");
        stream.set_read_timeout(Some(HEALTHY)).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        stream
    }

    /// Connections that have all sent this.
    fn crowd(&self, begin: &[u8]) -> Vec<TcpStream> {
        let crowd: Vec<TcpStream> = (0..MANY).map(|_| self.connect()).collect();
        for mut stream in &crowd {
            // One that has no place is answered and closed.
            let _ = stream.write_all(begin);
        }
        crowd
    }

    /// The status of the answer to these bytes; `None` if the connection ends without one.
    fn status_of(&self, request: &[u8]) -> Option<u16> {
        let mut stream = self.connect();
        stream.set_write_timeout(Some(HEALTHY)).expect("a timeout");
        // What a server does not want to read to its end it may refuse before.
        let _ = stream.write_all(request);
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => answer.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}: {}", String::from_utf8_lossy(request)),
            }
            if answer.windows(4).any(|end| end == b"\r\n\r\n") {
                break;
            }
        }
        let line = String::from_utf8_lossy(&answer).into_owned();
        line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }

    fn get(&self, path: &str) -> (Option<u16>, Duration) {
        let begun = Instant::now();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        (self.status_of(request.as_bytes()), begun.elapsed())
    }

    fn is_healthy(&self, beside: &str) {
        for path in ["/healthz", "/readyz"] {
            let (status, took) = self.get(path);
            assert_eq!(status, Some(200), "{path} beside {beside}");
            assert!(took < HEALTHY, "{path} beside {beside}: {took:?}");
        }
    }

    /// Other requests than those about health come through, sooner or later.
    fn is_of_use(&self, beside: &str) {
        wait_until(&format!("a read beside {beside}"), || self.get("/v1/kv/none").0 == Some(404));
    }

    /// Resident memory in MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.node.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}

/// A thread that sends these bytes to each of a crowd again and again, until it is told to stop.
struct Dripping(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Dripping {
    fn begin(crowd: Vec<TcpStream>, bytes: &'static [u8]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for mut stream in &crowd {
                    let _ = stream.write_all(bytes);
                }
                thread::park_timeout(Duration::from_millis(200));
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Dripping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().expect("once").join();
    }
}

const LONG_BODY: &[u8] = b"PUT /v1/kv/slow HTTP/1.1\r\nHost: localhost\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 60000\r\n\r\n";

#[test]
fn slow_and_greedy_clients_keep_nobody_from_the_node() {
    let attacked = Attacked::start();
    let put = [LONG_BODY, &[7; 60_000]].concat();
    assert_eq!(attacked.status_of(&put), Some(200));
    let calm = attacked.memory();
    // Heads, and bodies, of which a byte comes now and then.
    for (what, begin) in [
        ("heads that drip", &b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: "[..]),
        ("bodies that drip", LONG_BODY),
    ] {
        let dripping = Dripping::begin(attacked.crowd(begin), b"a");
        attacked.is_healthy(what);
        attacked.is_of_use(what);
        drop(dripping);
    }
    // Requests one behind the other, and nobody reads the answers.
    let reads = b"GET /v1/kv/slow HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let deaf = attacked.crowd(&reads);
    attacked.is_healthy("clients that read nothing");
    attacked.is_of_use("clients that read nothing");
    let peak = attacked.memory();
    drop(deaf);
    // Streams without an end leave places for requests that have one.
    let subscribe = b"GET /v1/topics/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let subscribers = attacked.crowd(subscribe);
    attacked.is_healthy("subscribers");
    attacked.is_of_use("subscribers");
    drop(subscribers);
    // Lines that never end are streams, too.
    let lines = b"POST /v1/topics/x?lines=true HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let dripping = Dripping::begin(attacked.crowd(lines), b"1\r\na\r\n");
    attacked.is_healthy("lines that drip");
    attacked.is_of_use("lines that drip");
    drop(dripping);
    let idle = attacked.crowd(b"");
    attacked.is_healthy("idle connections");
    attacked.is_of_use("idle connections");
    drop(idle);
    assert!(peak < calm + 100 && attacked.memory() < calm + 60, "{calm} to {peak} MiB");
}

#[test]
fn what_is_no_request_is_refused_and_never_taken_for_another_one() {
    let attacked = Attacked::start();
    let put = "PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/octet-stream\r\n";
    let chunked = format!("{put}Transfer-Encoding: chunked\r\n\r\n");
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    let many: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    let trailers = "T: x\r\n".repeat(5000);
    let cases: [(&str, String, &[u16]); 20] = [
        ("a huge header", format!("{get}X: {}\r\n\r\n", "a".repeat(70_000)), &[431]),
        ("many headers", format!("{get}{many}\r\n"), &[431]),
        ("a long path", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(60_000)), &[414, 431]),
        (
            "two lengths",
            format!("{put}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
            &[400],
        ),
        ("a length of no number", format!("{put}Content-Length: -1\r\n\r\n"), &[400]),
        ("a length over all", format!("{put}Content-Length: 99999999999999999999\r\n\r\n"), &[400]),
        ("a gigabyte announced", format!("{put}Content-Length: 1000000000\r\n\r\n"), &[413]),
        ("a chunk of no length", format!("{chunked}zz\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("a chunk over all", format!("{chunked}fffffffffffffffff\r\nabc\r\n"), &[400]),
        ("a chunk's extension", format!("{chunked}3;{}\r\nabc\r\n", "e".repeat(100_000)), &[400]),
        ("trailers", format!("{chunked}1\r\na\r\n0\r\n{trailers}\r\n"), &[400]),
        ("endless chunks", format!("{chunked}{}", "1\r\na\r\n".repeat(200_000)), &[413]),
        ("two hosts", "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n".into(), &[403]),
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n".into(), &[403]),
        (
            "another host in the target",
            "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            &[403],
        ),
        (
            "a tunnel",
            "CONNECT evil.example:1 HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            &[403, 415],
        ),
        ("a folded header", format!("{get}X: a\r\n b\r\n\r\n"), &[400]),
        ("a name with a NUL", format!("{get}X\0: a\r\n\r\n"), &[400]),
        ("a coding of no name", format!("{put}Transfer-Encoding: x\r\n\r\n"), &[400, 501]),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".into(), &[400]),
    ];
    for (what, request, expected) in cases {
        let status = attacked.status_of(request.as_bytes());
        assert!(status.is_some_and(|it| expected.contains(&it)), "{what}: {status:?}");
    }
    // HTTP/2 without asking first gets no answer.
    assert_eq!(attacked.status_of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"), None);
    // With a length and chunks the chunks count, and what follows is no second request.
    let both = format!(
        "{put}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         PUT /v1/kv/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    );
    let status = attacked.status_of(both.as_bytes());
    assert!([Some(200), Some(400)].contains(&status), "{status:?}");
    assert_eq!(attacked.get("/v1/kv/smuggled").0, Some(404));
    attacked.is_healthy("nothing");
}
