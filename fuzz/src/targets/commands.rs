//! Scripts of commands and inputs to a node machine: as the simulator and the real shell give them, and as
//! neither would.
//!
//! What must hold: no panic, outputs without end after no input, one reply to each command, the last of them
//! within ten minutes, and no timer that comes again and again.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{BlobId, GranuleSet, Key, UnixMillis};
use potluck_dht::EntryPoint;
use potluck_gossip::TopicName;
use potluck_node::settings::SettingChange;
use potluck_node::{Apply, Command, Input, Put, WriteContext};
use potluck_record::{Kind, Name, NamesQuery, Operation, Space, StorageFailure};
use potluck_swarm::{Begin, FetchId, TransferEnd, TransferId};

use crate::outcome::Seen;
use crate::samples;
use crate::script::Script;
use crate::shell::Shell;

/// Steps of one script.
const STEPS_MAX: usize = 200;
/// By then each command was answered.
const PATIENCE: Duration = Duration::from_mins(10);

pub(super) fn names_query(prefix: &str, after: Option<String>) -> NamesQuery {
    NamesQuery { space: Space::Commons, prefix: prefix.to_owned(), after, until: None, limit: 100 }
}

/// One script.
pub(super) fn commands(bytes: &[u8], seen: &mut Seen) {
    let mut shell = Shell::new(1);
    shell.tell_what_moved(seen);
    let mut script = Script::new(bytes);
    let mut steps = 0;
    let mut left = false;
    while !script.is_over() && steps < STEPS_MAX {
        steps += 1;
        let what = step(&mut shell, &mut script);
        left |= what == "leave";
        seen.count(what, steps as u64);
    }
    shell.disk_fails = None;
    let mut waited = Duration::ZERO;
    while !shell.open.is_empty() && waited < PATIENCE {
        while let Some(call) = shell.calls.pop_front() {
            shell.handle(Input::CallFailed { call });
        }
        shell.pass(Duration::from_secs(5));
        waited += Duration::from_secs(5);
    }
    assert!(shell.open.is_empty(), "no reply to {:?} (left: {left})", shell.open);
    seen.accept("waited", &(waited < Duration::from_secs(5), left));
    seen.count("waited", waited.as_secs());
    shell.tell_what_moved(seen);
    seen.count("replies", shell.replies);
}

fn key_of(script: &mut Script<'_>) -> Key {
    let named = Name::new(script.name()).ok().and_then(|name| Space::Commons.key(&name));
    named.unwrap_or_else(|| Key::from_bytes([script.byte(); 32]))
}

/// One step; its name.
fn step(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    match script.byte() % 40 {
        0..=3 => put(shell, script),
        4 | 5 => apply(shell, script),
        6..=19 => read(shell, script),
        20..=23 => topics(shell, script),
        24..=26 => network(shell, script),
        27..=32 => time(shell, script),
        33..=36 => peers(shell, script),
        _ => files(shell, script),
    }
}

fn put(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    let space = match script.byte() % 6 {
        0 => Space::Content,
        1 => Space::Own(samples::identity(1).public_key()),
        2 => Space::Own(samples::identity(2).public_key()),
        _ => Space::Commons,
    };
    let name = Name::new(script.name()).ok();
    let value = match script.byte() {
        0..=50 => None,
        51..=240 => Some(Bytes::copy_from_slice(script.bytes())),
        large => Some(Bytes::from(vec![1; usize::from(large) << 9])),
    };
    let kinds = [None, Some(Kind::Siblings), Some(Kind::Lww), Some(Kind::Counter), Some(Kind::Map)];
    let ttls = [None, Some(0), Some(1), Some(60_000), Some(u64::MAX)];
    let context = match script.byte() % 3 {
        0 => WriteContext::Read,
        1 => WriteContext::Blind,
        _ => WriteContext::Given(samples::some_envelopes()[1].head().context().clone()),
    };
    let put = Put {
        space,
        name,
        kind: script.one_of(&kinds),
        value,
        ttl: script.one_of(&ttls).map(Duration::from_millis),
        quorum: script.one_of(&[None, Some(0), Some(1), Some(3), Some(u16::MAX)]),
        context,
    };
    shell.command("put", Command::Put(put));
    "put"
}

