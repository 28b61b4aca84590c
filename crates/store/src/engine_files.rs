//! Checks of the engine's files that the engine does not do itself, and their size.
//!
//! The engine trusts its manifests. With a damaged manifest it would take tables for leftovers and delete
//! them, or abort the process; without a manifest it would take the whole keyspace for unfinished and delete
//! it. The engine stores a checksum of each manifest, so this module compares it before the engine opens a
//! file. The engine also allocates memory for the number of sections that a table claims, before it checks
//! the claim.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

/// The version marker of the engine. Without it the engine would create a new database.
const MARKER: &str = "version";
/// The folder of the keyspaces: one folder each, with a number as its name.
const KEYSPACES: &str = "keyspaces";
/// The file with the number and the checksum of a keyspace's valid manifest.
const CURRENT: &str = "current";

/// The folder of a keyspace's tables.
const TABLES: &str = "tables";
/// The start of a table's trailer. Two bytes, a checksum (16), and the position and length of the table of
/// contents follow it.
const TRAILER_MAGIC: &[u8] = b"SFA!";
const TRAILER_BYTES: usize = 38;
/// The start of a table of contents, before its length (u32).
const CONTENTS_MAGIC: &[u8] = b"TOC!";
/// A bound for the sections of a table; real tables have far fewer.
const SECTIONS_MAX: u32 = 1_000;

/// Checks what the engine does not check. Returns a message about the first fault.
pub(crate) fn check(path: &Path) -> io::Result<Result<(), String>> {
    if !path.join(MARKER).is_file() {
        return Ok(Err("the engine's version file is missing".to_owned()));
    }
    let keyspaces = match std::fs::read_dir(path.join(KEYSPACES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("the engine's keyspaces are missing".to_owned()));
        }
        keyspaces => keyspaces?,
    };
    for keyspace in keyspaces {
        let folder = keyspace?.path();
        let name = folder.file_name().and_then(|name| name.to_str());
        if name.is_none_or(|name| name.parse::<u64>().is_err()) {
            return Ok(Err(format!("{} is not the engine's", folder.display())));
        }
        if !manifest_is_sound(&folder)? {
            return Ok(Err(format!("the manifest in {} is not as written", folder.display())));
        }
        for table in std::fs::read_dir(folder.join(TABLES)).into_iter().flatten() {
            let table = table?.path();
            if !contents_are_sane(&table)? {
                return Ok(Err(format!("table {} is not as written", table.display())));
            }
        }
    }
    Ok(Ok(()))
}

/// Whether a keyspace's manifest exists and has the checksum that is stored beside its number.
fn manifest_is_sound(keyspace: &Path) -> io::Result<bool> {
    let Some(current) = read(&keyspace.join(CURRENT))? else { return Ok(false) };
    let Some((number, rest)) = current.split_first_chunk::<8>() else { return Ok(false) };
    let Some((checksum, _kind)) = rest.split_first_chunk::<16>() else { return Ok(false) };
    let manifest = keyspace.join(format!("v{}", u64::from_le_bytes(*number)));
    let Some(manifest) = read(&manifest)? else { return Ok(false) };
    Ok(xxh3_128(&manifest) == u128::from_le_bytes(*checksum))
}

/// Whether the length of a table's contents is possible. A table that is damaged otherwise, or unfinished,
/// passes: the engine detects that itself.
fn contents_are_sane(table: &Path) -> io::Result<bool> {
    let mut file = File::open(table)?;
    if file.metadata()?.len() < TRAILER_BYTES as u64 {
        return Ok(true);
    }
    let mut trailer = [0; TRAILER_BYTES];
    file.seek(SeekFrom::End(-(TRAILER_BYTES as i64)))?;
    file.read_exact(&mut trailer)?;
    let Some(start) = trailer[22..].first_chunk::<8>() else { return Ok(true) };
    if !trailer.starts_with(TRAILER_MAGIC) {
        return Ok(true);
    }
    let mut contents = Vec::new();
    if file.seek(SeekFrom::Start(u64::from_le_bytes(*start))).is_err() {
        return Ok(true);
    }
    file.take(8).read_to_end(&mut contents)?;
    let count = contents.strip_prefix(CONTENTS_MAGIC).and_then(|rest| rest.first_chunk::<4>());
    Ok(count.is_none_or(|count| u32::from_le_bytes(*count) <= SECTIONS_MAX))
}

/// The bytes of a file, if it exists.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some),
    }
}

/// Bytes of disk that all files under `path` take. Journals are preallocated, so the allocated blocks are
/// counted on systems that report them.
pub(crate) fn bytes(path: &Path) -> u64 {
    let mut folders: Vec<PathBuf> = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        // Files are created and removed while the engine works.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += file_bytes(&metadata);
            }
        }
    }
    bytes
}

#[cfg(unix)]
fn file_bytes(metadata: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn file_bytes(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}

/// Makes renames inside `folder` durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes renames inside `folder` durable. This system does so by itself.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
