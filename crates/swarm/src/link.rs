//! Links: the text that identifies shared content to a node that fetches it.
//!
//! A link is `potluck:` and 52 base32 characters, optionally followed by `/` and a name. The 52 characters
//! carry 260 bits: the 256 of the blob's name, and 4 for the kind of the blob.
//!
//! A link has only letters, digits and `._~-`; the name of a file may have any characters. In the name of a
//! link `~` begins and ends a run of other characters, written as the base64 (RFC 4648, section 5) of their
//! UTF-8. A name that is too long for a link is given by its beginning and its end, with `~~` for the omitted
//! part. A node that has the file sends the whole name, which is used only if it has this beginning and end.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use potluck_base::BlobId;

use crate::path::clean_name;

/// The prefix of every link.
pub const SCHEME: &str = "potluck:";
/// Longest link, in characters.
pub const LINK_CHARS_MAX: usize = 160;
/// Characters of the blob's name and the kind.
const ID_CHARS: usize = 52;
/// Longest name in a link.
pub const NAME_CHARS_MAX: usize = LINK_CHARS_MAX - SCHEME.len() - ID_CHARS - 1;

/// The kind of the content.
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
    /// The kind of the content.
    pub kind: LinkKind,
    /// The blob's name.
    pub id: BlobId,
    name: Option<LinkName>,
}

/// The name in a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum LinkName {
    /// The whole name.
    Whole(String),
    /// The beginning and the end of the name.
    Cut(String, String),
}

/// Why a text is not a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It does not begin with the prefix.
    #[error("a link begins with `{SCHEME}`")]
    Scheme,
    /// Too long.
    #[error("a link has at most {LINK_CHARS_MAX} characters")]
    TooLong,
    /// The part with the id is not in the form that `share` prints.
    #[error("the link is damaged or cut off: {ID_CHARS} letters and digits follow `{SCHEME}`")]
    Id,
    /// The kind is of a later version.
    #[error("this link is of a kind that this version does not know")]
    Kind,
    /// The name has characters that are not allowed in links, or is not a valid name.
    #[error("the name in a link has only letters, digits and `._~-`, and is no path")]
    Name,
}

/// Marks the omitted part of a name.
const CUT: &str = "~~";
/// Begins and ends a run of characters that are not allowed in links.
const RUN: char = '~';
/// Longest ending of a name, with its dot, that is kept when the name is cut.
const ENDING_CHARS_MAX: usize = 24;

/// The alphabet of base32 (RFC 4648), in lower case.
const SYMBOLS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl FileLink {
    /// A link to `id`. If cleaning ([`clean_name`]) leaves nothing of the name, it is omitted; a name that is
    /// too long is cut.
    #[must_use]
    pub fn new(kind: LinkKind, id: BlobId, name: &str) -> Self {
        Self { kind, id, name: clean_name(name).map(LinkName::of) }
    }

    /// The name, if the link contains all of it: a single path component, never `.` or `..`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.name {
            Some(LinkName::Whole(name)) => Some(name),
            _ => None,
        }
    }

    /// The name of the content if a name is needed: a single path component.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.file_name_with(None)
    }

    /// Like [`file_name`](Self::file_name), with a hint: the name that a holder of the content gives it. The
    /// name in the link has priority; if it is cut, the hint is used if it has the same beginning and end.
    #[must_use]
    pub fn file_name_with(&self, hint: Option<&str>) -> String {
        let hint = hint.and_then(clean_name);
        match &self.name {
            Some(LinkName::Whole(name)) => name.clone(),
            Some(LinkName::Cut(head, tail)) => {
                let fits = |hint: &String| {
                    let rest = hint.strip_prefix(head.as_str());
                    rest.is_some_and(|rest| rest.ends_with(tail.as_str()))
                };
                hint.filter(fits).unwrap_or_else(|| format!("{head}{tail}"))
            }
            None => hint.unwrap_or_else(|| self.id.to_string()[..16].to_owned()),
        }
    }
}

impl LinkName {
    /// A clean name, cut to the limit.
    fn of(name: String) -> Self {
        if encoded(&name).len() <= NAME_CHARS_MAX {
            return Self::Whole(name);
        }
        let dot = name.rfind('.').filter(|dot| *dot > 0);
        let tail = dot.map_or("", |dot| &name[dot..]);
        let tail = if encoded(tail).len() <= ENDING_CHARS_MAX { tail } else { "" };
        let room = NAME_CHARS_MAX - CUT.len() - encoded(tail).len();
        let ends = name.char_indices().map(|(begin, _)| begin);
        let fits = |end: &usize| encoded(&name[..*end]).len() <= room;
        let head = ends.take_while(|end| *end + tail.len() <= name.len()).filter(fits).last();
        Self::Cut(name[..head.unwrap_or(0)].to_owned(), tail.to_owned())
    }

    fn encoded(&self) -> String {
        match self {
            Self::Whole(name) => encoded(name),
            Self::Cut(head, tail) => format!("{}{CUT}{}", encoded(head), encoded(tail)),
        }
    }

    /// Decodes the name of a link. `None` if it is not valid.
    fn decode(text: &str) -> Option<Self> {
        let name = match cut_at(text) {
            Some(at) => Self::Cut(decoded(&text[..at])?, decoded(&text[at + CUT.len()..])?),
            None => Self::Whole(decoded(text)?),
        };
        let whole = match &name {
            Self::Whole(name) => name.clone(),
            Self::Cut(head, tail) => format!("{head}{tail}"),
        };
        // A name that is not clean was not written by `share`.
        (clean_name(&whole).as_ref() == Some(&whole)).then_some(name)
    }
}

