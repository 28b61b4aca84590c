//! Where peers may be dialed, and the race between the addresses of one of them.
//!
//! The address at which a peer was reached last comes first, unless it was named elsewhere since; then
//! the one that was asked for, then the others that are known of it, those of the other family before further ones of the same (RFC 8305,
//! section 4). Each attempt begins [`ATTEMPT_DELAY`] after the one before, or as soon as that has failed;
//! the first connection that proves the peer's key wins, and the others are given up. The
//! resolution delay of RFC 8305 (50 ms for IPv6) has no place here: all addresses of a peer are known
//! before the first attempt.

use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use potluck_base::{ADDRESSES_MAX, Contact, LruMap, PublicKey};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::CallError;
use crate::socket::{Families, canonical};

/// How long one attempt is waited for before the next one begins beside it (RFC 8305, section 5).
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Most peers whose addresses are remembered: twice the sessions of a link.
const PEERS_MAX: usize = 8192;

/// The addresses of peers, the last that worked or was named first.
#[derive(Debug)]
pub(super) struct Paths(Mutex<LruMap<PublicKey, Known>>);

#[derive(Debug, Default)]
struct Known {
    worked: Option<SocketAddr>,
    named: Vec<SocketAddr>,
}

impl Known {
    fn name(&mut self, address: SocketAddr) {
        self.named.retain(|named| *named != address);
        self.named.insert(0, address);
        self.named.truncate(ADDRESSES_MAX);
    }
}

impl Paths {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruMap::new(PEERS_MAX)))
    }

    /// The peer may be at these addresses, too, the preferred one first.
    pub(super) fn learn(&self, peer: PublicKey, ways: impl DoubleEndedIterator<Item = SocketAddr>) {
        let mut peers = self.0.lock();
        let known = known(&mut peers, peer);
        ways.map(canonical).rev().for_each(|way| known.name(way));
    }

    /// The peer was reached at this address.
    pub(super) fn worked(&self, peer: &Contact) {
        let mut peers = self.0.lock();
        known(&mut peers, peer.public_key).worked = Some(canonical(peer.address));
    }

    /// Where to dial `peer`, in this order; none if the node speaks the family of no address of it.
    pub(super) fn ways(&self, peer: &Contact, families: Families) -> Vec<Contact> {
        let asked = canonical(peer.address);
        let mut peers = self.0.lock();
        let known = known(&mut peers, peer.public_key);
        if !known.named.contains(&asked) {
            // News of where the peer is: what worked before may be where it was.
            known.worked = None;
        }
        known.name(asked);
        let all = known.worked.into_iter().chain([asked]).chain(known.named.iter().copied());
        let mut rest: Vec<SocketAddr> = Vec::new();
        for way in all.filter(|way| families.speak(way.ip())) {
            if !rest.contains(&way) {
                rest.push(way);
            }
        }
        drop(peers);
        let mut ways: Vec<SocketAddr> = Vec::new();
        while !rest.is_empty() {
            let other = |way: &SocketAddr| ways.last().is_none_or(|l| l.is_ipv6() != way.is_ipv6());
            let next = rest.iter().position(other).unwrap_or(0);
            ways.push(rest.remove(next));
        }
        ways.into_iter().map(|address| Contact { address, ..*peer }).collect()
    }
}

fn known(peers: &mut LruMap<PublicKey, Known>, peer: PublicKey) -> &mut Known {
    if peers.peek(&peer).is_none() {
        peers.insert(peer, Known::default());
    }
    peers.get_mut(&peer).expect("it was there or just put there")
}

