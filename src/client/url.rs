//! URLs of a node and paths in them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use potluck::{BlobId, TopicName};
use potluck_record::{Name, Space};

use crate::failure::{Exit, Failure};

/// The HTTP port of a URL without one.
const HTTP_DEFAULT_PORT: u16 = 80;

/// The base URL in the form to which paths are appended.
///
/// # Errors
/// Wrong usage: no HTTP URL.
pub(crate) fn base_url(text: &str) -> Result<String, Failure> {
    let text = text.trim().trim_end_matches('/');
    let wrong = || {
        Failure::usage("--node must be a URL such as http://127.0.0.1:8080")
            .hint("a node prints its URL when it starts")
    };
    let host = match text.split_once("://") {
        None => text,
        Some(("http", host)) => host,
        Some(_) => return Err(wrong()),
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if host.is_empty() || !host.chars().all(is_fine) || !has_port {
        return Err(wrong());
    }
    Ok(format!("http://{host}"))
}

/// Whether a base URL is an address of this machine.
pub(crate) fn is_loopback(base: &str) -> bool {
    let host = base.trim_start_matches("http://");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The address of a base URL, if it names one, in the form in which a node listens: `localhost` is 127.0.0.1.
pub(super) fn address_of(base: &str) -> Option<SocketAddr> {
    let host = base.strip_prefix("http://")?;
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()?),
        _ => (host, HTTP_DEFAULT_PORT),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let ip = if name == "localhost" { Ipv4Addr::LOCALHOST.into() } else { name.parse().ok()? };
    Some(SocketAddr::new(ip, port))
}

/// Percent-encodes all characters except `/` and those that no part of a URL has to encode.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The path of a file in a folder.
pub(crate) fn file_path(id: &BlobId, path: &str) -> String {
    format!("/v1/files/{id}/{}", encoded(path))
}

/// The path of a record below `prefix`, with a query.
///
/// # Errors
/// Wrong usage: no name.
pub(crate) fn kv_path(
    prefix: &str,
    name: &str,
    query: &[(&str, Option<String>)],
) -> Result<String, Failure> {
    let is_content = query.iter().any(|(key, value)| {
        *key == "space" && value.as_deref() == Some(Space::Content.to_string().as_str())
    });
    if !is_content {
        Name::new(name).map_err(|error| Failure::new(Exit::Usage, "badName", error))?;
    }
    Ok(with_query(&format!("{prefix}/{}", encoded(name)), query))
}

/// The path of a topic.
pub(crate) fn topic_path(topic: &TopicName) -> String {
    format!("/v1/topics/{}", encoded(topic.as_str()))
}

/// A path with the parts of a query that have a value.
pub(crate) fn with_query(path: &str, query: &[(&str, Option<String>)]) -> String {
    let mut path = path.to_owned();
    let mut glue = '?';
    for (key, value) in query {
        if let Some(value) = value {
            let _ = write!(path, "{glue}{key}={}", encoded(value));
            glue = '&';
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_into_a_path() {
        let path = kv_path("/v1/kv", "a b/ü?#%", &[("w", Some("2".into())), ("r", None)]);
        assert_eq!(path.expect("a name"), "/v1/kv/a%20b/%C3%BC%3F%23%25?w=2");
    }

    #[test]
    fn a_name_that_is_none_is_refused_before_anybody_is_asked() {
        for name in ["", "a\nb", &"x".repeat(10 * 1024)] {
            assert_eq!(kv_path("/v1/kv", name, &[]).expect_err("no name").exit, Exit::Usage);
        }
    }

    #[test]
    fn only_a_node_of_this_machine_is_given_paths_of_it() {
        for near in
            ["http://127.0.0.1:8080", "http://[::1]:8080", "http://[::1]", "http://localhost"]
        {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["http://10.0.0.1:8080", "http://[2001:db8::1]:8080", "http://host.example"] {
            assert!(!is_loopback(far), "{far}");
        }
    }

    #[test]
    fn the_address_behind_a_url_is_the_one_that_a_node_listens_on() {
        let of = |base: &str| address_of(base).map(|address| address.to_string());
        assert_eq!(of("http://127.0.0.1:8081").as_deref(), Some("127.0.0.1:8081"));
        assert_eq!(of("http://localhost:8081").as_deref(), Some("127.0.0.1:8081"));
        assert_eq!(of("http://[::1]:8080").as_deref(), Some("[::1]:8080"));
        assert_eq!(of("http://10.0.0.1").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(of("http://host.example:8080"), None);
        assert_eq!(of("http://127.0.0.1:80000"), None);
    }

    #[test]
    fn a_node_is_named_by_url_or_by_host_and_port() {
        assert_eq!(base_url("127.0.0.1:8081/").expect("good"), "http://127.0.0.1:8081");
        assert_eq!(base_url("http://[::1]:8080").expect("good"), "http://[::1]:8080");
        for wrong in [
            "",
            "https://x",
            "http://a/b",
            "ftp://a",
            "http://a b",
            "a:b",
            "a:",
            "a:0",
            "a:65536",
            "[::1]:x",
        ] {
            assert_eq!(base_url(wrong).expect_err(wrong).exit, Exit::Usage);
        }
    }
}
