//! The media type of a file, guessed from its name, and how a browser may treat the file.
//!
//! **Invariant:** a shared page that is opened from this node cannot use its API, whatever the page contains:
//! it is sandboxed, and types that could run scripts are offered for download instead.

use std::fmt::Write as _;

use axum::http::HeaderValue;

/// The type of a file of unknown kind.
const BYTES: &str = "application/octet-stream";

/// Content of unknown origin may load nothing, run nothing and belongs to no origin.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");

/// File name endings, their types, and whether a browser may show such a file inline.
const TYPES: &[(&str, &str, bool)] = &[
    ("aac", "audio/aac", true),
    ("avif", "image/avif", true),
    ("bz2", "application/x-bzip2", false),
    ("c", "text/plain; charset=utf-8", true),
    ("conf", "text/plain; charset=utf-8", true),
    ("css", "text/css", false),
    ("csv", "text/csv", true),
    ("flac", "audio/flac", true),
    ("gif", "image/gif", true),
    ("gz", "application/gzip", false),
    ("htm", "text/html", false),
    ("html", "text/html", false),
    ("jpeg", "image/jpeg", true),
    ("jpg", "image/jpeg", true),
    ("js", "text/javascript", false),
    ("json", "application/json", true),
    ("log", "text/plain; charset=utf-8", true),
    ("m4a", "audio/mp4", true),
    ("md", "text/markdown; charset=utf-8", true),
    ("mjs", "text/javascript", false),
    ("mkv", "video/x-matroska", true),
    ("mov", "video/quicktime", true),
    ("mp3", "audio/mpeg", true),
    ("mp4", "video/mp4", true),
    ("oga", "audio/ogg", true),
    ("ogg", "audio/ogg", true),
    ("ogv", "video/ogg", true),
    ("opus", "audio/ogg", true),
    ("pdf", "application/pdf", false),
    ("png", "image/png", true),
    ("rs", "text/plain; charset=utf-8", true),
    ("sh", "text/plain; charset=utf-8", true),
    ("svg", "image/svg+xml", false),
    ("tar", "application/x-tar", false),
    ("toml", "text/plain; charset=utf-8", true),
    ("txt", "text/plain; charset=utf-8", true),
    ("wasm", "application/wasm", false),
    ("wav", "audio/wav", true),
    ("webm", "video/webm", true),
    ("webp", "image/webp", true),
    ("xml", "application/xml", false),
    ("xz", "application/x-xz", false),
    ("yaml", "text/plain; charset=utf-8", true),
    ("yml", "text/plain; charset=utf-8", true),
    ("zip", "application/zip", false),
    ("zst", "application/zstd", false),
];

fn found(name: &str) -> (&'static str, bool) {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match TYPES.binary_search_by(|(known, ..)| (*known).cmp(ending.as_str())) {
        Ok(index) => (TYPES[index].1, TYPES[index].2),
        Err(_) => (BYTES, false),
    }
}

/// The type of a file of this name.
pub(super) fn content_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(found(name).0)
}

/// Whether a browser may show the file, and the name under which it saves it (RFC 6266).
pub(super) fn disposition(name: &str) -> HeaderValue {
    let how = if found(name).1 { "inline" } else { "attachment" };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._~- ".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let mut text = format!("{how}; filename=\"{ascii}\"");
    if ascii != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"._~-".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_ending_is_found() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(content_type("a/b.PNG"), "image/png");
        assert_eq!(content_type("zip"), BYTES);
        assert_eq!(content_type("a.tar.zst"), "application/zstd");
    }

    #[test]
    fn what_could_run_in_a_page_is_offered_for_download() {
        for name in ["a.html", "a.svg", "a.js", "a.xml", "a", "a.unknown", "a.pdf"] {
            assert!(disposition(name).to_str().expect("text").starts_with("attachment"), "{name}");
        }
        assert_eq!(disposition("a b.txt"), "inline; filename=\"a b.txt\"");
    }

    #[test]
    fn a_name_cannot_end_its_header() {
        let text = disposition("ü\"\r\nx.png");
        assert_eq!(text, "inline; filename=\"____x.png\"; filename*=UTF-8''%C3%BC%22%0D%0Ax.png");
    }
}
