//! One end of the line, in a process and a network namespace of its own.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::shape::{Queue, Shape};

/// The task that starts an end; for internal use.
pub(crate) const TASK: &str = "line-end";
/// Longest datagram.
const DATAGRAM_BYTES: usize = 65_536;
/// Datagrams in transit: more than a second of small ones at 1 Gbit/s.
const ON_LINE_MAX: usize = 256 * 1024;
/// Interval of the reports: each has the bytes that passed since the last report and the packets dropped in
/// all.
const REPORT: Duration = Duration::from_millis(250);

/// A datagram and when it arrives.
type Sent = (Instant, Box<[u8]>);

/// Runs the end until it is killed: it has the address `ADDRESS` towards the node `NODE`; its socket towards
/// the other end is `OWN`, the other end's is `OTHER`.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let [address, node, own, other, shape @ ..] = &words[..] else {
        return Err("line-end is started by `cargo xtask line`".to_owned());
    };
    let node: SocketAddr = node.parse().map_err(|_| format!("{node} is no address"))?;
    let shape = Shape::of_words(shape).ok_or("the shape of the line is not known")?;
    let told = |error: io::Error| format!("an end of the line stopped: {error}");
    let udp = Arc::new(UdpSocket::bind(address).map_err(told)?);
    let inner = Arc::new(UnixDatagram::bind(own).map_err(told)?);
    let (sender, receiver) = sync_channel::<Sent>(ON_LINE_MAX);
    let to = PathBuf::from(other);
    let outwards = Arc::clone(&inner);
    thread::spawn(move || carry(&receiver, &outwards, &to));
    let back = Arc::clone(&udp);
    thread::spawn(move || {
        let mut bytes = vec![0; DATAGRAM_BYTES];
        while let Ok(length) = inner.recv(&mut bytes) {
            // As on any line, a packet that the node's machine does not accept is lost.
            let _ = back.send_to(&bytes[..length], node);
        }
    });
    let started = Instant::now();
    let mut queue = Queue::new(shape, started);
    let (mut bytes, mut passed, mut reported) = (vec![0; DATAGRAM_BYTES], 0, started);
    loop {
        let (length, _) = udp.recv_from(&mut bytes).map_err(told)?;
        let now = Instant::now();
        if let Some(arrival) = queue.arrival(now, length) {
            passed += length;
            sender.send((arrival, bytes[..length].into())).map_err(|error| error.to_string())?;
        }
        if now.duration_since(reported) > REPORT {
            reported = now;
            let at = now.duration_since(started).as_secs_f64();
            let line = format!("from {node}, {at:.2} s: {passed} bytes, {} dropped", queue.dropped);
            passed = 0;
            writeln!(io::stdout(), "{line}").map_err(told)?;
        }
    }
}

/// Delivers datagrams at their arrival time.
fn carry(line: &Receiver<Sent>, socket: &UnixDatagram, to: &PathBuf) {
    while let Ok((arrival, bytes)) = line.recv() {
        let wait = arrival.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            sleep(wait);
        }
        // A datagram is lost until the other end has started.
        let _ = socket.send_to(&bytes, to);
    }
}
