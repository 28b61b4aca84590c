//! Sources that have lost shared blobs, and the names that holders give.

use super::*;
use crate::command::Gone;
use potluck_wire::Hint;

#[test]
fn a_source_without_the_blob_is_believed_at_once_if_it_is_the_only_one() {
    for (reason, error, at_most) in [
        (Refusal::Changed, FetchError::Changed, 0.1),
        (Refusal::Unshared, FetchError::Unshared, 0.1),
        (Refusal::Unreadable, FetchError::Unreadable, 0.1),
        // The source may have only just started, so it is asked once more.
        (Refusal::NotHeld, FetchError::Unshared, 2.0),
    ] {
        let mut net = Net::new(64 << 20);
        net.peer(1, MIB).refuses = Some(reason);
        net.begin();
        let seconds = net.run(ms(60_000));
        assert_eq!(net.ended, Some(Err(error)));
        assert!(seconds <= at_most, "{reason:?}: {seconds} s");
    }
}

#[test]
fn what_one_source_lost_comes_from_another() {
    let mut net = Net::new(64 << 20);
    net.peer(1, MIB).refuses = Some(Refusal::Changed);
    net.peer(2, 20.0 * MIB);
    net.begin();
    net.run(ms(60_000));
    assert!(matches!(net.ended, Some(Ok(_))), "{:?}", net.ended);
}

#[test]
fn a_source_that_lost_a_part_gives_the_rest_and_then_it_ends() {
    let mut net = Net::new(64 << 20);
    let count = net.division.count();
    let peer = net.peer(1, 50.0 * MIB);
    peer.lost = Some(Refusal::Changed);
    // Including the last granule: the size is known from the manifest.
    for granule in [3, 4, count - 1] {
        peer.have.remove(granule);
    }
    // Other nodes fetch the blob too, and cannot have more than this one.
    net.peer(2, 50.0 * MIB).have = GranuleSet::empty(count);
    let blob = BlobId::of(b"blob");
    let size = Some(net.division.size());
    let begin = Begin { fetch: FETCH, blob, root: blob, sources: Vec::new(), size };
    net.input(Input::Begin(begin));
    let seconds = net.run(ms(60_000));
    assert_eq!(net.ended, Some(Err(FetchError::Changed)));
    assert_eq!(net.have.count(), count - 3);
    assert!(seconds < 5.0, "{seconds} s");
}

#[test]
fn a_source_that_finds_out_in_the_middle_is_asked_what_is_left() {
    let mut net = Net::new(64 << 20);
    let count = net.division.count();
    net.peer(1, 20.0 * MIB);
    net.begin();
    net.run(ms(500));
    // From now on it knows that the blob is lost; its streams end one after the other.
    let peer = net.peers.get_mut(&1).unwrap();
    peer.lost = Some(Refusal::Changed);
    let lost: Vec<u32> =
        (0..count).filter(|granule| !net.have.contains(*granule)).step_by(9).collect();
    for granule in &lost {
        peer.have.remove(*granule);
    }
    let streams: Vec<TransferId> = net.pipes.keys().copied().collect();
    assert!(!streams.is_empty());
    for transfer in streams {
        net.pipes.remove(&transfer);
        net.input(Input::Ended { transfer, end: TransferEnd::Gone(Gone::Changed) });
    }
    let seconds = net.run(ms(60_000));
    assert_eq!(net.ended, Some(Err(FetchError::Changed)));
    assert_eq!(net.have.missing().collect::<Vec<_>>(), lost);
    assert!(seconds < 10.0, "{seconds} s");
}

#[test]
fn a_node_tells_what_it_lost_and_why_until_it_has_it_again() {
    let mut net = Net::new(64 << 20);
    let blob = BlobId::of(b"dish");
    let size = 8 * 65_536;
    let ask = |net: &mut Net| {
        let (serve, from, budget) = (ServeId(1), contact(5), 1000);
        net.swarm.handle(net.now, Input::AskedHave { serve, from, blob, budget });
        let mut outputs = std::iter::from_fn(|| net.swarm.poll_output());
        outputs.find_map(|output| match output {
            Output::Holding { answer, .. } => Some(answer),
            _ => None,
        })
    };
    let hint = Hint { name: Some("dish".to_owned()), mtime: Some(5), mode: None };
    net.input(Input::Held { blob, size, announce: false });
    net.input(Input::Named { blob, hint: hint.clone() });
    let holding = ask(&mut net).unwrap().unwrap();
    assert_eq!((holding.granules, holding.hint, holding.lost), (None, Some(hint), None));
    let mut part = GranuleSet::empty(8);
    part.insert(1);
    net.input(Input::Lost { blob, granules: Some(part), why: Gone::Changed });
    let holding = ask(&mut net).unwrap().unwrap();
    let left = Bytes::from_static(&[0b1111_1101]);
    assert_eq!((holding.granules, holding.lost), (Some(left), Some(Refusal::Changed)));
    net.input(Input::Lost { blob, granules: None, why: Gone::Unshared });
    assert_eq!(ask(&mut net), Some(Err(Refusal::Unshared)));
    net.input(Input::Held { blob, size, announce: false });
    assert!(ask(&mut net).unwrap().is_ok_and(|holding| holding.granules.is_none()));
}
