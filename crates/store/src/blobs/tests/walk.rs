//! Lists of the files below a folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

#[test]
fn files_are_found_in_the_order_of_their_paths_and_others_are_named() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path();
    for (path, content) in
        [("b", "1"), ("a/z", "22"), ("a.txt", "333"), ("a/b/c", ""), ("Z", "4"), ("é", "5")]
    {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), content).unwrap();
    }
    std::fs::create_dir(root.join("empty")).unwrap();
    std::fs::set_permissions(root.join("b"), std::fs::Permissions::from_mode(0o744)).unwrap();
    symlink(root.join("b"), root.join("a/link")).unwrap();
    symlink(root, root.join("loop")).unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"bad\xff")), "").unwrap();
    std::fs::write(root.join("back\\slash"), "").unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    let found = walk(root, WalkLimits::default()).unwrap();
    let files: Vec<_> =
        found.files.iter().map(|file| (file.relative.as_str(), file.bytes)).collect();
    assert_eq!(files, [("Z", 1), ("a.txt", 3), ("a/b/c", 0), ("a/z", 2), ("b", 1), ("é", 1)]);
    let runnable = found.files.iter().filter(|file| file.executable);
    assert_eq!(runnable.map(|file| file.path.clone()).collect::<Vec<_>>(), [root.join("b")]);
    let skipped = [
        ("a/link".to_owned(), SkipReason::Link),
        ("back\\slash".to_owned(), SkipReason::Name),
        ("bad\u{fffd}".to_owned(), SkipReason::Name),
        ("loop".to_owned(), SkipReason::Link),
        ("socket".to_owned(), SkipReason::Special),
    ];
    assert_eq!(found.skipped, skipped);
}

#[test]
fn a_walk_is_bounded() {
    let here = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(here.path().join(name), "").unwrap();
    }
    std::fs::create_dir_all(here.path().join("d/e/f")).unwrap();
    std::fs::write(here.path().join("d/e/f/g"), "").unwrap();
    let limits = |files_max, depth_max| WalkLimits { files_max, depth_max };
    assert!(matches!(walk(here.path(), limits(3, 9)), Err(BlobError::TooManyFiles { max: 3 })));
    let found = walk(here.path(), limits(4, 2)).unwrap();
    assert_eq!(found.files.len(), 3);
    assert_eq!(found.skipped, [("d/e/f".to_owned(), SkipReason::Depth)]);
    assert!(matches!(walk(&here.path().join("none"), limits(4, 2)), Err(BlobError::Io { .. })));
}