/// Tries `ways` one after the other as the module says. If none leads anywhere, the error is that of the
/// way to `asked`, else of the first.
pub(super) async fn race<T, F>(
    ways: Vec<Contact>,
    asked: SocketAddr,
    attempt: impl Fn(Contact) -> F,
) -> Result<(Contact, T), CallError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, CallError>> + Send + 'static,
{
    let mut ways = ways.into_iter().peekable();
    let mut racing = JoinSet::new();
    let mut error = None;
    loop {
        if let Some(way) = ways.next() {
            let attempt = attempt(way);
            racing.spawn(async move { (way, attempt.await) });
        }
        tokio::select! {
            ended = racing.join_next() => match ended {
                Some(Ok((way, Ok(won)))) => return Ok((way, won)),
                Some(Ok((way, Err(why)))) if error.is_none() || way.address == canonical(asked) => {
                    error = Some(why);
                }
                // A bug in an attempt is a failure of it.
                Some(Ok((_, Err(_))) | Err(_)) => {}
                None if ways.peek().is_none() => {
                    return Err(error.unwrap_or(CallError::Address(asked)));
                }
                None => {}
            },
            () = sleep(ATTEMPT_DELAY), if ways.peek().is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    const BOTH: Families = Families { v4: true, v6: true };

    fn at(text: &str) -> Contact {
        Contact::new(PublicKey::from_bytes([1; 32]), text.parse().unwrap())
    }

    fn shown(ways: &[Contact]) -> Vec<String> {
        ways.iter().map(|way| way.address.to_string()).collect()
    }

    #[test]
    fn what_worked_comes_first_then_what_was_asked_for_then_the_families_in_turn() {
        let paths = Paths::new();
        let (a, b) = ("10.0.0.1:1", "10.0.0.2:1");
        assert_eq!(shown(&paths.ways(&at(a), BOTH)), [a]);
        let more = [at(b), at("[fd00::1]:1"), at("[fd00::2]:1")].map(|way| way.address);
        paths.learn(at(a).public_key, more.into_iter());
        assert_eq!(shown(&paths.ways(&at(a), BOTH)), [a, "[fd00::1]:1", b, "[fd00::2]:1"]);
        paths.worked(&at("[fd00::2]:1"));
        assert_eq!(shown(&paths.ways(&at(a), BOTH)), ["[fd00::2]:1", a, "[fd00::1]:1", b]);
        let moved = "10.0.0.3:1";
        assert_eq!(shown(&paths.ways(&at(moved), BOTH))[0], moved, "news go before what worked");
        paths.worked(&at(a));
        assert_eq!(shown(&paths.ways(&at(moved), BOTH))[0], a, "it was tried there, too");
        let v4 = Families { v4: true, v6: false };
        assert_eq!(shown(&paths.ways(&at(a), v4)), [a, moved, b]);
        let other = Contact::new(PublicKey::from_bytes([2; 32]), at("[fd00::9]:1").address);
        assert_eq!(shown(&paths.ways(&other, v4)), [""; 0]);
        assert_eq!(
            shown(&paths.ways(&at("[::ffff:10.0.0.1]:1"), v4)),
            [a, moved, b],
            "one address"
        );
    }

    #[test]
    fn no_more_addresses_of_a_peer_are_kept_than_a_record_may_have() {
        let paths = Paths::new();
        let many = (1..9).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        paths.learn(at("10.0.0.1:1").public_key, many);
        let ways = paths.ways(&at("10.0.0.1:1"), BOTH);
        assert_eq!(ways.len(), ADDRESSES_MAX, "{ways:?}");
    }

    /// Which port answered, and after how many delays each attempt began. Attempts at port 1 never
    /// end, at port 2 fail at once, at port 3 succeed after half a delay.
    async fn run(ports: &[u16]) -> (Result<u16, CallError>, Vec<u32>) {
        let (start, began) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let ways: Vec<Contact> = ports.iter().map(|port| at(&format!("10.0.0.1:{port}"))).collect();
        let asked = ways[0].address;
        let result = race(ways, asked, |way| {
            began.lock().push(start.elapsed().div_duration_f64(ATTEMPT_DELAY) as u32);
            async move {
                match way.address.port() {
                    1 => std::future::pending().await,
                    2 => Err(CallError::Refused),
                    _ => {
                        sleep(ATTEMPT_DELAY / 2).await;
                        Ok(())
                    }
                }
            }
        });
        let result = result.await.map(|(way, ())| way.address.port());
        let began = began.lock().clone();
        (result, began)
    }

    #[tokio::test]
    async fn a_silent_address_costs_a_quarter_of_a_second_and_a_dead_one_nothing() {
        assert_eq!(run(&[3]).await.0, Ok(3));
        let (won, began) = run(&[1, 3]).await;
        assert!(won == Ok(3) && began.len() == 2 && began[1] >= 1, "{won:?} {began:?}");
        let (won, began) = run(&[2, 2, 3]).await;
        assert!(won == Ok(3) && began.len() == 3, "{won:?} {began:?}");
        assert_eq!(run(&[2, 2]).await.0, Err(CallError::Refused));
    }
}
