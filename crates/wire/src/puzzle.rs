//! Admission to an `open` network: the proof of a node's puzzles, and the invitation that tells a new node
//! which network it is and where its nodes are.
//!
//! A proof is sent in the place of a certificate of an `invite` network, by the same rules. It is not signed:
//! the seal of its datagram proves the key to which the puzzles belong.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use minicbor::{Decode, Decoder, Encode};
use potluck_base::network::NETWORK_NAME_BYTES_MAX;
use potluck_base::puzzle;
use potluck_base::{Addresses, Difficulty, NetworkId, PublicKey, PuzzleEpoch};

use crate::contact::cbor_entry_points;
use crate::limits::{PUZZLE_PROOF_BYTES_MAX, TICKET_CONTACTS_MAX};

/// The proof of work of a node in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PuzzleProof {
    /// The epoch of the solution.
    pub epoch: PuzzleEpoch,
    /// The solution of the dynamic puzzle.
    pub solution: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ProofText {
    #[n(0)]
    epoch: u64,
    #[n(1)]
    solution: u64,
}

impl PuzzleProof {
    /// The encoded proof.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let text = ProofText { epoch: self.epoch.0, solution: self.solution };
        minicbor::to_vec(&text).expect("writing to memory cannot fail").into()
    }

    /// Decodes a proof. `None` if the bytes are not a proof, or exceed [`PUZZLE_PROOF_BYTES_MAX`]. Does not
    /// check the puzzles.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > PUZZLE_PROOF_BYTES_MAX {
            return None;
        }
        let mut decoder = Decoder::new(bytes);
        let text: ProofText = decoder.decode().ok()?;
        let whole = decoder.position() == bytes.len();
        whole.then_some(Self { epoch: PuzzleEpoch(text.epoch), solution: text.solution })
    }

    /// Whether both puzzles are solved for `key`. Does not check the epoch.
    #[must_use]
    pub fn holds(&self, network: &NetworkId, difficulty: Difficulty, key: &PublicKey) -> bool {
        puzzle::holds(network, difficulty, key, self.epoch, self.solution)
    }
}

/// A work stamp of a store: see [`potluck_base::stamp`]. It stands among the certificates of a store request,
/// which an `open` network has no other use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkStamp {
    /// The hour that it was made for.
    pub hour: u64,
    /// The number that was found.
    pub number: u64,
}

impl WorkStamp {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // The same two numbers, so the same form.
        PuzzleProof { epoch: PuzzleEpoch(self.hour), solution: self.number }.encode()
    }

    /// Reads sent bytes; `None` if they are no stamp, or over the limit of [`PUZZLE_PROOF_BYTES_MAX`].
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let PuzzleProof { epoch, solution } = PuzzleProof::decode(bytes)?;
        Some(Self { hour: epoch.0, number: solution })
    }
}

/// The prefix of every invitation.
pub const OPEN_SCHEME: &str = "potluck-open:";
/// Longest invitation, in characters. It is more than the longest valid one.
pub const OPEN_CHARS_MAX: usize = 3000;
/// Version of the invitation's bytes.
const OPEN_VERSION: u8 = 1;
/// Bytes of its checksum, which detects a wrong or missing character.
const CHECKSUM_BYTES: usize = 4;

/// All that a node needs to join an `open` network: its name, its difficulty, and nodes of it. Not a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvitation {
    /// The network's name.
    pub network: String,
    /// Its difficulty.
    pub difficulty: Difficulty,
    /// Nodes of the network, each with its addresses; at most [`TICKET_CONTACTS_MAX`].
    pub entry_points: Vec<Addresses>,
}

#[derive(Encode, Decode)]
struct InvitationText {
    #[n(0)]
    network: String,
    #[n(1)]
    static_bits: u8,
    #[n(2)]
    dynamic_bits: u8,
    #[cbor(n(3), with = "cbor_entry_points")]
    entry_points: Vec<Addresses>,
}

/// Why a text is not an invitation to an `open` network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenInvitationError {
    /// It does not begin with the prefix.
    #[error("an invitation to an open network begins with `{OPEN_SCHEME}`")]
    Scheme,
    /// A character is wrong or missing.
    #[error("the invitation is damaged or cut off; copy it again, all of it")]
    Damaged,
    /// The version is newer.
    #[error("this invitation is of a version that this program does not know")]
    Version,
    /// It is complete, but not an invitation that a node prints.
    #[error("this is no invitation that `potluck up` prints")]
    Malformed,
}

/// The text form, to copy and paste.
impl fmt::Display for OpenInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry_points = self.entry_points.iter().take(TICKET_CONTACTS_MAX).cloned().collect();
        let text = InvitationText {
            network: self.network.clone(),
            static_bits: self.difficulty.static_bits(),
            dynamic_bits: self.difficulty.dynamic_bits(),
            entry_points,
        };
        let mut bytes = vec![OPEN_VERSION];
        minicbor::encode(&text, &mut bytes).expect("writing to memory cannot fail");
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        write!(f, "{OPEN_SCHEME}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for OpenInvitation {
    type Err = OpenInvitationError;

    /// Skips line breaks and spaces, which mail programs insert.
    fn from_str(text: &str) -> Result<Self, OpenInvitationError> {
        use OpenInvitationError::{Damaged, Malformed, Scheme, Version};
        if text.len() > OPEN_CHARS_MAX {
            return Err(Damaged);
        }
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let symbols = text.strip_prefix(OPEN_SCHEME).ok_or(Scheme)?;
        let bytes =
            BASE32_NOPAD.decode(symbols.to_ascii_uppercase().as_bytes()).map_err(|_| Damaged)?;
        let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Damaged)?;
        if checksum(bytes) != *sum {
            return Err(Damaged);
        }
        let (version, text) = bytes.split_first().ok_or(Damaged)?;
        if *version != OPEN_VERSION {
            return Err(Version);
        }
        let mut decoder = Decoder::new(text);
        let read: InvitationText = decoder.decode().map_err(|_| Malformed)?;
        let InvitationText { network, static_bits, dynamic_bits, entry_points } = read;
        let difficulty = Difficulty::new(static_bits, dynamic_bits).map_err(|_| Malformed)?;
        let name_is_good = (1..=NETWORK_NAME_BYTES_MAX).contains(&network.len())
            && !network.chars().any(char::is_control);
        if decoder.position() != text.len() || !name_is_good {
            return Err(Malformed);
        }
        Ok(Self { network, difficulty, entry_points })
    }
}