fn apply(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    let Ok(name) = Name::new(script.name()) else { return "no name" };
    let elements = vec![script.text(), script.text()];
    let operation = match script.byte() % 6 {
        0 => Operation::Count(i64::from(script.short()) - 5),
        1 => Operation::Count(i64::MAX),
        2 => Operation::AddElements(elements),
        3 => Operation::RemoveElements(elements),
        4 => Operation::SetField {
            field: script.text(),
            value: Bytes::copy_from_slice(script.bytes()),
        },
        _ => Operation::UnsetField { field: script.text() },
    };
    let apply =
        Apply { space: Space::Commons, name, operation, quorum: script.one_of(&[None, Some(2)]) };
    shell.command("apply", Command::Apply(apply));
    "apply"
}

fn read(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    let key = key_of(script);
    let quorum = script.one_of(&[None, Some(0), Some(1), Some(9), Some(u16::MAX)]);
    let (name, command) = match script.byte() % 14 {
        0 | 1 => ("get", Command::Get { key, quorum }),
        2 => ("replicas", Command::Replicas { key }),
        3 => ("local", Command::Local { key }),
        4 => {
            let after = (script.byte() > 99).then(|| script.name());
            let mut query = names_query(&script.name(), after);
            query.limit = u32::from(script.byte());
            ("names", Command::Names { query })
        }
        5 => {
            let mut query = names_query(&script.text(), None);
            query.limit = u32::from(script.short());
            query.until = Some(script.name());
            ("names here", Command::NamesHere { query })
        }
        6 => ("watch", Command::Watch { key }),
        7 => ("unwatch", Command::Unwatch { key }),
        8 => ("trace", Command::Trace { key }),
        9 => ("lookups", Command::Lookups),
        10 => ("table", Command::Table),
        11 => ("status", Command::Status),
        12 => ("stats", Command::Stats),
        _ => ("members", Command::Members),
    };
    shell.command(name, command);
    name
}

fn topics(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    let Ok(topic) = TopicName::new(script.name()) else { return "no topic" };
    let payload = Bytes::from(vec![7; usize::from(script.short())]);
    let (name, command) = match script.byte() % 5 {
        0 => ("publish", Command::Publish { topic, payload }),
        1 => ("publish counted", Command::PublishCounted { topic, payload }),
        2 => ("subscribe", Command::Subscribe { topic, after: None }),
        3 => ("unsubscribe", Command::Unsubscribe { topic }),
        _ => ("search", Command::Search { words: vec![script.text(), script.name()] }),
    };
    shell.command(name, command);
    name
}

fn network(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    let contact = samples::contact(script.byte());
    let (name, command) = match script.byte() % 12 {
        0 | 1 => ("join", Command::Join(EntryPoint::Contact(contact))),
        2 => ("join", Command::Join(EntryPoint::Address(contact.address))),
        3 => ("join", Command::Join(EntryPoint::Name(script.text()))),
        4 => ("revoke", Command::Revoke(Bytes::copy_from_slice(script.bytes()))),
        5 => ("settings", Command::Settings),
        6 => {
            let change = match script.byte() % 4 {
                0 => SettingChange::Replication(Some(script.byte())),
                1 => SettingChange::DefaultTtl(Some(Duration::from_millis(script.short().into()))),
                2 => SettingChange::RepublishInterval(Some(Duration::MAX)),
                _ => SettingChange::GossipInterval(Some(Duration::ZERO)),
            };
            ("propose", Command::ProposeSetting(change))
        }
        7 => ("take settings", Command::TakeSettings(Bytes::copy_from_slice(script.bytes()))),
        8 => ("introduce", Command::Introduce(contact)),
        9 => ("pause", Command::Pause),
        10 => ("leave", Command::Leave),
        _ => ("search", Command::Search { words: Vec::new() }),
    };
    shell.command(name, command);
    name
}

fn time(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    match script.byte() % 9 {
        0..=3 => {
            shell.pass(Duration::from_millis(1 << (script.byte() % 17)));
            "time"
        }
        4 => {
            shell.handle(Input::Timeout);
            "early timeout"
        }
        // The clock of the wall leaps, also back.
        5 => {
            let now = [0, 1, 1_700_000_000_000, 1_900_000_000_000, u64::MAX];
            shell.handle(Input::WallClock { now: UnixMillis(script.one_of(&now)) });
            "wall clock"
        }
        6 => {
            let gap = Duration::from_secs(script.short().into());
            shell.handle(Input::Resumed { gap, entropy: [script.byte(); 32] });
            "resumed"
        }
        7 => {
            let failures = [
                None,
                None,
                Some(StorageFailure::Full),
                Some(StorageFailure::Stopped),
                Some(StorageFailure::Corrupt),
                Some(StorageFailure::Healing),
            ];
            shell.disk_fails = script.one_of(&failures);
            "disk"
        }
        _ => {
            let addresses =
                vec![samples::contact(script.byte()).address; usize::from(script.byte() % 6)];
            shell.handle(Input::AddressesChanged { advertised: addresses, local: Vec::new() });
            "addresses"
        }
    }
}

