//! Why a data folder could not be opened.

use std::path::PathBuf;

/// Why a store did not open. Nothing in the folder changed that matters.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it.
    #[error("data folder {} is in use by another node", folder.display())]
    Locked {
        /// The data folder.
        folder: PathBuf,
    },
    /// It was made for another network.
    #[error("data folder {} belongs to another network; use one folder per network", folder.display())]
    OtherNetwork {
        /// The data folder.
        folder: PathBuf,
    },
    /// An older version of the program wrote it.
    #[error(
        "the records are in format {found}, this version knows {known} only; start anew with another \
         data folder"
    )]
    OlderFormat {
        /// The format found.
        found: u32,
        /// The format known here.
        known: u32,
    },
    /// A newer version of the program wrote it.
    #[error("the records are in format {found}, this version knows up to {known}; use a newer one")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Its files are not as they were written.
    #[error(
        "the records in {} are damaged ({detail}); move the folder away and start anew, \
         the other nodes have copies",
        folder.display()
    )]
    Damaged {
        /// The folder with the damaged files.
        folder: PathBuf,
        /// What the engine says, in short.
        detail: String,
    },
    /// The index of what is shared is not as it was written.
    #[error(
        "the index of shared files in {} is damaged ({detail}); stop the node, move the folder above \
         it away and share the files again",
        folder.display()
    )]
    IndexDamaged {
        /// The folder with the damaged files.
        folder: PathBuf,
        /// What the engine says, in short.
        detail: String,
    },
    /// The operating system refused.
    #[error("cannot use data folder {}: {source}", folder.display())]
    Io {
        /// The data folder.
        folder: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}
