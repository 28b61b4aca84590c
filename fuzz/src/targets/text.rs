//! Texts that people type or paste.

use potluck_base::{Contact, NodeId, PublicKey, Salt};
use potluck_gossip::{MessageId, TopicName};
use potluck_record::{Context, Dot, Name, Space, TeamId};
use potluck_wire::Ticket;

use super::stored::saying;
use crate::outcome::Seen;
use crate::samples;

/// Contacts, keys, ids, versions and spaces.
pub(super) fn words(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    macro_rules! round_trip {
        ($($what:literal: $kind:ty),*) => {$(
            let read = seen.measured(|| text.parse::<$kind>());
            seen.result($what, &read);
            if let Ok(read) = read {
                assert_eq!(read.to_string().parse::<$kind>().as_ref(), Ok(&read), "{text:?}");
            }
        )*};
    }
    round_trip!(
        "contact": Contact, "key": PublicKey, "id": NodeId, "salt": Salt, "context": Context,
        "dot": Dot, "team": TeamId, "topic": TopicName, "message": MessageId
    );
    let me = samples::identity(1).public_key();
    let space = Space::parse(&text, &me);
    seen.result("space", &space);
    if let Ok(space) = space {
        assert_eq!(Space::parse(&space.to_string(), &me), Ok(space), "{text:?}");
    }
    seen.result("name", &Name::new(text.as_ref()));
}

/// Samples for [`words`].
pub(super) fn word_samples() -> Vec<Vec<u8>> {
    let key = samples::identity(1).public_key();
    let context = samples::some_envelopes()[1].head().context().to_string();
    let salted = Contact { salt: Some(Salt::from_bytes([3; 8])), ..samples::contact(1) };
    let six =
        Contact { address: ([0xfd00, 0, 0, 0, 0, 0, 0, 1], 4000).into(), ..samples::contact(1) };
    let texts = [
        context,
        samples::contact(1).to_string(),
        salted.to_string(),
        six.to_string(),
        key.to_string(),
        format!("own/{key}"),
        format!("team/{key}"),
        "commons".to_owned(),
        Dot::from_raw(1 << 40).to_string(),
        format!("{key}.1099511627776.7"),
    ];
    texts.map(String::into_bytes).to_vec()
}

/// Tickets: as text, and with a checksum that holds, so that what is behind it is reached.
pub(super) fn ticket(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    read_ticket(&text, seen);
    // The inside of a ticket.
    let sum = blake3::derive_key("potluck 2026 ticket checksum", bytes);
    let whole = [bytes, &sum[..4]].concat();
    read_ticket(&format!("potluck-ticket:{}", base32(&whole)), seen);
}

fn read_ticket(text: &str, seen: &mut Seen) {
    let ticket = seen.measured(|| text.parse::<Ticket>());
    seen.result("ticket", &ticket);
    if let Ok(ticket) = ticket {
        let again = ticket.to_string();
        assert_eq!(again.parse::<Ticket>().as_ref(), Ok(&ticket));
        assert_eq!(again.parse::<Ticket>().expect("checked").to_string(), again);
    }
}

fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(LETTERS[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(LETTERS[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

/// Samples for [`ticket`]: texts, and the inside of one.
pub(super) fn ticket_samples() -> Vec<Vec<u8>> {
    let mut samples = samples::admission::ticket_texts();
    let text = String::from_utf8_lossy(&samples[0]).into_owned();
    let symbols = text.trim_start_matches("potluck-ticket:");
    let (mut inside, mut buffer, mut bits) = (Vec::new(), 0_u32, 0);
    for symbol in symbols.bytes() {
        let value = if symbol.is_ascii_digit() { symbol - b'2' + 26 } else { symbol - b'a' };
        buffer = buffer << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            inside.push((buffer >> bits) as u8);
        }
    }
    inside.truncate(inside.len() - 4);
    samples.push(inside);
    samples
}

/// A configuration file.
pub(super) fn configuration(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    potluck_cli::fuzzing::configuration(&text, &mut saying(seen));
}

/// Samples for [`configuration`]: all of it, and each section alone.
pub(super) fn configuration_samples() -> Vec<Vec<u8>> {
    let whole = potluck_cli::fuzzing::configuration_sample();
    let sections = whole.split("\n[").skip(1).map(|section| format!("[{section}").into_bytes());
    let mut samples: Vec<Vec<u8>> = sections.collect();
    samples.push(b"[limits]\nhttp_requests = 5\n[kv]\nreplication = 3\n".to_vec());
    samples.push(whole.into_bytes());
    samples
}

/// Values of flags and variables, addresses and names of records, and what terminals are shown.
pub(super) fn values(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    potluck_cli::fuzzing::typed(&text, &mut saying(seen));
    if text.len() < 200 {
        potluck_cli::fuzzing::value(&text, &mut saying(seen));
    }
}

/// Lines of a backup.
pub(super) fn backup(bytes: &[u8], seen: &mut Seen) {
    potluck_cli::fuzzing::backup(bytes, &mut saying(seen));
}

/// Samples for [`backup`].
pub(super) fn backup_samples() -> Vec<Vec<u8>> {
    let head = r#"{"potluckExport":1,"network":"home","node":"ab","at":"2026-11-29T00:00:00Z","space":"commons","prefix":""}"#;
    let record = r#"{"name":"config/db","space":"commons","values":[{"kind":"siblings","valueBase64":"aGVsbG8=","version":"1.7","node":"ab","expiresAt":"2027-11-29T00:00:00Z"}]}"#;
    let end = r#"{"end":{"records":1,"complete":true}}"#;
    let none = r#"{"end":{"records":0,"complete":false}}"#;
    vec![
        format!("{head}\n{record}\n{end}\n").into_bytes(),
        format!("{head}\n{none}\n").into_bytes(),
        format!("{head}\n{record}\n{record}\n").into_bytes(),
    ]
}

/// Headers of HTTP requests, names in them, and the text of metrics.
pub(super) fn http_parts(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    potluck_cli::fuzzing::http_parts(&text, &mut saying(seen));
}

/// Samples for [`http_parts`].
pub(super) fn http_part_samples() -> Vec<Vec<u8>> {
    let context = samples::some_envelopes()[1].head().context().to_string();
    let metrics = "# HELP a b\n# TYPE a counter\n# UNIT a seconds\na_total 1\n# EOF";
    let ranges =
        ["bytes=0-4", "bytes=-3", "bytes=7-", "bytes=1-2,3-4", "none", "\"ab-1\", W/\"c\", *"];
    let list = r#"{"files":[{"path":"a/b","bytes":1,"executable":false}],"emptyFolders":["x"]}"#;
    let firsts = ranges.into_iter().chain([context.as_str(), list, "a.tar.gz", "très.html"]);
    firsts.map(|first| format!("{first}\n{metrics}").into_bytes()).collect()
}