fn peers(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    let requests = samples::requests();
    let responses = samples::responses();
    match script.byte() % 10 {
        0..=2 => {
            let request = &requests[usize::from(script.byte()) % requests.len()];
            shell.called(2 + script.byte() % 8, request.clone().into());
            "called"
        }
        3..=5 => {
            let Some(call) = shell.calls.pop_front() else { return "no call" };
            let bytes = responses[usize::from(script.byte()) % responses.len()].clone().into();
            shell.handle(Input::Answered { call, bytes });
            "answered"
        }
        6 => {
            let Some(call) = shell.calls.pop_back() else { return "no call" };
            shell.handle(Input::CallFailed { call });
            "call failed"
        }
        7 => {
            let bytes = Bytes::copy_from_slice(script.bytes());
            shell.handle(Input::Datagram { from: samples::contact(script.byte()).address, bytes });
            "datagram"
        }
        8 => {
            let contacts =
                (0..script.byte() % 9).map(|_| samples::contact(script.byte())).collect();
            shell.handle(Input::Remembered { contacts });
            "remembered"
        }
        _ => {
            let address = samples::contact(script.byte()).address;
            shell.handle(match script.byte() % 3 {
                0 => Input::Candidate { address },
                1 => Input::LastResort { name: script.text() },
                _ => Input::Resolved { name: script.text(), addresses: vec![vec![address]; 3] },
            });
            "reach"
        }
    }
}

fn files(shell: &mut Shell, script: &mut Script<'_>) -> &'static str {
    let blob = BlobId::from_bytes([script.byte() % 3; 32]);
    let fetch = FetchId(u64::from(script.byte() % 4));
    let size = [0, 1, 65_536, 10_000_000, 1 << 40, u64::MAX][usize::from(script.byte() % 6)];
    let length = u32::from(script.byte());
    let granules = script.short() as u32..script.short() as u32;
    let transfer = TransferId(u64::from(script.byte() % 8));
    let input = match script.byte() % 14 {
        0 => potluck_swarm::Input::Held { blob, size, announce: length > 99 },
        1 => potluck_swarm::Input::Begin(Begin {
            fetch,
            blob,
            root: blob,
            sources: vec![samples::contact(2); usize::from(script.byte() % 3)],
            size: (length > 99).then_some(size),
        }),
        2 => potluck_swarm::Input::Opened { fetch, have: GranuleSet::empty(length) },
        3 => potluck_swarm::Input::Checking { fetch, granules: GranuleSet::full(length) },
        4 => potluck_swarm::Input::NoPlace { fetch },
        5 => potluck_swarm::Input::Wanted { fetch, granules },
        6 => potluck_swarm::Input::Cancel { fetch },
        7 => potluck_swarm::Input::Moved { transfer },
        8 => potluck_swarm::Input::Granule { transfer, granule: length },
        9 => {
            let ends =
                [TransferEnd::Done, TransferEnd::Corrupt, TransferEnd::Busy, TransferEnd::Lost];
            potluck_swarm::Input::Ended { transfer, end: script.one_of(&ends) }
        }
        10 => potluck_swarm::Input::PeerGone(samples::identity(2).public_key()),
        11 => potluck_swarm::Input::Released { blob },
        12 => potluck_swarm::Input::Relocated,
        _ => potluck_swarm::Input::Checked { blob, size: (length > 99).then_some(size) },
    };
    shell.handle(Input::Swarm(input));
    shell.command("fetch", Command::Fetch(fetch));
    "files"
}

/// Samples: each kind of step once, and some after each other.
pub(super) fn samples() -> Vec<Vec<u8>> {
    let single = (0..40_u8).map(|step| vec![step, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let several = (0..30_u8).map(|first| {
        (0..60_u8)
            .map(|at| first.wrapping_mul(31).wrapping_add(at.wrapping_mul(first | 1)))
            .collect()
    });
    single.chain(several).collect()
}
