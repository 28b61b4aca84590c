//! The token of a node's HTTP API: the node's own, one from a file, or none.
//!
//! **Invariant:** a token from a file that other users can read is never used.

use std::io;
use std::path::{Path, PathBuf};

use crate::client::read_token;
use crate::config::{Settings, TokenRule};
use crate::failure::{Exit, Failure};
use crate::nodes::{is_private, write_secret};
use crate::place;

/// A node's token, and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) file: PathBuf,
}

/// The token before the node has its data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// There is no token.
    None,
    /// The token of a file that the configuration names.
    Named(Token),
    /// The node's own token.
    Own,
}

/// The token that the configuration gives.
///
/// # Errors
/// There is no token in the file, or other users can read the file.
pub(super) fn given(settings: &Settings) -> Result<Given, Failure> {
    match (&settings.http.token_file, settings.http.token) {
        (Some(file), _) => {
            let file = std::path::absolute(file).map_err(Failure::failed)?;
            Ok(Given::Named(read(&file)?))
        }
        (None, TokenRule::None) => Ok(Given::None),
        (None, TokenRule::Own) => {
            let own = place::token_file(&settings.node.data_dir);
            if own.exists() {
                // Reported before anything is started.
                read(&own)?;
            }
            Ok(Given::Own)
        }
    }
}

/// The token of the node with this data folder; its own token is made if there is none yet.
///
/// # Errors
/// It cannot be read or made.
pub(super) fn of(given: Given, data_dir: &Path) -> Result<Option<Token>, Failure> {
    match given {
        Given::None => Ok(None),
        Given::Named(token) => Ok(Some(token)),
        Given::Own => {
            let file = place::token_file(data_dir);
            if !file.exists() {
                make(&file).map_err(|error| {
                    let message = format!("cannot write token file {}: {error}", file.display());
                    Failure::failed(message).hint("make room, or set [http] token = \"none\"")
                })?;
            }
            read(&file).map(Some)
        }
    }
}

fn read(file: &Path) -> Result<Token, Failure> {
    let text = read_token(file)?;
    if !is_private(file) {
        let message = format!("token file {} can be read or written by others", file.display());
        return Err(Failure::new(Exit::Refused, "tokenExposed", message)
            .hint(format!("run chmod 600 {}", file.display())));
    }
    Ok(Token { text, file: file.to_owned() })
}

fn make(file: &Path) -> io::Result<()> {
    let secret = potluck_host::random_secret().map_err(io::Error::other)?;
    write_secret(file, format!("{}\n", data_encoding::HEXLOWER.encode(&secret)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(data_dir: &Path) -> Settings {
        let mut settings = Settings::default();
        settings.node.data_dir = data_dir.to_owned();
        settings
    }

    #[test]
    fn a_node_makes_its_token_once_and_does_without_only_if_told_so() {
        let folder = tempfile::tempdir().expect("folder");
        let mut settings = settings(folder.path());
        let made = of(given(&settings).expect("good"), folder.path()).expect("made").expect("one");
        assert_eq!((made.text.len(), made.file.clone()), (64, folder.path().join("token")));
        assert!(is_private(&made.file));
        let again = of(given(&settings).expect("good"), folder.path()).expect("read");
        assert_eq!(again, Some(made));
        settings.http.token = TokenRule::None;
        assert_eq!(of(given(&settings).expect("good"), folder.path()).expect("good"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_can_read_is_refused_wherever_it_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let mut settings = settings(folder.path());
        let file = folder.path().join("token");
        std::fs::write(&file, "secret").expect("written");
        for named in [false, true] {
            settings.http.token_file = named.then(|| file.clone());
            for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))
                    .expect("set");
                let refused = given(&settings).expect_err("exposed");
                assert_eq!((refused.exit, refused.code.as_str()), (Exit::Refused, "tokenExposed"));
                assert!(refused.to_string().contains("chmod 600"), "{refused}");
            }
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).expect("set");
            let token = of(given(&settings).expect("private"), folder.path()).expect("good");
            assert_eq!(token.expect("one").text, "secret");
        }
    }
}
