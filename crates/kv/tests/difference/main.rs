//! Two nodes compare what they hold and bring each other up to date.

mod pair;

use std::time::Duration;

use pair::{Pair, Records, digest, peer, records, scattered};
use potluck_base::{Key, Machine as _, Rng};
use potluck_kv::{Input, Output, PeerRequest, ServeId};
use potluck_record::Prefix;
use potluck_wire::limits::MESSAGE_BYTES_MAX;
use potluck_wire::{Request, Response};

#[test]
fn nodes_that_agree_exchange_two_datagrams_in_an_interval() {
    let mut pair = scattered(3000, 0);
    pair.run(Duration::from_secs(600));
    let comparisons: u64 = [0, 1].iter().map(|index| pair.stats(*index).comparisons).sum();
    let equal: u64 = [0, 1].iter().map(|index| pair.stats(*index).comparisons_equal).sum();
    assert!((16..=32).contains(&comparisons), "{comparisons} comparisons in ten minutes");
    assert_eq!(comparisons, equal);
    assert_eq!(pair.messages as u64, 2 * comparisons);
    assert!(pair.bytes < 10 * 1024, "{} bytes", pair.bytes);
}

#[test]
fn scattered_differences_are_found_at_a_cost_that_follows_them() {
    for (count, differences, most) in
        [(20_000, 1, 8_000), (20_000, 100, 60_000), (300, 300, 60_000), (0, 0, 2_000)]
    {
        let mut pair = scattered(count, differences);
        pair.run(Duration::from_secs(180));
        assert!(pair.agree(), "{differences} of {count} records");
        assert!(pair.bytes <= most + 3000, "{differences} of {count}: {} bytes", pair.bytes);
    }
}

#[test]
fn a_node_that_lost_a_range_or_everything_gets_it_back() {
    let mut rng = Rng::from_number(1);
    let all = records(20_000, &mut rng);
    let lost = Prefix::from_bits(0x5000_0000_0000_0000, 4);
    let rest: Records =
        all.iter().filter(|(key, _)| !lost.contains(key)).map(|(key, it)| (*key, *it)).collect();
    for left in [rest, Records::new()] {
        for turned in [false, true] {
            let sides =
                if turned { [all.clone(), left.clone()] } else { [left.clone(), all.clone()] };
            let missing = all.len() - left.len();
            let mut pair = Pair::new(sides);
            pair.run(Duration::from_secs(300));
            assert!(pair.agree(), "{missing} records");
            assert!(pair.bytes <= missing * 90 + 20_000, "{missing} records: {}", pair.bytes);
        }
    }
}

#[test]
fn a_sum_that_was_made_to_agree_hides_a_difference_for_a_few_comparisons_only() {
    let mut rng = Rng::from_number(3);
    let both = records(1000, &mut rng);
    let keys: Vec<Key> = both.keys().copied().collect();
    let mut pair = Pair::new([both.clone(), both]);
    // Two keys beside each other whose digests add up to what they were.
    let (one, other) = (keys[500], keys[501]);
    let shift = digest(&mut rng);
    let moved = |pair: &Pair, key: &Key, up: bool| {
        let held = pair.sides[0].held[key];
        Some(if up { held.plus(shift) } else { held.minus(shift) })
    };
    let (first, second) = (moved(&pair, &one, true), moved(&pair, &other, false));
    pair.change(1, one, first);
    pair.change(1, other, second);
    pair.run(Duration::from_secs(3600));
    assert!(pair.agree(), "found in an hour");
}

#[test]
fn a_difference_that_cannot_be_mended_is_compared_ever_more_rarely() {
    let mut rng = Rng::from_number(4);
    let mut pair = Pair::new([records(100, &mut rng), Records::new()]);
    pair.forgetful = Some(1);
    let mut counts = Vec::new();
    for _ in 0..30 {
        pair.run(Duration::from_secs(600));
        counts.push(pair.stats(0).comparisons + pair.stats(1).comparisons);
    }
    let (early, late) = (counts[0], counts[29] - counts[25]);
    assert!(early >= 4 && late <= 2 * 4, "{counts:?}");
    pair.forgetful = None;
    pair.run(Duration::from_secs(2 * 3600));
    assert!(pair.agree(), "it is tried at least once in an hour or so");
}

#[test]
fn a_node_that_was_away_during_many_changes_reads_them_from_the_other_ones_order() {
    let mut rng = Rng::from_number(5);
    let both = records(20_000, &mut rng);
    let mut pair = Pair::new([both.clone(), both]);
    pair.run(Duration::from_secs(200));
    pair.connected = false;
    for number in 0..2000 {
        pair.write(0, number);
    }
    // Longer than offers are repeated.
    pair.run(Duration::from_secs(90));
    assert_eq!(pair.sides[0].held.len() - pair.sides[1].held.len(), 2000);
    let before = pair.bytes;
    pair.connected = true;
    pair.run(Duration::from_secs(600));
    assert!(pair.agree());
    let (bytes, read) = (pair.bytes - before, pair.stats(1).changes_read);
    assert!(read >= 2000, "{read} changes read");
    assert!(bytes < 2000 * 130, "{bytes} bytes for 2,000 changes");
}

#[test]
fn nobody_but_the_close_group_is_told_what_a_node_holds() {
    let mut pair = scattered(10, 0);
    pair.run(Duration::from_secs(120));
    let stranger = peer(9);
    let compare = potluck_wire::Compare {
        session: potluck_record::SessionKey([1; 16]),
        level: potluck_wire::Level::Keys,
        prefixes: vec![Prefix::ALL],
        ids: Vec::new(),
        bucket: None,
    };
    let request = PeerRequest {
        from: stranger,
        request: Request::Fingerprints(compare),
        contacts: Vec::new(),
        proven: true,
        budget: MESSAGE_BYTES_MAX,
    };
    let side = &mut pair.sides[0];
    side.kv.handle(pair.now, Input::PeerRequest { serve: ServeId(77), request });
    let answer = side.kv.poll_output();
    assert!(
        matches!(&answer, Some(Output::Respond { response: Response::Refused { .. }, .. })),
        "{answer:?}"
    );
}
