//! Resolves an id, or a prefix of one, to a member or a ticket.
//!
//! **Invariant:** a prefix of fewer than [`DIGITS_MIN`] digits, or one that several ids share, is refused.

use potluck_base::{NetworkId, PublicKey};

use super::MembershipError;

/// Fewest digits of a prefix. A shorter one could be mistyped into another member's.
const DIGITS_MIN: usize = 8;
/// Ids that an error names when several share the prefix.
const NAMED_MAX: usize = 3;
/// Digits of such an id that are shown beyond the prefix.
const DIGITS_MORE: usize = 8;

/// The member with the id `who`, among `members` by public key or node id. A prefix that one of `tickets`
/// shares is ambiguous.
pub(super) fn member(
    who: &str,
    members: &[PublicKey],
    tickets: &[PublicKey],
    network: &NetworkId,
) -> Result<PublicKey, MembershipError> {
    let who = long_enough(who)?;
    let mut found = Vec::new();
    for key in members {
        let ids = [key.to_string(), key.node_id(network).to_string()];
        found.extend(ids.into_iter().find(|id| id.starts_with(&who)).map(|id| (*key, id)));
    }
    found.sort_unstable();
    found.dedup_by_key(|(key, _)| *key);
    let of_tickets = begin_so(&who, tickets);
    match (&found[..], &of_tickets[..]) {
        ([(key, _)], []) => Ok(*key),
        ([], []) => Err(MembershipError::Unknown(who)),
        ([], [(_, id)]) => Err(MembershipError::IsTicket(id.clone())),
        _ => {
            found.extend(of_tickets);
            Err(ambiguous(who, &found))
        }
    }
}

/// The ticket with the id `who`.
pub(super) fn ticket(who: &str, tickets: &[PublicKey]) -> Result<PublicKey, MembershipError> {
    let who = long_enough(who)?;
    let found = begin_so(&who, tickets);
    match &found[..] {
        [(key, _)] => Ok(*key),
        [] => Err(MembershipError::UnknownTicket(who)),
        _ => Err(ambiguous(who, &found)),
    }
}

fn long_enough(who: &str) -> Result<String, MembershipError> {
    let who = who.trim().to_ascii_lowercase();
    if who.len() < DIGITS_MIN { Err(MembershipError::TooShort(who)) } else { Ok(who) }
}

fn begin_so(who: &str, tickets: &[PublicKey]) -> Vec<(PublicKey, String)> {
    let ids = tickets.iter().map(|key| (*key, key.to_string()));
    ids.filter(|(_, id)| id.starts_with(who)).collect()
}

fn ambiguous(who: String, found: &[(PublicKey, String)]) -> MembershipError {
    let shown = |id: &String| id.chars().take(who.len() + DIGITS_MORE).collect::<String>();
    let mut some: Vec<String> = found.iter().take(NAMED_MAX).map(|(_, id)| shown(id)).collect();
    if found.len() > NAMED_MAX {
        some.push("..".to_owned());
    }
    MembershipError::Ambiguous { count: found.len(), some: some.join(", "), who }
}

#[cfg(test)]
mod tests {
    use potluck_base::Admission;

    use super::*;

    fn network() -> NetworkId {
        NetworkId::new("home", Admission::Invite, None)
    }

    /// A key that begins with four bytes of `first`, and ends with `last`.
    fn key(first: u8, last: u8) -> PublicKey {
        let mut bytes = [first; 32];
        bytes[31] = last;
        PublicKey::from_bytes(bytes)
    }

    fn meant(who: &str) -> Result<PublicKey, MembershipError> {
        // Twice the same one, as when the book and the members list know it.
        let members = [key(1, 1), key(2, 1), key(2, 2), key(1, 1), key(4, 1)];
        member(who, &members, &[key(3, 1), key(4, 2)], &network())
    }

    #[test]
    fn a_member_is_found_by_the_beginning_of_its_key_or_node_id_in_any_case() {
        let node_id = key(1, 1).node_id(&network()).to_string();
        for who in ["01010101", &key(1, 1).to_string(), &node_id[..8], &node_id.to_uppercase()] {
            assert_eq!(meant(who).unwrap(), key(1, 1), "{who}");
        }
        assert_eq!(meant(&key(2, 2).to_string()).unwrap(), key(2, 2));
    }

    #[test]
    fn nobody_several_and_too_little_are_told_apart() {
        assert!(matches!(meant("0101010"), Err(MembershipError::TooShort(_))));
        assert!(matches!(meant(""), Err(MembershipError::TooShort(_))));
        assert!(matches!(meant("ffffffff"), Err(MembershipError::Unknown(_))));
        assert!(matches!(meant("no number, but long"), Err(MembershipError::Unknown(_))));
        let several = meant("02020202").unwrap_err().to_string();
        assert!(several.contains("2 ids (0202020202020202, 0202020202020202)"), "{several}");
        assert!(matches!(meant("03030303"), Err(MembershipError::IsTicket(id)) if id.len() == 64));
        let both = meant("04040404").unwrap_err();
        assert!(matches!(both, MembershipError::Ambiguous { count: 2, .. }), "{both}");
    }

    #[test]
    fn a_ticket_is_found_among_tickets() {
        let tickets = [key(3, 1), key(4, 2), key(4, 3)];
        assert_eq!(ticket("03030303", &tickets).unwrap(), key(3, 1));
        assert!(matches!(ticket("04040404", &tickets), Err(MembershipError::Ambiguous { .. })));
        assert!(matches!(ticket("01010101", &tickets), Err(MembershipError::UnknownTicket(_))));
        let many: Vec<PublicKey> = (0..200).map(|last| key(7, last)).collect();
        let said = ticket("07070707", &many).unwrap_err().to_string();
        assert!(said.contains("200 ids") && said.len() < 200, "{said}");
    }
}
