//! Marks: short keyed hashes by which a sender shows that it knows the network's id, before
//! anything is spent on it.
//!
//! The id stands nowhere on the wire (the tag is an eighth of it), so a scanner or a flood from
//! outside, which knows no name and no authority of the network, gets neither an answer nor a key
//! agreement. It proves neither the sender nor freshness: a machine that listens on the path
//! can repeat what it saw. That proof is the seal's and the certificate's.

use std::fmt;

use potluck_base::{NetworkId, PublicKey};
use subtle::ConstantTimeEq;

use crate::frame::{BOOT_BYTES, HELLO_MARK_BYTES, HelloMark};

/// Random bytes of a boot id; the others are its mark. 80 bits do not repeat in the lives of a node.
const BOOT_RANDOM_BYTES: usize = 10;

/// Makes and checks marks.
pub(crate) struct Marks {
    key: [u8; 32],
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks(..)")
    }
}

impl Marks {
    pub(crate) fn new(network: &NetworkId) -> Self {
        Self { key: blake3::derive_key("potluck 2026 link marks", network.as_bytes()) }
    }

    /// A boot id of `sender`: the first bytes of `random`, and their mark.
    pub(crate) fn boot(&self, sender: &PublicKey, random: [u8; BOOT_BYTES]) -> [u8; BOOT_BYTES] {
        let mut boot = random;
        let mark = self.boot_mark(sender, &random);
        boot[BOOT_RANDOM_BYTES..].copy_from_slice(&mark[..BOOT_BYTES - BOOT_RANDOM_BYTES]);
        boot
    }

    /// Whether `boot` is one of `sender`, by its mark.
    pub(crate) fn is_boot_of(&self, sender: &PublicKey, boot: &[u8; BOOT_BYTES]) -> bool {
        let mark = self.boot_mark(sender, boot);
        mark[..BOOT_BYTES - BOOT_RANDOM_BYTES].ct_eq(&boot[BOOT_RANDOM_BYTES..]).into()
    }

    /// The mark of a HELLO with this nonce and padding.
    pub(crate) fn hello(&self, nonce: &[u8; 16], padding: &[u8]) -> HelloMark {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(b"hello").update(nonce).update(padding);
        let hash = hasher.finalize();
        let mut mark = [0; HELLO_MARK_BYTES];
        mark.copy_from_slice(&hash.as_bytes()[..HELLO_MARK_BYTES]);
        mark
    }

    /// Whether a HELLO has its mark.
    pub(crate) fn is_hello(&self, nonce: &[u8; 16], mark: &HelloMark, padding: &[u8]) -> bool {
        self.hello(nonce, padding).ct_eq(mark).into()
    }

    fn boot_mark(&self, sender: &PublicKey, boot: &[u8; BOOT_BYTES]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(b"boot").update(sender.as_bytes()).update(&boot[..BOOT_RANDOM_BYTES]);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Admission;

    use super::*;

    #[test]
    fn a_mark_holds_for_its_network_its_sender_and_each_of_its_bits() {
        let marks = |name| Marks::new(&NetworkId::new(name, Admission::Lab, None));
        let (here, there) = (marks("a"), marks("b"));
        let key = PublicKey::from_bytes([1; 32]);
        let boot = here.boot(&key, [9; 16]);
        assert_eq!(boot[..BOOT_RANDOM_BYTES], [9; BOOT_RANDOM_BYTES]);
        assert!(here.is_boot_of(&key, &boot) && !there.is_boot_of(&key, &boot));
        assert!(!here.is_boot_of(&PublicKey::from_bytes([2; 32]), &boot));
        for bit in 0..128 {
            let mut spoilt = boot;
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert!(!here.is_boot_of(&key, &spoilt), "bit {bit}");
        }
        let mark = here.hello(&[1; 16], &[0; 86]);
        assert!(here.is_hello(&[1; 16], &mark, &[0; 86]));
        assert!(!there.is_hello(&[1; 16], &mark, &[0; 86]));
        assert!(!here.is_hello(&[2; 16], &mark, &[0; 86]));
        assert!(!here.is_hello(&[1; 16], &mark, &[0; 87]));
    }
}
