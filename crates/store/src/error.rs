//! Errors of opening a data folder.

use std::path::PathBuf;

/// Why a store could not be opened. No record in the folder changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this process, uses the folder.
    #[error("data folder {} is in use by another node", folder.display())]
    Locked {
        /// The data folder.
        folder: PathBuf,
    },
    /// The folder was created for another network.
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
    /// The engine's files are damaged.
    #[error(
        "the records in {} are damaged ({detail}); move the folder away and start anew, \
         the other nodes have copies",
        folder.display()
    )]
    Damaged {
        /// The folder with the damaged files.
        folder: PathBuf,
        /// The engine's error, in short.
        detail: String,
    },
    /// The index of shared files is damaged.
    #[error(
        "the index of shared files in {} is damaged ({detail}); stop the node, move the folder above \
         it away and share the files again",
        folder.display()
    )]
    IndexDamaged {
        /// The folder with the damaged files.
        folder: PathBuf,
        /// The engine's error, in short.
        detail: String,
    },
    /// The operating system returned an error.
    #[error("cannot use data folder {}: {source}", folder.display())]
    Io {
        /// The data folder.
        folder: PathBuf,
        /// The error.
        source: std::io::Error,
    },
}
