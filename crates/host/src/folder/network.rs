//! The file that says which network a data folder belongs to.

use std::path::Path;

use potluck_base::network::NETWORK_NAME_BYTES_MAX;
use potluck_base::{Admission, Difficulty, NetworkId, PublicKey};
use potluck_wire::Ticket;

use super::file::{self, Readers};
use super::identity::random_bytes;
use super::names;
use crate::StartError;

const HEAD: &str = "potluck network 1";
const BYTES_MAX: u64 = 1024;

/// The network that a node belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Its name.
    pub name: String,
    /// Its way of admission.
    pub admission: Admission,
    /// The authority's key, which signs certificates; in `invite` networks only.
    pub authority: Option<PublicKey>,
    /// The difficulty of its puzzles; in `open` networks only.
    pub difficulty: Option<Difficulty>,
    /// Its id, the hash of the other fields.
    pub id: NetworkId,
}

/// The network that a node should be in.
#[derive(Debug)]
pub(crate) enum Choice {
    /// An existing network: the folder belongs to it, or it needs no admission.
    In(NetworkInfo),
    /// A new network of this name, for which an authority key must be created.
    Create(String),
    /// The network of this ticket.
    Join(Ticket),
}

/// The network that the settings request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Requested<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) admission: Option<Admission>,
    pub(crate) ticket: Option<&'a Ticket>,
    /// The difficulty of an `open` network.
    pub(crate) difficulty: Option<Difficulty>,
    /// The network's authority must be this one.
    pub(crate) authority: Option<PublicKey>,
    /// Whether there are entry points: then the network exists already.
    pub(crate) has_entry_points: bool,
}

impl NetworkInfo {
    /// The `lab` network of this name.
    pub(super) fn lab(name: String) -> Self {
        let id = NetworkId::new(&name, Admission::Lab, None);
        Self { name, admission: Admission::Lab, authority: None, difficulty: None, id }
    }

    /// The `open` network of this name and difficulty.
    #[must_use]
    pub fn open(name: String, difficulty: Difficulty) -> Self {
        let id = NetworkId::open(&name, difficulty);
        let difficulty = Some(difficulty);
        Self { name, admission: Admission::Open, authority: None, difficulty, id }
    }

    /// The `invite` network of this name and authority.
    #[must_use]
    pub fn invite(name: String, authority: PublicKey) -> Self {
        let id = NetworkId::new(&name, Admission::Invite, Some(&authority));
        let (admission, authority) = (Admission::Invite, Some(authority));
        Self { name, admission, authority, difficulty: None, id }
    }

    /// The network to be in: the remembered one, which must not contradict the request; else the requested
    /// one.
    pub(crate) fn choose(
        folder: &Path,
        remembered: Option<Self>,
        requested: Requested<'_>,
    ) -> Result<Choice, StartError> {
        if let Some(name) = requested.name {
            check_name(name)?;
        }
        // The network that a ticket is of must be the one asked for, too.
        if let Some(ticket) = requested.ticket {
            let named = requested.name.is_none_or(|name| name == ticket.network);
            if !named || requested.admission.is_some_and(|admission| admission != Admission::Invite)
            {
                return Err(StartError::OtherTicket { name: ticket.network.clone() });
            }
            if requested.authority.is_some_and(|expected| expected != ticket.authority) {
                let Ticket { network: name, authority, .. } = ticket.clone();
                return Err(StartError::TicketAuthority { name, authority });
            }
        }
        if let Some(kept) = remembered {
            let same = requested.name.is_none_or(|name| name == kept.name)
                && requested.admission.is_none_or(|admission| admission == kept.admission)
                && requested.ticket.is_none_or(|ticket| ticket.network_id() == kept.id);
            let expected = requested.authority.is_none() || requested.authority == kept.authority;
            let as_hard = kept.difficulty.is_none()
                || requested.difficulty.is_none()
                || requested.difficulty == kept.difficulty;
            if same && expected && as_hard {
                return Ok(Choice::In(kept));
            }
            let Self { name, admission, authority, difficulty, .. } = kept;
            if let (true, Some(kept), Some(asked)) = (same, difficulty, requested.difficulty)
                && kept != asked
            {
                let folder = folder.to_owned();
                return Err(StartError::OtherDifficulty { folder, name, kept, asked });
            }
            if same {
                let folder = folder.to_owned();
                let authority = shown(authority);
                return Err(StartError::OtherAuthority { folder, name, authority });
            }
            return Err(StartError::OtherNetwork { folder: folder.to_owned(), name, admission });
        }
        match (requested.ticket, requested.admission.unwrap_or(Admission::Invite), requested.name) {
            (Some(ticket), _, _) => Ok(Choice::Join(ticket.clone())),
            (None, Admission::Lab | Admission::Open, _) if requested.authority.is_some() => {
                Err(StartError::LabAuthority)
            }
            (None, Admission::Lab | Admission::Invite, _) if requested.difficulty.is_some() => {
                Err(StartError::DifficultyOfOpen)
            }
            // It exists, because its authority is named.
            (None, Admission::Invite, _) if requested.authority.is_some() => {
                Err(StartError::NoTicket)
            }
            (None, Admission::Open, Some(name)) => {
                let difficulty = requested.difficulty.unwrap_or(Difficulty::DEFAULT);
                Ok(Choice::In(Self::open(name.to_owned(), difficulty)))
            }
            (None, Admission::Lab, Some(name)) => Ok(Choice::In(Self::lab(name.to_owned()))),
            (None, Admission::Lab | Admission::Open, None) => Err(StartError::NoNetwork),
            (None, Admission::Invite, _) if requested.has_entry_points => Err(StartError::NoTicket),
            (None, Admission::Invite, Some(name)) => Ok(Choice::Create(name.to_owned())),
            (None, Admission::Invite, None) => Ok(Choice::Create(names::name(random_bytes()?))),
        }
    }
}

