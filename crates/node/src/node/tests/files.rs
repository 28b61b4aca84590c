use std::time::Duration;

use potluck_base::{BlobId, Division, GranuleSet};
use potluck_swarm::{Begin, FetchError, FetchId, Input, Output, TransferEnd};

use super::table::Table;

const SIZE: u64 = 200_000;

pub(super) fn held(blob: BlobId) -> Input {
    Input::Held { blob, size: SIZE, announce: true }
}

pub(super) fn begin(fetch: u64, blob: BlobId) -> Input {
    let fetch = FetchId(fetch);
    Input::Begin(Begin { fetch, blob, root: blob, sources: Vec::new(), size: None })
}

/// Does at once whatever a node wants done with files; gives whom it took granules from, and how
/// its fetches ended.
pub(super) fn serve_all(
    table: &mut Table,
    index: usize,
) -> (Vec<usize>, Vec<Result<(), FetchError>>) {
    let (mut from_whom, mut ended) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        for output in table.files(index) {
            match output {
                Output::Open { fetch, size, .. } => {
                    let have = GranuleSet::empty(Division::of(size).unwrap().count());
                    table.tell(index, Input::Opened { fetch, have });
                }
                Output::Transfer { transfer, from, granules, .. } => {
                    let source = (0..20).find(|seat| table.contact(*seat) == from).unwrap();
                    from_whom.push(source);
                    for granule in granules {
                        table.tell(index, Input::Granule { transfer, granule });
                    }
                    table.tell(index, Input::Ended { transfer, end: TransferEnd::Done });
                }
                Output::Completed { .. } => ended.push(Ok(())),
                Output::Failed { error, .. } => ended.push(Err(error)),
                _ => {}
            }
        }
        table.run(Duration::from_millis(200));
    }
    (from_whom, ended)
}

#[test]
fn a_fetch_finds_who_provides_and_becomes_a_provider() {
    let mut table = Table::joined(12);
    let blob = BlobId::of(b"dish");
    table.tell(3, held(blob));
    table.run(Duration::from_secs(2));
    table.tell(7, begin(1, blob));
    let (from, ended) = serve_all(&mut table, 7);
    assert_eq!(ended, [Ok(())]);
    assert!(!from.is_empty() && from.iter().all(|seat| *seat == 3), "{from:?}");
    table.kill(3);
    table.run(Duration::from_secs(30));
    table.tell(9, begin(1, blob));
    let (from, ended) = serve_all(&mut table, 9);
    assert_eq!(ended, [Ok(())], "the first who fetched it gives it on");
    assert!(from.iter().all(|seat| *seat == 7), "{from:?}");
}

#[test]
fn what_nobody_provides_is_not_found() {
    let mut table = Table::joined(5);
    table.tell(2, begin(1, BlobId::of(b"nothing")));
    let (from, ended) = serve_all(&mut table, 2);
    assert_eq!((from.len(), ended), (0, vec![Err(FetchError::Unknown)]));
}

#[test]
fn what_is_released_is_not_given_any_more() {
    let mut table = Table::joined(5);
    let blob = BlobId::of(b"dish");
    table.tell(1, held(blob));
    table.run(Duration::from_secs(2));
    table.tell(1, Input::Released { blob });
    table.tell(2, begin(1, blob));
    let (from, ended) = serve_all(&mut table, 2);
    assert_eq!((from.len(), ended), (0, vec![Err(FetchError::Unshared)]));
}
