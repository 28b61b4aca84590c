//! Sources that send single bytes at long intervals, and no granule.

use super::*;

/// The time of a fetch of 20 MB from two honest nodes and `evil` ones, which all come before the honest ones
/// in the order of keys.
fn time_beside(mut net: Net, evil: &[Option<u64>]) -> (f64, Net) {
    for (number, drips_after) in (1..).zip(evil) {
        net.peer(number, 100.0 * MIB).drips_after = *drips_after;
    }
    for number in [901, 902] {
        net.peer(number, 15.0 * MIB);
    }
    net.begin();
    let seconds = net.run(ms(120_000));
    (seconds, net)
}

const SIZE: u64 = 20_000_000;

#[test]
fn sources_that_drip_do_not_hold_up_a_fetch() {
    let (control, _) = time_beside(Net::new(SIZE), &[]);
    for (evil, most) in [
        (vec![Some(0)], 2.0),
        (vec![Some(1)], 2.0),
        (vec![Some(5)], 2.0),
        (vec![Some(100)], 2.0),
        (vec![Some(0); 4], 4.0),
        (vec![Some(0), Some(1), Some(2), Some(3), Some(9)], 5.0),
    ] {
        let (seconds, net) = time_beside(Net::new(SIZE), &evil);
        assert!(net.have.is_full(), "{evil:?}");
        assert!(seconds < control * most, "{evil:?}: {seconds} s beside {control} s");
        let twice = net.report().duplicate_bytes;
        assert!(twice < SIZE / 5, "{evil:?}: {twice} bytes came twice");
    }
}

#[test]
fn sources_that_drip_may_be_many_and_take_all_places() {
    let (seconds, net) = time_beside(Net::new(SIZE), &[Some(0); 60]);
    assert!(net.have.is_full() && seconds < 30.0, "{seconds} s");
    // If only silence counted, four such sources would block a fetch for ever.
    let (seconds, net) = time_beside(Net::unpaced(SIZE), &[Some(0); 60]);
    assert!(!net.have.is_full() && seconds >= 120.0, "{seconds} s");
}

#[test]
fn a_source_that_drips_is_replaced_by_one_that_claims_another_size() {
    let mut net = Net::new(SIZE);
    let evil = net.peer(1, 100.0 * MIB);
    evil.size = SIZE * 2;
    evil.have = GranuleSet::full(Division::of(SIZE * 2).unwrap().count());
    evil.drips_after = Some(0);
    net.peer(901, 15.0 * MIB);
    net.begin();
    let seconds = net.run(ms(120_000));
    assert!(net.have.is_full() && seconds < 10.0, "{seconds} s");
}

#[test]
fn slow_sources_are_kept_where_they_are_as_the_others() {
    // Sources that take five seconds for a granule, and one that is five times as fast as each of them.
    let size = 256 << 20;
    let mut net = Net::new(size);
    let rate = net.division.granule_bytes() as f64 / 5.0;
    net.peer(1, 5.0 * rate);
    (2..=12).for_each(|number| {
        net.peer(number, rate);
    });
    net.begin();
    let seconds = net.run(ms(3_600_000));
    let possible = size as f64 / (16.0 * rate);
    assert!(net.have.is_full() && seconds < possible * 1.1, "{seconds} s, {possible} s possible");
    // More sources than may be asked at once.
    let mut net = Net::new(size);
    (1..=20).for_each(|number| {
        net.peer(number, rate);
    });
    net.begin();
    let seconds = net.run(ms(3_600_000));
    let possible = size as f64 / (16.0 * rate);
    assert!(net.have.is_full() && seconds < possible * 1.2, "{seconds} s, {possible} s possible");
    // Until the first granule shows a usual rate, each source is tried for two seconds.
    assert!(net.report().slow_sources <= 24, "{:?}", net.report());
}

#[test]
fn the_only_source_is_waited_for_as_long_as_it_sends() {
    let mut net = Net::new(1 << 20);
    net.peer(1, 10_000.0);
    net.begin();
    let seconds = net.run(ms(600_000));
    assert!(net.have.is_full() && seconds < 120.0, "{seconds} s");
    assert_eq!(net.report().slow_sources, 0);
}

#[test]
fn what_sent_false_bytes_is_asked_by_no_fetch_for_a_while() {
    let mut net = Net::new(SIZE);
    net.peer(1, 100.0 * MIB).corrupt_every = Some(1);
    net.peer(901, 15.0 * MIB);
    net.begin();
    net.run(ms(60_000));
    assert_eq!(net.report().corrupt_sources, 1);
    let sent = net.peers[&1].sent;
    let again = |net: &mut Net| {
        net.input(Input::Released { blob: BlobId::of(b"blob") });
        (net.ended, net.have) = (None, GranuleSet::empty(net.division.count()));
        net.begin();
        net.run(ms(60_000));
        assert!(net.have.is_full());
    };
    again(&mut net);
    assert_eq!(net.peers[&1].sent, sent);
    net.now += ms(200_000);
    again(&mut net);
    assert_eq!(net.peers[&1].sent, sent + 1);
}

#[test]
fn sources_that_say_they_have_what_they_do_not_give_cost_little() {
    let (control, _) = time_beside(Net::new(SIZE), &[]);
    let mut net = Net::new(SIZE);
    for number in 1..=20 {
        net.peer(number, 100.0 * MIB).ends_streams = true;
    }
    for number in [901, 902] {
        net.peer(number, 15.0 * MIB);
    }
    net.begin();
    let seconds = net.run(ms(120_000));
    assert!(net.have.is_full() && seconds < control * 2.0, "{seconds} s beside {control} s");
    let asked: u64 = (1..=20).map(|number| net.peers[&number].sent).sum();
    assert!(asked <= 20 * 4 * 16, "{asked} streams in vain");
}