/// The position of the cut in a name: a `~~` that is not the end of one run and the beginning of the next.
fn cut_at(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let begin = at + text[at..].find(RUN)?;
        let rest = &text[begin + 1..];
        match rest.find(RUN)? {
            0 => return Some(begin),
            length => at = begin + 1 + length + 1,
        }
    }
}

/// Encodes a name in the characters of a link.
fn encoded(name: &str) -> String {
    let mut text = String::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let plain = is_plain(first);
        let end = rest.find(|c| is_plain(c) != plain).unwrap_or(rest.len());
        if plain {
            text.push_str(&rest[..end]);
        } else {
            text.push(RUN);
            text.push_str(&BASE64URL_NOPAD.encode(&rest.as_bytes()[..end]));
            text.push(RUN);
        }
        rest = &rest[end..];
    }
    text
}

/// Decodes a name from [`encoded`].
fn decoded(text: &str) -> Option<String> {
    let mut name = String::new();
    for (number, part) in text.split(RUN).enumerate() {
        if number.is_multiple_of(2) {
            name.push_str(part);
        } else if part.is_empty() {
            return None;
        } else {
            let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
            name.push_str(std::str::from_utf8(&bytes).ok()?);
        }
    }
    // Each run that begins also ends.
    text.matches(RUN).count().is_multiple_of(2).then_some(name)
}

impl AsRef<Self> for FileLink {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Whether a character stands for itself in a link.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

fn is_link_char(c: char) -> bool {
    is_plain(c) || c == RUN
}

impl fmt::Display for FileLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = BASE32_NOPAD.encode(self.id.as_bytes()).to_ascii_lowercase();
        // The last symbol has one bit of the hash and the four bits of the kind.
        let last = text.pop().and_then(|c| SYMBOLS.iter().position(|symbol| *symbol == c as u8));
        let kind = match self.kind {
            LinkKind::File => 0,
            LinkKind::Folder => 1,
        };
        text.push(char::from(SYMBOLS[last.unwrap_or(0) | kind]));
        write!(f, "{SCHEME}{text}")?;
        self.name.iter().try_for_each(|name| write!(f, "/{}", name.encoded()))
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
            Some(name) if name.chars().all(is_link_char) => {
                let name = LinkName::decode(name).ok_or(LinkError::Name)?;
                Ok(Self { kind, id, name: Some(name) })
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
    fn a_name_that_is_none_is_left_out() {
        for name in ["", ".", "..", "/", "\n"] {
            assert_eq!(FileLink::new(LinkKind::File, BlobId::of(b"x"), name).name(), None);
        }
    }

    #[test]
    fn a_link_carries_any_name_that_fits_as_it_is() {
        let id = BlobId::of(b"x");
        for (name, text) in [
            ("weights.bin", "weights.bin"),
            ("größe 🍲.txt", "gr~w7bDnw~e~IPCfjbI~.txt"),
            ("文档", "~5paH5qGj~"),
            ("a b", "a~IA~b"),
            ("~tilde~", "~fg~tilde~fg~"),
            ("...", "..."),
            ("_", "_"),
            // The same letter in two Unicode forms.
            ("é", "~w6k~"),
            ("e\u{301}", "e~zIE~"),
        ] {
            let link = FileLink::new(LinkKind::File, id, name);
            assert_eq!(link.name(), Some(name));
            assert_eq!(link.to_string().rsplit('/').next(), Some(text));
            assert_eq!(link.to_string().parse(), Ok(link));
        }
        let link = FileLink::new(LinkKind::File, id, "a/b\nc");
        assert_eq!(link.name(), Some("a_b_c"), "what no name has is replaced");
    }

    #[test]
    fn a_name_too_long_for_a_link_is_completed_by_a_holder_whose_name_fits() {
        let long = format!("{}.txt", "ü".repeat(100));
        let other = format!("{}b.txt", "a".repeat(195));
        for name in [long.as_str(), other.as_str(), &"x".repeat(255), &"文".repeat(85)] {
            let link = FileLink::new(LinkKind::File, BlobId::of(b"x"), name);
            let text = link.to_string();
            assert!(text.len() <= LINK_CHARS_MAX && text.contains("~~"), "{text}");
            assert_eq!(text.parse(), Ok(link.clone()));
            assert_eq!(link.name(), None);
            assert_eq!(link.file_name_with(Some(name)), name);
            let short = link.file_name();
            assert!(short.len() > 30 && name.len() > short.len(), "{short}");
            assert_eq!(link.file_name_with(Some("evil.exe")), short, "the link wins");
        }
        let bare = FileLink::new(LinkKind::File, BlobId::of(b"x"), "");
        assert_eq!(bare.file_name_with(Some("../x")), ".._x");
        assert_eq!(bare.file_name_with(Some("..")), bare.file_name());
    }

    #[test]
    fn names_in_links_that_are_paths_or_damaged_are_refused() {
        let bare = FileLink::new(LinkKind::File, BlobId::of(b"x"), "").to_string();
        // `/`, `..` and a line break in base64, and invalid runs.
        for name in [".", "..", "~Lw~", "~Li4~", "~Cg~", "a~b", "~a~", "a~~b~~c", "~_w~", "~"] {
            let text = format!("{bare}/{name}");
            assert_eq!(text.parse::<FileLink>(), Err(LinkError::Name), "{name}");
        }
    }
}