/// For people.
fn shown(authority: Option<PublicKey>) -> String {
    authority.map_or_else(|| "no authority".to_owned(), |key| format!("the authority {key}"))
}

/// A name must fit on a line of a file and of a screen.
fn check_name(name: &str) -> Result<(), StartError> {
    let good = !name.trim().is_empty()
        && name.len() <= NETWORK_NAME_BYTES_MAX
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if good { Ok(()) } else { Err(StartError::NetworkName) }
}

/// Reads the file at `path`; `None` if there is none.
pub(super) fn load(path: &Path) -> Result<Option<NetworkInfo>, StartError> {
    let damaged = || StartError::NetworkDamaged { path: path.to_owned() };
    let text = match file::read(path, BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(damaged()),
        text => text.map_err(|source| StartError::File { path: path.to_owned(), source })?,
    };
    let Some(text) = text else { return Ok(None) };
    if let Some(network) = decode(&text) {
        return Ok(Some(network));
    }
    let network = cut_off(&text).ok_or_else(damaged)?;
    tracing::warn!(code = "folder.network", path = %path.display(), "the network's file was cut off at its end; made whole");
    save(path, &network)?;
    Ok(Some(network))
}

/// Writes `network` to `path`.
pub(super) fn save(path: &Path, network: &NetworkInfo) -> Result<(), StartError> {
    file::replace(path, encode(network).as_bytes(), Readers::Usual)
        .map_err(|source| StartError::File { path: path.to_owned(), source })
}

pub(super) fn encode(network: &NetworkInfo) -> String {
    let authority = network.authority.map_or_else(String::new, |key| format!("authority {key}\n"));
    let difficulty = network.difficulty.map_or_else(String::new, |it| format!("difficulty {it}\n"));
    format!(
        "{HEAD}\nname {}\nadmission {}\n{authority}{difficulty}id {}\n",
        network.name, network.admission, network.id
    )
}

pub(super) fn decode(text: &str) -> Option<NetworkInfo> {
    let mut lines = text.lines();
    if lines.next()? != HEAD {
        return None;
    }
    let name = lines.next()?.strip_prefix("name ")?;
    let admission = lines.next()?.strip_prefix("admission ")?.parse().ok()?;
    let network = of_parts(name, admission, || lines.next())?;
    let id = lines.next()?.strip_prefix("id ")?;
    (id == network.id.to_string() && lines.next().is_none()).then_some(network)
}

/// The network of a name and an admission, with the authority or difficulty on the next line if it has one.
fn of_parts<'a>(
    name: &str,
    admission: Admission,
    next: impl FnOnce() -> Option<&'a str>,
) -> Option<NetworkInfo> {
    Some(match admission {
        Admission::Invite => {
            let authority = next()?.strip_prefix("authority ")?.parse().ok()?;
            NetworkInfo::invite(name.to_owned(), authority)
        }
        Admission::Open => {
            let difficulty = next()?.strip_prefix("difficulty ")?.parse().ok()?;
            NetworkInfo::open(name.to_owned(), difficulty)
        }
        Admission::Lab => NetworkInfo::lab(name.to_owned()),
    })
}