#[expect(clippy::indexing_slicing, reason = "an array shorter than the hash")]
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::derive_key("potluck 2026 open invitation checksum", bytes);
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use potluck_base::{Contact, Identity};
    use proptest::prelude::*;

    use super::*;

    fn invitation(points: usize) -> OpenInvitation {
        let point = |number: usize| {
            let key = Identity::from_seed([number as u8; 32]).public_key();
            Contact::new(key, "127.0.0.1:7".parse().expect("an address")).into()
        };
        OpenInvitation {
            network: "garden".to_owned(),
            difficulty: Difficulty::new(16, 22).expect("a difficulty"),
            entry_points: (0..points).map(point).collect(),
        }
    }

    proptest! {
        #[test]
        fn a_proof_survives_its_bytes(epoch: u64, solution: u64) {
            let proof = PuzzleProof { epoch: PuzzleEpoch(epoch), solution };
            let bytes = proof.encode();
            prop_assert!(bytes.len() <= PUZZLE_PROOF_BYTES_MAX);
            prop_assert_eq!(PuzzleProof::decode(&bytes), Some(proof));
            let behind = [&bytes[..], &[0]].concat();
            prop_assert_eq!(PuzzleProof::decode(&behind), None);
            prop_assert_eq!(PuzzleProof::decode(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = PuzzleProof::decode(&bytes);
            let _ = format!("{OPEN_SCHEME}{}", BASE32_NOPAD.encode(&bytes)).parse::<OpenInvitation>();
        }
    }

    #[test]
    fn a_stamp_survives_its_bytes() {
        let stamp = WorkStamp { hour: 498_000, number: 16_000 };
        assert_eq!(WorkStamp::decode(&stamp.encode()), Some(stamp));
        assert_eq!(WorkStamp::decode(&[0; PUZZLE_PROOF_BYTES_MAX + 1]), None);
        assert_eq!(&stamp.encode()[..], [0xa2, 0, 0x1a, 0, 7, 0x99, 0x50, 1, 0x19, 0x3e, 0x80]);
    }

    #[test]
    fn a_proof_has_these_bytes_and_a_limit() {
        let proof = PuzzleProof { epoch: PuzzleEpoch(2970), solution: 5 };
        assert_eq!(&proof.encode()[..], [0xa2, 0, 0x19, 0x0b, 0x9a, 1, 5]);
        // Keys of later versions are skipped, up to the limit.
        let mut later = vec![0xa3, 0, 0x19, 0x0b, 0x9a, 1, 5, 2, 0x58, 40];
        later.extend([0; 40]);
        assert_eq!(PuzzleProof::decode(&later), Some(proof));
        let mut long = vec![0xa3, 0, 0x19, 0x0b, 0x9a, 1, 5, 2, 0x58, 60];
        long.extend([0; 60]);
        assert_eq!(PuzzleProof::decode(&long), None);
    }

    #[test]
    fn an_invitation_survives_its_text_with_at_most_four_ways_in() {
        for points in [0, 1, 4] {
            let text = invitation(points).to_string();
            assert_eq!(text.parse(), Ok(invitation(points)));
            assert_eq!(
                format!(" {}\n{} ", &text[..20], &text[20..]).parse(),
                Ok(invitation(points))
            );
        }
        let read: OpenInvitation = invitation(9).to_string().parse().expect("it is good");
        assert_eq!(read.entry_points.len(), TICKET_CONTACTS_MAX);
        let name = "n".repeat(NETWORK_NAME_BYTES_MAX + 1);
        let long = OpenInvitation { network: name, ..invitation(0) }.to_string();
        assert_eq!(long.parse::<OpenInvitation>(), Err(OpenInvitationError::Malformed));
    }

    #[test]
    fn a_text_that_is_no_invitation_is_recognised() {
        let text = invitation(1).to_string();
        let parse = |text: &str| text.parse::<OpenInvitation>().expect_err("it is bad");
        assert_eq!(parse("potluck-ticket:abc"), OpenInvitationError::Scheme);
        assert_eq!(parse(&text[..text.len() - 3]), OpenInvitationError::Damaged);
        assert_eq!(parse(&text.replace('a', "b")), OpenInvitationError::Damaged);
        assert_eq!(parse(&"x".repeat(OPEN_CHARS_MAX + 1)), OpenInvitationError::Damaged);
        let mut bytes = vec![OPEN_VERSION + 1];
        bytes.extend(checksum(&bytes));
        let later = format!("{OPEN_SCHEME}{}", BASE32_NOPAD.encode(&bytes));
        assert_eq!(parse(&later), OpenInvitationError::Version);
    }
}
