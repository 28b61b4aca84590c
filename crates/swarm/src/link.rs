//! Links: what one hands to somebody who is to fetch.
//!
//! `potluck:` and 52 base32 characters, then perhaps `/` and a name. 52 characters carry 260 bits:
//! the 256 of the blob's name, and 4 that say what the blob is.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use potluck_base::BlobId;

/// What every link begins with.
pub const SCHEME: &str = "potluck:";
/// Longest link, in characters.
pub const LINK_CHARS_MAX: usize = 160;
/// Characters of the blob's name and the kind.
const ID_CHARS: usize = 52;
/// Longest name in a link.
pub const NAME_CHARS_MAX: usize = LINK_CHARS_MAX - SCHEME.len() - ID_CHARS - 1;

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// The blob is the file.
    File,
    /// The blob is the manifest of a folder.
    Folder,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileLink {
    /// What it leads to.
    pub kind: LinkKind,
    /// The blob's name.
    pub id: BlobId,
    name: Option<String>,
}

/// Why a text is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It does not begin as one.
    #[error("a link begins with `{SCHEME}`")]
    Scheme,
    /// Too long.
    #[error("a link has at most {LINK_CHARS_MAX} characters")]
    TooLong,
    /// The part that names the content is not what `share` prints.
    #[error("the link is damaged or cut off: {ID_CHARS} letters and digits follow `{SCHEME}`")]
    Id,
    /// A kind of a later version.
    #[error("this link is of a kind that this version does not know")]
    Kind,
    /// The name has other characters than links have.
    #[error("the name in a link has only letters, digits and `._~-`")]
    Name,
}

/// The base32 of RFC 4648, in small letters.
const SYMBOLS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl FileLink {
    /// A link to `id`. Characters that links do not have become `_` in the name; no name is left
    /// of one without any letter or digit.
    #[must_use]
    pub fn new(kind: LinkKind, id: BlobId, name: &str) -> Self {
        let name: String = name
            .chars()
            .map(|c| if is_link_char(c) { c } else { '_' })
            .take(NAME_CHARS_MAX)
            .collect();
        let useful = name.chars().any(|c| c.is_ascii_alphanumeric());
        Self { kind, id, name: useful.then_some(name) }
    }

    /// The name, if it has one: a single path component, never `.` or `..`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What to call the content where a name is needed.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string()[..16].to_owned())
    }
}

impl AsRef<Self> for FileLink {
    fn as_ref(&self) -> &Self {
        self
    }
}

fn is_link_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._~-".contains(c)
}

impl fmt::Display for FileLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = BASE32_NOPAD.encode(self.id.as_bytes()).to_ascii_lowercase();
        // The last symbol has one bit of the hash and four that are free.
        let last = text.pop().and_then(|c| SYMBOLS.iter().position(|symbol| *symbol == c as u8));
        let kind = match self.kind {
            LinkKind::File => 0,
            LinkKind::Folder => 1,
        };
        text.push(char::from(SYMBOLS[last.unwrap_or(0) | kind]));
        write!(f, "{SCHEME}{text}")?;
        self.name.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl FromStr for FileLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let rest = text.strip_prefix(SCHEME).ok_or(LinkError::Scheme)?;
        if text.len() > LINK_CHARS_MAX {
            return Err(LinkError::TooLong);
        }
        let (id, name) = match rest.split_once('/') {
            Some((id, name)) => (id, Some(name)),
            None => (rest, None),
        };
        if id.len() != ID_CHARS || !id.is_ascii() {
            return Err(LinkError::Id);
        }
        let (head, last) = id.split_at(ID_CHARS - 1);
        let last = SYMBOLS
            .iter()
            .position(|symbol| last.as_bytes().eq_ignore_ascii_case(&[*symbol]))
            .ok_or(LinkError::Id)?;
        let kind = match last & 0xf {
            0 => LinkKind::File,
            1 => LinkKind::Folder,
            _ => return Err(LinkError::Kind),
        };
        let plain = format!("{head}{}", char::from(SYMBOLS[last & 0x10])).to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(plain.as_bytes()).map_err(|_| LinkError::Id)?;
        let id = BlobId::from_bytes(bytes.try_into().map_err(|_| LinkError::Id)?);
        match name {
            None | Some("") => Ok(Self { kind, id, name: None }),
            Some(name) if name.chars().all(is_link_char) && !matches!(name, "." | "..") => {
                Ok(Self { kind, id, name: Some(name.to_owned()) })
            }
            Some(_) => Err(LinkError::Name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_link_survives_its_text(
            id in any::<[u8; 32]>(),
            folder in any::<bool>(),
            name in "\\PC{0,200}",
        ) {
            let kind = if folder { LinkKind::Folder } else { LinkKind::File };
            let link = FileLink::new(kind, BlobId::from_bytes(id), &name);
            let text = link.to_string();
            prop_assert!(text.len() <= LINK_CHARS_MAX);
            prop_assert!(text.chars().all(|c| is_link_char(c) || c == ':' || c == '/'));
            prop_assert_eq!(text.parse(), Ok(link.clone()));
            let loud = text.replacen(&text[8..60], &text[8..60].to_ascii_uppercase(), 1);
            prop_assert_eq!(loud.parse(), Ok(link));
        }

        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,200}") {
            let _ = text.parse::<FileLink>();
            let _ = format!("potluck:{text}").parse::<FileLink>();
        }
    }

    #[test]
    fn each_wrong_part_is_named() {
        let link = FileLink::new(LinkKind::File, BlobId::of(b"x"), "weights").to_string();
        assert_eq!("http://x".parse::<FileLink>(), Err(LinkError::Scheme));
        assert_eq!(link[..50].parse::<FileLink>(), Err(LinkError::Id));
        assert_eq!(format!("{link}/more").parse::<FileLink>(), Err(LinkError::Name));
        assert_eq!(format!("{}/..", &link[..60]).parse::<FileLink>(), Err(LinkError::Name));
        assert_eq!(link.repeat(3).parse::<FileLink>(), Err(LinkError::TooLong));
        let later = format!("{}e", &link[..59]);
        assert_eq!(later.parse::<FileLink>(), Err(LinkError::Kind));
    }

    #[test]
    fn names_without_a_letter_are_no_names() {
        for name in ["", "..", "...", "/", "_"] {
            assert_eq!(FileLink::new(LinkKind::File, BlobId::of(b"x"), name).name(), None);
        }
        let link = FileLink::new(LinkKind::File, BlobId::of(b"x"), "my model.bin");
        assert_eq!(link.name(), Some("my_model.bin"));
    }
}
