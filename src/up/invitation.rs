//! Invitations to an `open` network among the entry points of a command: each carries the network's name,
//! its difficulty and ways in, so that nothing else has to be typed.

use potluck::OpenInvitation;
use potluck_base::Addresses;
use potluck_wire::puzzle::OPEN_SCHEME;

use crate::cli::UpArgs;
use crate::failure::{Exit, Failure};

/// Whether a typed word is meant to be an invitation.
pub(crate) fn is_invitation(word: &str) -> bool {
    word.starts_with(OPEN_SCHEME)
}

/// The invitation in a word.
///
/// # Errors
/// It is none.
pub(crate) fn parse(word: &str) -> Result<OpenInvitation, Failure> {
    word.parse().map_err(wrong)
}

/// The invitation that was given, if one was, and it does not contradict the other flags.
///
/// # Errors
/// Wrong usage: two, one that is none, or another network than the flags say.
pub(super) fn of(args: &UpArgs) -> Result<Option<OpenInvitation>, Failure> {
    let mut words = args.entry.iter().filter(|word| is_invitation(word));
    let Some(word) = words.next() else { return Ok(None) };
    if words.any(|other| other != word) {
        return Err(wrong("a node is in one network: give one invitation"));
    }
    let invitation = parse(word)?;
    let (network, difficulty) = (&invitation.network, invitation.difficulty.to_string());
    let differs = |flag: Option<&String>, is: &str| flag.is_some_and(|flag| flag.trim() != is);
    let message = if differs(args.network.as_ref(), network) {
        format!("the invitation is to the network {network}, not to the one of --network")
    } else if differs(args.admission.as_ref(), "open") {
        format!("the invitation is to the open network {network}, and --admission says otherwise")
    } else if differs(args.difficulty.as_ref().map(|it| it.replace(' ', "")).as_ref(), &difficulty)
    {
        format!(
            "the network {network} has difficulty {difficulty}, and --difficulty says otherwise"
        )
    } else {
        return Ok(Some(invitation));
    };
    Err(wrong(message).hint("the invitation says all three; leave the other flags out"))
}

/// The contacts that an invitation names.
pub(crate) fn contacts(invitation: &OpenInvitation) -> Vec<String> {
    let contacts = invitation.entry_points.iter().flat_map(Addresses::contacts);
    contacts.map(|contact| contact.to_string()).collect()
}

fn wrong(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, "badInvitation", why)
}
