//! Entry points as people write them, and the addresses behind DNS names.

mod names;
#[cfg(feature = "dns")]
mod srv;

use std::net::{IpAddr, SocketAddr};

use potluck_base::Contact;
use potluck_dht::EntryPoint;

use crate::socket::canonical;
pub(crate) use names::Names;

/// The default port.
pub const DEFAULT_PORT: u16 = 12345;

/// Longest DNS name (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

/// Why a text is no entry point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no entry point: give <public key hex>@<ip>:<port>, <ip>:<port> or <dns name>:<port>"
)]
pub struct EntryPointError {
    /// The given text, cut to a readable length.
    pub text: String,
}

/// Reads a contact, an address, or a DNS name; the port may be left out of the latter two.
///
/// # Errors
/// [`EntryPointError`] shows the text.
pub fn parse_entry_point(text: &str) -> Result<EntryPoint, EntryPointError> {
    let text = text.trim();
    let wrong = || EntryPointError { text: text.chars().take(100).collect() };
    if text.contains('@') {
        let contact: Contact = text.parse().map_err(|_| wrong())?;
        return Ok(EntryPoint::Contact(Contact { address: canonical(contact.address), ..contact }));
    }
    if let Ok(address) = text.parse::<SocketAddr>().map(canonical) {
        return Some(EntryPoint::Address(address)).filter(|_| address.port() > 0).ok_or_else(wrong);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(EntryPoint::Address(canonical(SocketAddr::new(ip, DEFAULT_PORT))));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port.parse().map_err(|_| wrong())?),
        None => (text, DEFAULT_PORT),
    };
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && port > 0;
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    // A top-level domain is never a number: this is a mistyped address.
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let number = last.chars().all(|c| c.is_ascii_digit());
    if !fits || !name.chars().all(in_name) || number {
        return Err(wrong());
    }
    Ok(EntryPoint::Name(format!("{name}:{port}")))
}

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;
    use crate::socket::Families;

    #[test]
    fn contacts_addresses_and_names_are_told_apart() {
        let contact =
            Contact::new(Identity::from_seed([1; 32]).public_key(), "127.0.0.1:9".parse().unwrap());
        assert_eq!(parse_entry_point(&contact.to_string()), Ok(EntryPoint::Contact(contact)));
        let address = |text: &str| Ok(EntryPoint::Address(text.parse().unwrap()));
        assert_eq!(parse_entry_point("10.0.0.1:7"), address("10.0.0.1:7"));
        assert_eq!(parse_entry_point(" [::1]:7 "), address("[::1]:7"));
        assert_eq!(parse_entry_point("10.0.0.1"), address("10.0.0.1:12345"));
        assert_eq!(parse_entry_point("::1"), address("[::1]:12345"));
        // A node answers from its IPv4 address, however that was written.
        assert_eq!(parse_entry_point("[::ffff:10.0.0.1]:7"), address("10.0.0.1:7"));
        assert_eq!(parse_entry_point("::ffff:10.0.0.1"), address("10.0.0.1:12345"));
        let mapped = format!("{}@[::ffff:127.0.0.1]:9", contact.public_key);
        assert_eq!(parse_entry_point(&mapped), Ok(EntryPoint::Contact(contact)));
        let name = |text: &str| Ok(EntryPoint::Name(text.to_owned()));
        assert_eq!(parse_entry_point("seed.example.org:7"), name("seed.example.org:7"));
        assert_eq!(parse_entry_point("localhost"), name("localhost:12345"));
    }

    #[test]
    fn everything_else_is_shown_back() {
        let long = "x".repeat(254);
        for text in [
            "",
            ":7",
            "a b:7",
            "host:",
            "host:0",
            "host:70000",
            "nobody@10.0.0.1:7",
            "10.0.0.300:7",
        ] {
            let error = parse_entry_point(text).unwrap_err();
            assert_eq!(error.text, text);
        }
        assert_eq!(parse_entry_point(&long).unwrap_err().text.len(), 100);
        assert!(parse_entry_point("10.0.0.1:0").is_err());
    }

    #[tokio::test]
    async fn the_system_knows_this_machine_and_no_dns_server_is_asked_for_it() {
        let ipv4 = Families::of(&["10.0.0.1:1".parse().unwrap()]);
        let groups = Names::default().groups("localhost:7", ipv4).await.unwrap();
        assert_eq!(groups, [["127.0.0.1:7".parse().unwrap()]]);
        let all =
            Names::default().groups("localhost:7", Families { v4: true, v6: true }).await.unwrap();
        assert!(all[0].contains(&groups[0][0]));
        Names::default().groups("localhost:none", ipv4).await.unwrap_err();
    }
}
