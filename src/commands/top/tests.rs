//! Screens as text, and keys.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::Model;
use super::keys::{Asked, Prompt, Screen, View};
use super::{frame, views};
use crate::api::{
    Happening, HealthView, InOut, LookupFigures, Machine, Member, NetworkCounts, Overview, Peer,
    Purpose, RecordFigures, RecordTrouble, Traffic, Transfer,
};

fn member(id: &str, state: &str, name: &str) -> Member {
    Member {
        id: id.repeat(32),
        address: "10.0.0.7:12345".into(),
        state: state.into(),
        incarnation: 3,
        labels: [("host".to_owned(), name.to_owned())].into(),
        version: None,
        protocol: None,
        protocol_min: None,
        is_self: id == "aa",
    }
}

fn peer(id: &str) -> Peer {
    Peer {
        id: id.repeat(32),
        address: "10.0.0.7:12345".into(),
        rtt_ms: Some(0.4),
        state: "alive".into(),
        last_seen_seconds: 2.0,
        verified: true,
        sibling: true,
    }
}

fn happening(seconds_ago: u64, tone: &str, what: &str) -> Happening {
    Happening {
        at: "2026-11-29T15:00:00Z".into(),
        seconds_ago,
        tone: tone.into(),
        what: what.into(),
        node: None,
    }
}

fn machine() -> Machine {
    Machine {
        node_id: "aa".repeat(32),
        name: "build1".into(),
        version: "0.1.0".into(),
        uptime_seconds: 3_725,
        cpu_percent: 1.4,
        memory_bytes: 41 << 20,
        memory_limit_bytes: 8 << 30,
        disk_bytes: 70 << 20,
        disk_free_bytes: 61 << 30,
        clock_offset_ms: Some(12),
        files: 2,
        file_bytes: 5 << 20,
        loop_lag_ms: 3.5,
        ..Machine::default()
    }
}

fn model() -> Model {
    let transfer = Transfer {
        name: "weights.bin".into(),
        state: "running".into(),
        bytes: 300 << 20,
        bytes_total: 900 << 20,
        rate: 25e6,
        sources: 3,
        active: 3,
        eta_seconds: Some(26),
        bound: "network".into(),
        why: "what the network between here and 3 nodes carries".into(),
        ..Transfer::default()
    };
    let overview = Overview {
        health: HealthView {
            health: "degraded".into(),
            sentence: "degraded: the disk of the data folder has no room: make room".into(),
            reasons: Vec::new(),
        },
        machine: machine(),
        network: NetworkCounts {
            name: "demo".into(),
            alive: 11,
            suspect: 1,
            size_estimate: 12,
            peers: 11,
            neighbours: 5,
            ..NetworkCounts::default()
        },
        traffic: Traffic {
            bytes_per_second: InOut { r#in: 2048.0, out: 1024.0 },
            purposes: vec![Purpose { purpose: "control".into(), r#in: 2048.0, out: 1024.0 }],
            ..Traffic::default()
        },
        lookups: LookupFigures {
            count: 40,
            p50_ms: 1.2,
            p99_ms: 9.9,
            failed: 1,
            ..LookupFigures::default()
        },
        records: RecordFigures {
            held: 200,
            surveyed: 16,
            under_replicated: 1,
            conflicted: 1,
            worst: vec![RecordTrouble {
                name: "config/a".into(),
                state: "conflicted".into(),
                why: "more than one value".into(),
            }],
            ..RecordFigures::default()
        },
        transfers: vec![transfer],
        events: vec![
            happening(3, "bad", "build7 (cc) does not answer"),
            happening(70, "good", "build3 (bb) joined"),
        ],
        ..Overview::default()
    };
    let members = vec![
        member("aa", "alive", "build1"),
        member("bb", "alive", "build\x1b3"),
        member("cc", "suspect", "build7"),
    ];
    Model { overview, members, peers: vec![peer("bb")], trouble: None }
}

/// Compares a screen with its stored file.
fn assert_frame(shown: &str, name: &str) {
    let file = format!("{}/src/commands/top/{name}", env!("CARGO_MANIFEST_DIR"));
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(shown == kept, "{file} is not what the screen shows now:\n{shown}");
}

#[test]
fn the_first_screen_fits_into_small_and_large_terminals() {
    let small = frame(&model(), &Screen::new(false), 80, 24).expect("drawn");
    assert_frame(&small, "80x24.txt");
    let large = frame(&model(), &Screen::new(false), 200, 60).expect("drawn");
    assert_frame(&large, "200x60.txt");
}

#[test]
fn the_members_stand_with_the_sick_ones_first_and_steer_no_terminal() {
    let mut screen = Screen::new(false);
    screen.view = View::Members;
    let shown = frame(&model(), &screen, 80, 24).expect("drawn");
    assert_frame(&shown, "members.txt");
    assert!(!shown.contains('\x1b'));
}

#[test]
fn no_size_is_too_small() {
    for (width, height) in [(1, 1), (10, 3), (40, 12), (500, 4)] {
        for (view, _) in View::ALL {
            let mut screen = Screen::new(true);
            screen.view = view;
            screen.show(vec!["text".into()]);
            frame(&model(), &screen, width, height).expect("drawn");
        }
    }
}

fn press(screen: &mut Screen, code: KeyCode) -> Asked {
    screen.on_key(KeyEvent::new(code, KeyModifiers::NONE), &model())
}

#[test]
fn keys_do_what_the_last_line_says() {
    let mut screen = Screen::new(false);
    press(&mut screen, KeyCode::Char('2'));
    assert_eq!(screen.view, View::Members);
    press(&mut screen, KeyCode::Char('/'));
    "build7".chars().for_each(|letter| {
        press(&mut screen, KeyCode::Char(letter));
    });
    assert_eq!(screen.prompt, Some(Prompt::Filter));
    press(&mut screen, KeyCode::Enter);
    assert_eq!(views::rows(&model(), &screen).len(), 1);
    press(&mut screen, KeyCode::Enter);
    let (lines, _) = screen.over.clone().expect("explained");
    assert!(lines.iter().any(|line| line.contains("some seconds to be heard")), "{lines:?}");
    press(&mut screen, KeyCode::Esc);
    press(&mut screen, KeyCode::Esc);
    assert!(screen.over.is_none() && screen.filter.is_empty());
    assert_eq!(press(&mut screen, KeyCode::Char('d')), Asked::Doctor);
    press(&mut screen, KeyCode::Char('x'));
    press(&mut screen, KeyCode::Char('t'));
    press(&mut screen, KeyCode::Char('a'));
    assert_eq!(press(&mut screen, KeyCode::Enter), Asked::Trace("a".into()));
    press(&mut screen, KeyCode::Esc);
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Asked::End);
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.on_key(ctrl_c, &model()), Asked::End);
}
