//! The file of contacts that a restarted node tries first. Losing it loses nothing but speed.

use std::io;
use std::path::Path;

use potluck_base::Contact;

use super::file::{self, Readers};

const HEAD: &str = "potluck peers 1";
/// Most contacts taken from the file.
const CONTACTS_MAX: usize = 256;
const BYTES_MAX: u64 = CONTACTS_MAX as u64 * 160;

/// The contacts saved at `path`. What is damaged is left out with a warning.
pub(super) fn load(path: &Path) -> Vec<Contact> {
    let text = match file::read(path, BYTES_MAX) {
        Ok(None) => return Vec::new(),
        Ok(Some(text)) => text,
        Err(error) => {
            let path = path.display();
            tracing::warn!(code = "folder.peers", %path, %error, "cannot read the peers of the last run, going on without");
            return Vec::new();
        }
    };
    let (contacts, damaged) = decode(&text);
    if damaged > 0 {
        let path = path.display();
        tracing::warn!(code = "folder.peersDamaged", %path, lines = damaged, "left out damaged lines of the peers of the last run");
    }
    contacts
}

/// Saves `contacts` to `path`.
pub(super) fn save(path: &Path, contacts: &[Contact]) -> io::Result<()> {
    file::replace(path, encode(contacts).as_bytes(), Readers::Usual)
}

pub(super) fn encode(contacts: &[Contact]) -> String {
    let mut text = format!("{HEAD}\n");
    for contact in contacts.iter().take(CONTACTS_MAX) {
        text.push_str(&contact.to_string());
        text.push('\n');
    }
    text
}

/// The contacts in `text` and the number of lines that are none.
pub(super) fn decode(text: &str) -> (Vec<Contact>, usize) {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return (Vec::new(), 1);
    }
    let mut contacts = Vec::new();
    let mut damaged = 0;
    for line in lines.take(CONTACTS_MAX) {
        match line.parse() {
            Ok(contact) => contacts.push(contact),
            Err(_) => damaged += 1,
        }
    }
    (contacts, damaged)
}

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;

    fn contact(seed: u8) -> Contact {
        Contact::new(
            Identity::from_seed([seed; 32]).public_key(),
            format!("10.0.0.{seed}:7").parse().unwrap(),
        )
    }

    #[test]
    fn contacts_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        assert_eq!(load(&path), []);
        let contacts: Vec<_> = (1..4).map(contact).collect();
        save(&path, &contacts).unwrap();
        assert_eq!(load(&path), contacts);
        save(&path, &contacts[..1]).unwrap();
        assert_eq!(load(&path), contacts[..1]);
        let many = vec![contact(1); CONTACTS_MAX + 9];
        save(&path, &many).unwrap();
        assert_eq!(load(&path).len(), CONTACTS_MAX);
    }

    #[test]
    fn a_damaged_file_costs_what_is_damaged_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let (one, two) = (contact(1), contact(2));
        assert_eq!(decode(&format!("{HEAD}\n{one}\ngarbage\n{two}\n")), (vec![one, two], 1));
        assert_eq!(decode("").0, []);
        for bad in [&b"\xff\xfe\0"[..], b"something else\n", &[b'x'; 100_000]] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(load(&path), []);
        }
        // What a crash while saving left behind does not matter either.
        std::fs::write(path.with_extension("new"), "half").unwrap();
        save(&path, &[one]).unwrap();
        assert_eq!(load(&path), [one]);
    }
}