/// The network in a text whose end is missing, but nothing that the id is not the hash of.
pub(super) fn cut_off(text: &str) -> Option<NetworkInfo> {
    let mut lines = text.trim_end_matches('\0').split('\n').skip(1);
    let name = lines.next()?.strip_prefix("name ")?;
    let admission = lines.next()?.strip_prefix("admission ")?.parse().ok()?;
    let network = of_parts(name, admission, || lines.next())?;
    // The line before ends, so it is whole.
    lines.next()?;
    file::is_cut_off(text, &encode(&network)).then_some(network)
}

#[cfg(test)]
mod tests {
    use potluck_base::{Identity, UnixMillis};
    use potluck_wire::GrantTerms;

    use super::*;

    fn lab(name: &str) -> NetworkInfo {
        NetworkInfo::lab(name.to_owned())
    }

    fn garden() -> NetworkInfo {
        NetworkInfo::open("garden".to_owned(), Difficulty::new(12, 20).unwrap())
    }

    fn choose(
        remembered: Option<NetworkInfo>,
        requested: Requested<'_>,
    ) -> Result<Choice, StartError> {
        NetworkInfo::choose(Path::new("folder"), remembered, requested)
    }

    fn requested(name: Option<&str>, admission: Option<Admission>) -> Requested<'_> {
        Requested { name, admission, ..Requested::default() }
    }

    fn ticket() -> Ticket {
        let terms = GrantTerms {
            uses: None,
            issued: UnixMillis(0),
            expires: UnixMillis(1),
            labels: Vec::new(),
            ephemeral: false,
        };
        Ticket::issue("home", &Identity::from_seed([1; 32]), [2; 32], terms, &[]).unwrap()
    }

    fn home() -> NetworkInfo {
        NetworkInfo::invite("home".to_owned(), Identity::from_seed([1; 32]).public_key())
    }

    #[test]
    fn a_network_survives_its_file_and_a_damaged_file_is_noticed() {
        for network in [lab("größer"), home(), garden()] {
            let text = encode(&network);
            assert_eq!(decode(&text), Some(network));
            for at in 0..text.len() {
                let mut bad = text.clone().into_bytes();
                bad[at] ^= 0x01;
                assert!(decode(&String::from_utf8_lossy(&bad)).is_none(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_made_whole_if_only_the_id_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        for network in [lab("größer"), home(), garden()] {
            let text = encode(&network);
            let id = text.find("id ").unwrap();
            let mut healed = 0;
            // Without its last line break it is whole.
            for cut in 0..text.len() - 1 {
                std::fs::write(&path, &text.as_bytes()[..cut]).unwrap();
                match load(&path) {
                    Ok(kept) => {
                        assert!(cut >= id, "cut at {cut}");
                        assert_eq!(kept.as_ref(), Some(&network));
                        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
                        healed += 1;
                    }
                    Err(error) => {
                        assert!(cut < id, "cut at {cut}");
                        assert!(matches!(error, StartError::NetworkDamaged { .. }), "{error}");
                    }
                }
            }
            assert_eq!(healed, text.len() - 1 - id);
        }
    }

    #[test]
    fn the_remembered_network_needs_not_be_named_and_cannot_be_changed() {
        for asked in [requested(None, None), requested(Some("a"), Some(Admission::Lab))] {
            let Choice::In(network) = choose(Some(lab("a")), asked).unwrap() else { panic!() };
            assert_eq!(network, lab("a"));
        }
        let ticket = ticket();
        let with_ticket = Requested { ticket: Some(&ticket), ..Requested::default() };
        for asked in
            [requested(Some("b"), None), requested(None, Some(Admission::Open)), with_ticket]
        {
            let error = choose(Some(lab("a")), asked).unwrap_err();
            assert!(matches!(error, StartError::OtherNetwork { .. }), "{error}");
            assert!(error.to_string().contains("`a`"), "{error}");
        }
        let Choice::In(network) = choose(Some(home()), with_ticket).unwrap() else { panic!() };
        assert_eq!(network, home());
        let foreign = NetworkInfo::invite("home".to_owned(), PublicKey::from_bytes([3; 32]));
        assert!(choose(Some(foreign), with_ticket).is_err(), "the same name is not enough");
    }

    #[test]
    fn a_new_network_is_invite_unless_something_else_is_asked_for() {
        let created = |asked| match choose(None, asked) {
            Ok(Choice::Create(name)) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(created(requested(Some("a"), None)), "a");
        assert_eq!(created(requested(Some("a"), Some(Admission::Invite))), "a");
        assert!(created(Requested::default()).contains('-'), "two words");
        let asked = requested(Some("a"), Some(Admission::Lab));
        assert!(matches!(choose(None, asked), Ok(Choice::In(network)) if network == lab("a")));
        let asked = requested(Some("a"), Some(Admission::Open));
        let usual = NetworkInfo::open("a".to_owned(), Difficulty::DEFAULT);
        assert!(matches!(choose(None, asked), Ok(Choice::In(network)) if network == usual));
        let asked = Requested { difficulty: garden().difficulty, ..asked };
        let Ok(Choice::In(network)) = choose(None, asked) else { panic!() };
        assert_eq!((network.difficulty, network.id == usual.id), (garden().difficulty, false));
        for other in [Some(Admission::Lab), Some(Admission::Invite), None] {
            let error = choose(None, Requested { admission: other, ..asked }).unwrap_err();
            assert!(matches!(error, StartError::DifficultyOfOpen), "{error}");
        }
        assert!(matches!(
            choose(None, requested(None, Some(Admission::Open))),
            Err(StartError::NoNetwork)
        ));
        let nameless = choose(None, requested(None, Some(Admission::Lab)));
        assert!(matches!(nameless, Err(StartError::NoNetwork)));
    }

    #[test]
    fn the_difficulty_of_an_open_network_cannot_be_changed() {
        let asked = |difficulty| Requested { difficulty, ..requested(Some("garden"), None) };
        for same in [None, garden().difficulty] {
            let Ok(Choice::In(network)) = choose(Some(garden()), asked(same)) else { panic!() };
            assert_eq!(network, garden());
        }
        let error = choose(Some(garden()), asked(Some(Difficulty::DEFAULT))).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StartError::OtherDifficulty { .. }), "{text}");
        assert!(
            text.contains("12,20") && text.contains(&Difficulty::DEFAULT.to_string()),
            "{text}"
        );
    }

    #[test]
    fn an_invite_network_is_entered_by_a_ticket_only() {
        let entry = Requested { has_entry_points: true, ..Requested::default() };
        assert!(matches!(choose(None, entry), Err(StartError::NoTicket)));
        let ticket = ticket();
        let asked = Requested { ticket: Some(&ticket), ..entry };
        assert!(matches!(choose(None, asked), Ok(Choice::Join(joined)) if joined == ticket));
        for wrong in [
            Requested { name: Some("other"), ..asked },
            Requested { admission: Some(Admission::Lab), ..asked },
        ] {
            assert!(matches!(choose(None, wrong), Err(StartError::OtherTicket { .. })));
        }
    }

    #[test]
    fn an_authority_that_is_expected_is_that_of_the_ticket_and_of_the_folder() {
        let (ours, theirs) = (home().authority, Some(PublicKey::from_bytes([3; 32])));
        let ticket = ticket();
        let with = |authority, ticket| Requested { authority, ticket, ..Requested::default() };
        assert!(matches!(choose(None, with(ours, Some(&ticket))), Ok(Choice::Join(_))));
        let wrong = choose(None, with(theirs, Some(&ticket))).unwrap_err();
        assert!(matches!(wrong, StartError::TicketAuthority { .. }), "{wrong}");
        assert!(wrong.to_string().contains(&ticket.authority.to_string()), "{wrong}");

        for ticket in [None, Some(&ticket)] {
            assert!(matches!(choose(Some(home()), with(ours, ticket)), Ok(Choice::In(_))));
            assert!(choose(Some(home()), with(theirs, ticket)).is_err());
        }
        let wrong = choose(Some(home()), with(theirs, None)).unwrap_err();
        assert!(matches!(wrong, StartError::OtherAuthority { .. }), "{wrong}");
        assert!(wrong.to_string().contains(&ticket.authority.to_string()), "{wrong}");
        let wrong = choose(Some(lab("a")), with(ours, None)).unwrap_err().to_string();
        assert!(wrong.contains("folder") && wrong.contains("no authority"), "{wrong}");

        // A new network has no authority yet, and a lab network has none.
        assert!(matches!(choose(None, with(ours, None)), Err(StartError::NoTicket)));
        let lab =
            Requested { admission: Some(Admission::Lab), name: Some("a"), ..with(ours, None) };
        assert!(matches!(choose(None, lab), Err(StartError::LabAuthority)));
    }

    #[test]
    fn a_name_fits_on_a_line() {
        for name in ["", " ", "a\nb", " a", &"x".repeat(65)] {
            let error = choose(None, requested(Some(name), Some(Admission::Lab))).unwrap_err();
            assert!(matches!(error, StartError::NetworkName), "{name:?}: {error}");
        }
        let longest = "x".repeat(64);
        assert!(choose(None, requested(Some(&longest), Some(Admission::Lab))).is_ok());
    }
}
