//! `[files]`.

use std::path::PathBuf;

use super::{Input, Key, Wrong, count, list, number, size, unset, unset_list};

/// Lowest rate that can be set: below it, fetches would time out before data arrives.
const RATE_MIN: u64 = 16 * 1024;
/// Most concurrent requests that a transport serves.
const SLOTS_MAX: u64 = 64;

pub(super) const FILES: &[Key] = &[
    key!(
        "files",
        "paths",
        "Folders within which callers of the API may name files; not set: home and data_dir (of which only files/ may be named).",
        |s, i| {
            let paths: Vec<PathBuf> = i.list()?.into_iter().map(PathBuf::from).collect();
            if paths.iter().any(|path| !path.is_absolute()) {
                return Err("must be absolute paths".into());
            }
            s.files.paths = Some(paths);
            Ok(())
        },
        |s| {
            let paths = s.file_paths().into_iter().map(|path| path.display().to_string());
            if s.files.paths.is_some() { list(paths) } else { unset_list(paths) }
        },
    ),
    key!(
        "files",
        "cache_bytes",
        "Most bytes of fetched files in the data folder that are neither pinned nor shared.",
        |s, i| i.bytes().map(|it| s.files.cache_bytes = it),
        |s| number(s.files.cache_bytes),
    ),
    key!(
        "files",
        "upload_rate",
        "Most bytes a second to send to others, over all files; not set: no limit.",
        |s, i| rate(i).map(|it| s.files.upload_rate = Some(it)),
        |s| s.files.upload_rate.map_or_else(|| unset("10MiB"), number),
    ),
    key!(
        "files",
        "download_rate",
        "Most bytes a second to fetch from others, over all files; not set: no limit.",
        |s, i| rate(i).map(|it| s.files.download_rate = Some(it)),
        |s| s.files.download_rate.map_or_else(|| unset("10MiB"), number),
    ),
    key!(
        "files",
        "upload_slots",
        "Streams of files sent to others at once; further ones wait for their turn.",
        |s, i| size(i, 1, SLOTS_MAX).map(|it| s.protocol.swarm.serves_max = it),
        |s| count(s.protocol.swarm.serves_max),
    ),
];

fn rate(input: &Input<'_>) -> Result<u64, Wrong> {
    let rate = input.bytes()?;
    if rate < RATE_MIN { Err("must be at least 16KiB".into()) } else { Ok(rate) }
}
