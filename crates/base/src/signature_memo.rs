//! Results of signature checks that a thread remembers, for the simulator.
//!
//! In a simulated network one thread checks each signature once a node. The result depends on key, message
//! and signature only, so a thread that remembers results gives the same answers and checks each signature
//! once. A real node checks most signatures once and does not switch this on.

use std::cell::{Cell, RefCell};

use crate::keys::KeyError;
use crate::{PublicKey, Signature};

/// Results that a thread remembers: 2.6 MB. More results than that overwrite each other, which costs further
/// checks only. A run of 500 nodes has about 2,000 signatures.
const SLOTS: usize = 1 << 16;

/// The hash of key, signature and message, and the result of the check.
type Slot = Option<([u8; 32], Result<(), KeyError>)>;

thread_local! {
    static MEMO: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
    static CHECKS: Cell<u64> = const { Cell::new(0) };
}

/// Signature checks asked for on this thread since it began, remembered ones included. The simulator takes
/// the difference around each input of a node: what a real node would have computed for it.
#[must_use]
pub fn checks() -> u64 {
    CHECKS.get()
}

/// While this lives, its thread remembers the results of signature checks.
#[derive(Debug)]
pub struct SignatureMemo {
    /// Whether an outer one remembers already.
    nested: bool,
    // Not for other threads.
    _thread: std::marker::PhantomData<*const ()>,
}

impl SignatureMemo {
    /// Begins to remember.
    #[must_use]
    pub fn on_this_thread() -> Self {
        let nested = MEMO.with_borrow_mut(|memo| {
            let nested = !memo.is_empty();
            memo.resize(SLOTS, None);
            nested
        });
        Self { nested, _thread: std::marker::PhantomData }
    }
}

impl Drop for SignatureMemo {
    fn drop(&mut self) {
        if !self.nested {
            MEMO.with_borrow_mut(|memo| *memo = Vec::new());
        }
    }
}

/// The result of a check, from memory if this thread remembers it.
pub(crate) fn remembered(
    key: &PublicKey,
    message: &[u8],
    signature: &Signature,
    check: impl FnOnce() -> Result<(), KeyError>,
) -> Result<(), KeyError> {
    CHECKS.set(CHECKS.get().wrapping_add(1));
    MEMO.with_borrow_mut(|memo| {
        if memo.is_empty() {
            return check();
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(key.as_bytes()).update(signature.as_bytes()).update(message);
        let hash = *hasher.finalize().as_bytes();
        let first = hash.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let slot = &mut memo[first as usize % SLOTS];
        if let Some((known, result)) = slot
            && *known == hash
        {
            return *result;
        }
        let result = check();
        *slot = Some((hash, result));
        result
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Identity;

    #[test]
    fn a_result_is_remembered_for_its_key_message_and_signature_only() {
        let (one, other) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
        let (key, signature) = (one.public_key(), one.sign(b"dish"));
        let checks = Cell::new(0);
        let ask = |key: &PublicKey, message: &[u8], signature: &Signature| {
            remembered(key, message, signature, || {
                checks.set(checks.get() + 1);
                key.check(message, signature)
            })
        };
        assert_eq!((ask(&key, b"dish", &signature), checks.get()), (Ok(()), 1));
        assert_eq!((ask(&key, b"dish", &signature), checks.get()), (Ok(()), 2), "not switched on");
        let memo = SignatureMemo::on_this_thread();
        for _ in 0..3 {
            assert_eq!(ask(&key, b"dish", &signature), Ok(()));
            assert_eq!(ask(&key, b"fish", &signature), Err(KeyError::Signature));
            assert_eq!(ask(&other.public_key(), b"dish", &signature), Err(KeyError::Signature));
            assert_eq!(ask(&key, b"dish", &other.sign(b"dish")), Err(KeyError::Signature));
        }
        assert_eq!(checks.get(), 2 + 4);
        drop(SignatureMemo::on_this_thread());
        assert_eq!((ask(&key, b"dish", &signature), checks.get()), (Ok(()), 6), "a nested one");
        drop(memo);
        assert_eq!((ask(&key, b"dish", &signature), checks.get()), (Ok(()), 7));
    }

    #[test]
    fn a_remembered_check_is_counted_like_a_computed_one() {
        let identity = Identity::from_seed([3; 32]);
        let (key, signature) = (identity.public_key(), identity.sign(b"dish"));
        let before = checks();
        assert_eq!(key.verify(b"dish", &signature), Ok(()));
        let memo = SignatureMemo::on_this_thread();
        assert_eq!(key.verify(b"dish", &signature), Ok(()));
        assert_eq!(key.verify(b"dish", &signature), Ok(()));
        assert_eq!(key.verify(b"fish", &signature), Err(KeyError::Signature));
        drop(memo);
        assert_eq!(checks() - before, 4);
    }
}
