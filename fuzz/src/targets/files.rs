//! Files: manifests, links, names and paths, and granules on their way to the disk.

use potluck_base::{BlobId, GranuleSet};
use potluck_swarm::path;
use potluck_swarm::{FileLink, LinkKind, Manifest};

use crate::outcome::Seen;

/// What lists the files of a folder.
pub(super) fn manifest(bytes: &[u8], seen: &mut Seen) {
    let read = seen.measured(|| Manifest::from_bytes(bytes));
    seen.result("manifest", &read);
    if let Ok(manifest) = read {
        for file in manifest.files() {
            assert!(path::check(&file.path).is_ok(), "{:?}", file.path);
        }
        let again = manifest.to_bytes();
        assert_eq!(Manifest::from_bytes(&again).as_ref(), Ok(&manifest));
        assert_eq!(Manifest::from_bytes(&again).expect("checked").to_bytes(), again);
    }
}

/// Links to files.
pub(super) fn link(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    let link = seen.measured(|| text.parse::<FileLink>());
    seen.result("link", &link);
    if let Ok(link) = link {
        let again = link.to_string();
        assert_eq!(again.parse::<FileLink>().as_ref(), Ok(&link));
        assert!(again.is_ascii() && !again.contains(char::is_whitespace), "{again:?}");
    }
    // Any name must come through a link.
    let named = FileLink::new(LinkKind::File, BlobId::from_bytes([7; 32]), &text);
    assert_eq!(named.to_string().parse::<FileLink>().as_ref(), Ok(&named), "{text:?}");
}

/// Names of files that others gave, and paths in folders.
pub(super) fn name(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    let clean = seen.measured(|| path::clean_name(&text));
    seen.note("clean", &clean);
    if let Some(clean) = clean {
        seen.accept("clean", &clean);
        assert!(!clean.contains(['/', '\\']) && !clean.contains(char::is_control), "{clean:?}");
        assert!(!clean.is_empty() && clean != "." && clean != ".." && clean.len() <= 255);
        assert_eq!(path::clean_name(&clean).as_deref(), Some(clean.as_str()));
        // Names of devices are files on some systems, and are refused in folders on all.
        let checked = path::check(&clean);
        assert!(matches!(checked, Ok(()) | Err(path::PathError::Device)), "{clean:?}: {checked:?}");
    }
    let checked = path::check(&text);
    seen.result("path", &checked);
    if checked.is_ok() {
        let inside = std::path::Path::new(text.as_ref());
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        assert!(inside.components().all(plain), "{text:?}");
    }
    let bytes_max = 8 + usize::from(bytes.first().copied().unwrap_or(0));
    let short = path::shortened(&text, bytes_max, "~1");
    assert!(short.len() <= bytes_max, "{short:?}");
    let lines: Vec<&str> = text.lines().take(50).collect();
    seen.note("distinct", &path::check_distinct(lines.iter().copied()));
    seen.count("folders", path::folders(lines) as u64);
}

/// Sets of granules as holders send them.
pub(super) fn granules(bytes: &[u8], seen: &mut Seen) {
    let Some((length, rest)) = bytes.split_at_checked(4) else { return };
    let length = u32::from_be_bytes(length.try_into().expect("four bytes")) % 200_000;
    let set = seen.measured(|| GranuleSet::from_bytes(length, rest));
    if let Some(set) = set {
        seen.accept("granules", &set);
        seen.count("granules", u64::from(set.count()));
        assert_eq!(GranuleSet::from_bytes(length, &set.to_bytes()).as_ref(), Some(&set));
    }
}

/// Samples for [`granules`].
pub(super) fn granule_samples() -> Vec<Vec<u8>> {
    [(3_u32, 1_u32), (70, 9), (5000, 400)]
        .iter()
        .map(|(length, step)| {
            let mut set = GranuleSet::empty(*length);
            (0..*length).step_by(*step as usize).for_each(|granule| {
                set.insert(granule);
            });
            [&length.to_be_bytes()[..], &set.to_bytes()].concat()
        })
        .collect()
}

/// Samples for [`name`].
pub(super) fn name_samples() -> Vec<Vec<u8>> {
    ["report.pdf", "a/b/c.txt", "../../etc/passwd", "CON", "très long nom.tar.gz", ".hidden"]
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect()
}
