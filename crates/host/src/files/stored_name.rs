//! Names of blobs in the store. A name also says what the blob is: a file, the manifest of a folder, or
//! the data of a folder.

use potluck_store::blobs::BlobView;
use potluck_swarm::LinkKind;
use potluck_swarm::path::clean_name;
use potluck_wire::Hint;
use potluck_wire::limits::HINT_NAME_BYTES_MAX;

/// The stored name of the data of every folder.
pub(super) const DATA_NAME: &str = "";
/// The last character of the stored name of a manifest. No file name has it.
const FOLDER_MARK: char = '/';
/// The default name of content without a name.
pub(super) const UNNAMED: &str = "unnamed";

/// Whether a blob of this name is the data of a folder.
pub(super) fn is_data_of_folder(name: &str) -> bool {
    name == DATA_NAME
}

/// Whether a blob of this name is a manifest.
pub(super) fn is_manifest(name: &str) -> bool {
    name.ends_with(FOLDER_MARK)
}

/// The kind of link to a blob of this name.
pub(super) fn kind_of(name: &str) -> LinkKind {
    if is_manifest(name) { LinkKind::Folder } else { LinkKind::File }
}

/// The name that people see.
pub(super) fn plain_name(name: &str) -> &str {
    name.trim_end_matches(FOLDER_MARK)
}

/// The stored name of a file, or of the manifest of a folder.
pub(super) fn stored_name(kind: LinkKind, name: &str) -> String {
    let plain = clean_name(name).unwrap_or_else(|| UNNAMED.to_owned());
    match kind {
        LinkKind::File => plain,
        LinkKind::Folder => format!("{plain}{FOLDER_MARK}"),
    }
}

/// The hint that this node gives others of a file or of the manifest of a folder.
pub(super) fn hint_of(view: &BlobView) -> Hint {
    let plain = plain_name(&view.name);
    let named = plain != UNNAMED && plain.len() <= HINT_NAME_BYTES_MAX;
    let (mtime, mode) = (view.mtime, view.mode);
    Hint { name: named.then(|| plain.to_owned()), mtime, mode }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_store_tell_what_a_blob_is() {
        let folder = stored_name(LinkKind::Folder, "my/weights");
        assert!(is_manifest(&folder) && !is_data_of_folder(&folder));
        assert_eq!(plain_name(&folder), "my_weights");
        let file = stored_name(LinkKind::File, "/");
        assert!(!is_manifest(&file) && !is_data_of_folder(&file));
        assert!(is_data_of_folder(DATA_NAME) && !is_manifest(DATA_NAME));
    }
}
