//! Files of signed bytes: the node's certificate, and the revocations it knows. One proof a line, in
//! hex. What is damaged is left out: nothing of it is believed without its signature.

use std::io;
use std::path::Path;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::file::{self, Readers};

const HEAD: &str = "potluck proofs 1";
/// Room for as many revocations as a node keeps, with their lines.
const BYTES_MAX: u64 = 8 << 20;

/// The proofs in the file at `path`; none if it cannot be read.
pub(super) fn load(path: &Path) -> Vec<Bytes> {
    let text = match file::read(path, BYTES_MAX) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(code = "folder.proofs", path = %path.display(), %error, "cannot read");
            String::new()
        }
    };
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Vec::new();
    }
    lines.filter_map(|line| HEXLOWER.decode(line.as_bytes()).ok().map(Bytes::from)).collect()
}

/// Writes them to `path` in place of what is there.
pub(super) fn save(path: &Path, proofs: &[Bytes]) -> io::Result<()> {
    let mut text = format!("{HEAD}\n");
    for proof in proofs {
        text.push_str(&HEXLOWER.encode(proof));
        text.push('\n');
    }
    file::replace(path, text.as_bytes(), Readers::Usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_survive_their_file_and_damage_costs_its_line_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proofs");
        assert_eq!(load(&path), Vec::<Bytes>::new());
        let proofs = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        save(&path, &proofs).unwrap();
        assert_eq!(load(&path), proofs);
        std::fs::write(&path, format!("{HEAD}\nxyz\n{}\n", HEXLOWER.encode(b"two"))).unwrap();
        assert_eq!(load(&path), proofs[1..]);
    }
}
