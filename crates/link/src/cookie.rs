//! Cookies: proof that a sender receives at the address it writes from, without any state here.
//!
//! A cookie is a keyed hash over address, claimed public key and epoch. Epochs last a minute and
//! the previous one is accepted, so a cookie is good for one to two minutes. It says nothing of who
//! the sender is (only the seal does that), but a machine that forged the address never saw the cookie.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use potluck_base::{Instant, PublicKey, Rng};
use subtle::ConstantTimeEq;

use crate::frame::{COOKIE_BYTES, Cookie};

/// How long an epoch lasts: a cookie is accepted at least this long.
pub(crate) const EPOCH_SECONDS: u64 = 60;

/// Makes and checks cookies.
pub(crate) struct CookieJar {
    secret: [u8; 32],
    /// The current epoch and the one before.
    epochs: [Epoch; 2],
}

/// A period in which one secret makes cookies.
#[derive(Clone, Copy)]
struct Epoch {
    number: u64,
    secret: [u8; 32],
}

impl Epoch {
    fn new(secret: &[u8; 32], number: u64) -> Self {
        Self { number, secret: *blake3::keyed_hash(secret, &number.to_be_bytes()).as_bytes() }
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar(..)")
    }
}

impl CookieJar {
    /// A jar with a secret of its own.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let secret = rng.bytes();
        let epochs = [Epoch::new(&secret, 0); 2];
        Self { secret, epochs }
    }

    /// The cookie that proves `address` for the holder of `key`.
    pub(crate) fn make(&mut self, now: Instant, address: SocketAddr, key: &PublicKey) -> Cookie {
        self.turn(now);
        mac(&self.epochs[0], address, key)
    }

    /// Whether `cookie` was made for `address` and `key` in this epoch or the one before.
    pub(crate) fn verify(
        &mut self,
        now: Instant,
        address: SocketAddr,
        key: &PublicKey,
        cookie: &Cookie,
    ) -> bool {
        self.turn(now);
        self.epochs.iter().any(|epoch| mac(epoch, address, key).ct_eq(cookie).into())
    }

    fn turn(&mut self, now: Instant) {
        let epoch = now.as_micros() / (EPOCH_SECONDS * 1_000_000);
        if epoch != self.epochs[0].number {
            self.epochs =
                [epoch, epoch.saturating_sub(1)].map(|number| Epoch::new(&self.secret, number));
        }
    }
}

/// One compression: the input is 58 bytes.
fn mac(epoch: &Epoch, address: SocketAddr, key: &PublicKey) -> Cookie {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut input = [0; 58];
    input[..16].copy_from_slice(&ip.octets());
    input[16..18].copy_from_slice(&address.port().to_be_bytes());
    input[18..50].copy_from_slice(key.as_bytes());
    input[50..].copy_from_slice(&epoch.number.to_be_bytes());
    let hash = blake3::keyed_hash(&epoch.secret, &input);
    let mut cookie = [0; COOKIE_BYTES];
    cookie.copy_from_slice(&hash.as_bytes()[..COOKIE_BYTES]);
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_cookie_holds_for_its_epoch_and_the_next_and_for_its_jar() {
        let (mut jar, mut other) =
            (CookieJar::new(&mut Rng::from_number(1)), CookieJar::new(&mut Rng::from_number(2)));
        let address = "10.0.0.1:7".parse().expect("an address");
        let key = PublicKey::from_bytes([1; 32]);
        let cookie = jar.make(at(60), address, &key);
        for (seconds, holds) in [(60, true), (119, true), (179, true), (180, false)] {
            assert_eq!(jar.verify(at(seconds), address, &key, &cookie), holds, "at {seconds} s");
        }
        assert!(!other.verify(at(60), address, &key, &cookie));
    }

    #[test]
    fn every_part_of_address_and_key_counts() {
        let mut jar = CookieJar::new(&mut Rng::from_number(1));
        let key = PublicKey::from_bytes([1; 32]);
        let address: SocketAddr = "10.0.0.1:7".parse().expect("an address");
        let cookie = jar.make(at(0), address, &key);
        assert!(jar.verify(at(0), address, &key, &cookie));
        for other in ["10.0.0.2:7", "10.0.0.1:8", "[::a00:1]:7"] {
            let other = other.parse().expect("an address");
            assert!(!jar.verify(at(0), other, &key, &cookie), "{other}");
        }
        assert!(!jar.verify(at(0), address, &PublicKey::from_bytes([2; 32]), &cookie));
        let mut spoilt = cookie;
        spoilt[15] ^= 1;
        assert!(!jar.verify(at(0), address, &key, &spoilt));
    }
}
