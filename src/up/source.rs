//! The sources of the settings of a running node, to read them again.

use std::path::{Path, PathBuf};

use super::{settings, ticket, token};
use crate::cli::UpArgs;
use crate::config::Settings;
use crate::failure::Failure;
use crate::http::Fresh;

/// Flags, environment and file. Tickets are not kept.
#[derive(Debug, Clone)]
pub(super) struct Source {
    args: UpArgs,
    token_file: Option<PathBuf>,
}

impl Source {
    pub(super) fn new(args: &UpArgs, token_file: Option<&Path>) -> Self {
        let mut args = args.clone();
        args.entry.retain(|word| !ticket::is_ticket(word));
        Self { args, token_file: token_file.map(Path::to_owned) }
    }

    /// The present settings, and the token for the `running` settings: its file may contain another secret by
    /// now.
    ///
    /// # Errors
    /// As at the start: the error and its place.
    pub(super) fn read(&self, running: &Settings, data_dir: &Path) -> Result<Fresh, Failure> {
        let settings = settings(&self.args, self.token_file.as_deref())?;
        // A token that a restart would refuse is refused now.
        token::given(&settings)?;
        let token = token::of(token::given(running)?, data_dir)?;
        Ok(Fresh { settings, token: token.map(|token| token.text) })
    }
}
