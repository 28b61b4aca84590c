//! The doors of a replica: what a member that deviates is refused, and what it could do without each defence.

use bytes::Bytes;
use potluck_base::{Defences, Identity, Key};
use potluck_kv::{Config, Input};
use potluck_record::{Draft, Envelope, Kind, Name, Space, StateDigest};

use crate::holder::{holder_with, offer};
use crate::samples::{WALL, config, dot, key, network, page, peer, store};
use crate::script::{
    Given::{Asked, Other, Page, Scans},
    Script, step,
};

pub(crate) fn without(change: impl FnOnce(&mut Defences)) -> Config {
    let mut config = config();
    change(&mut config.defences);
    config
}

/// Envelopes of this many further writers, in the order of their keys.
fn strangers(count: u32) -> Vec<Envelope> {
    let sign = |number: u32| {
        let mut seed = [0xee; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let (at, expires) = (dot(WALL), WALL.plus(std::time::Duration::from_secs(3600)));
        let draft = Draft {
            space: Space::Commons,
            name: Name::new("a").ok(),
            kind: Kind::Siblings,
            values: vec![(at, expires, Bytes::from_static(b"mine"))],
            dot: at,
            context: potluck_record::Context::new(),
            expires,
            certificate: None,
        };
        Envelope::sign(&Identity::from_seed(seed), &network(), draft).expect("a good envelope")
    };
    let mut all: Vec<Envelope> = (0..count).map(sign).collect();
    all.sort_by_key(|envelope| *envelope.head().writer().as_bytes());
    all
}

/// Pages of one envelope that a node takes of one offered key before it asks no further.
fn pages_taken(script: &mut Script, pages: &[Envelope]) -> usize {
    let digest = StateDigest::from_bytes([9; 16]);
    script.give(Asked(1, offer(&[(key(), digest)])));
    script.give(Scans(vec![]));
    for (taken, envelope) in pages.iter().enumerate() {
        let did = script.give(Page(1, page(std::slice::from_ref(envelope), 0)));
        if !did.iter().any(|text| text == "call 1 for the next page") {
            return taken + 1;
        }
    }
    pages.len()
}

#[test]
fn an_offer_of_one_key_ends_after_128_pages() {
    let pages = strangers(140);
    let mut script = holder_with(config());
    assert_eq!(pages_taken(&mut script, &pages), 128);
    let stats = script.kv.stats();
    assert_eq!((stats.pulls_over_budget, stats.pulls_waiting), (1, 0));
    let mut script = holder_with(without(|on| on.pull_budget = false));
    assert_eq!(pages_taken(&mut script, &pages), 140, "without the budget it goes on");
}

#[test]
fn a_pull_ends_where_the_offered_digest_is_reached() {
    let all = strangers(3);
    let two = all[0].head();
    let digest = StateDigest::EMPTY.with(two).with(all[1].head());
    let mut script = holder_with(config());
    script.give(Asked(1, offer(&[(key(), digest)])));
    script.give(Scans(vec![]));
    script.give(Page(1, page(&all[..1], 0)));
    // The source says that there is more, but this is all that it had offered.
    script.play([step("all of it", Page(1, page(&all[1..2], 0)), &["merge replica: mine"])]);
    assert_eq!((script.kv.stats().keys_pulled, script.kv.stats().pulls_over_budget), (1, 0));
}

fn far_key() -> (Key, Envelope) {
    // A name whose key is not near this node: six of the eight others are closer to it.
    let nearer = |key: &Key| {
        let mine = peer(0).distance(key);
        (1..=8).filter(|place| peer(*place).distance(key) < mine).count()
    };
    (0..1000)
        .map(|number: u32| Name::new(format!("far {number}")).expect("a name"))
        .map(|name| (Space::Commons.key(&name).expect("a key"), name))
        .find(|(key, _)| nearer(key) >= 7)
        .map(|(key, name)| {
            let envelope = crate::samples::envelope(1, "far", |draft| draft.name = Some(name));
            (key, envelope)
        })
        .expect("there is one")
}

#[test]
fn a_node_that_is_far_from_a_key_keeps_no_record_under_it() {
    let (_, envelope) = far_key();
    let near = crate::samples::value(1, "near");
    let script = |config: Config| {
        let mut script = Script::with(true, Config { close_group_size: 4, ..config });
        script.give(Other(Input::CloseGroup((1..=8).map(peer).collect())));
        script
    };
    let mut guarded = script(config());
    guarded.play([
        step(
            "far",
            Asked(1, store(std::slice::from_ref(&envelope))),
            &["respond not responsible for this key"],
        ),
        step("near", Asked(1, store(&[near])), &["merge replica: near"]),
    ]);
    assert_eq!(guarded.kv.stats().refused_not_near, 1);
    let mut open = script(without(|on| on.store_only_near = false));
    open.play([step("far", Asked(1, store(&[envelope])), &["merge replica: far"])]);
}
