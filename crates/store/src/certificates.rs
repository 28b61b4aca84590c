//! The certificates of writers: one row each, by its hash. The store does not interpret them. The core
//! decides which are kept, and so bounds their number.

use bytes::Bytes;
use potluck_record::{CertificateHash, StorageReply};

use crate::backend::Backend;
use crate::rows;
use crate::txn::{Fault, Txn};

/// Most rows of one scan, whatever its limit. Raising it keeps the disk busy for longer at a time.
const SCAN_MAX: u32 = 1024;

/// Stores and removes certificates.
pub(crate) fn keep<B: Backend>(
    txn: &mut Txn<'_, B>,
    keep: &[Bytes],
    drop: &[CertificateHash],
) -> StorageReply {
    for hash in drop {
        txn.delete(rows::certificate_row(hash));
    }
    for certificate in keep {
        txn.put(rows::certificate_row(&CertificateHash::of(certificate)), certificate.clone());
    }
    StorageReply::Certificates { certificates: Vec::new(), next: None }
}

/// Up to `limit` certificates after `after`, in the order of their hashes. A damaged one is left out, because
/// other holders have it too.
pub(crate) fn scan<B: Backend>(
    txn: &Txn<'_, B>,
    after: Option<&CertificateHash>,
    limit: u32,
) -> Result<StorageReply, Fault> {
    let limit = limit.clamp(1, SCAN_MAX) as usize;
    let mut certificates = Vec::new();
    let mut last = None;
    let rows = txn.range(rows::certificate_rows(after));
    let behind = |row: &[u8]| after.is_none_or(|after| row != rows::certificate_row(after));
    for row in rows {
        let (row, value) = row?;
        let Some(hash) = rows::certificate_hash(&row).filter(|_| behind(&row)) else { continue };
        if certificates.len() == limit {
            return Ok(StorageReply::Certificates { certificates, next: last });
        }
        last = Some(hash);
        if CertificateHash::of(&value) == hash {
            certificates.push(value);
        }
    }
    Ok(StorageReply::Certificates { certificates, next: None })
}

#[cfg(test)]
mod tests {
    use potluck_record::{StorageOp, StorageReply};

    use super::*;
    use crate::MemoryStore;

    fn pages(store: &mut MemoryStore, limit: u32) -> Vec<Vec<Bytes>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let replies = store.apply(&[StorageOp::ScanCertificates { after, limit }]);
            let [StorageReply::Certificates { certificates, next }] = &replies[..] else {
                panic!("{replies:?}")
            };
            pages.push(certificates.clone());
            match next {
                Some(next) => after = Some(*next),
                None => return pages,
            }
        }
    }

    #[test]
    fn certificates_are_kept_over_a_crash_until_they_are_dropped_and_come_in_pages() {
        let mut store = MemoryStore::in_memory();
        let all: Vec<Bytes> = (0..5).map(|number| Bytes::from(vec![number; 300])).collect();
        assert_eq!(pages(&mut store, 2), [Vec::<Bytes>::new()]);
        store.apply(&[StorageOp::KeepCertificates { keep: all.clone(), drop: Vec::new() }]);
        store.crash();
        let found = pages(&mut store, 2);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        let mut sorted = all.clone();
        sorted.sort_by_key(|bytes| CertificateHash::of(bytes));
        assert_eq!(found.concat(), sorted);
        let drop = vec![CertificateHash::of(&all[1]), CertificateHash::of(b"none")];
        store.apply(&[StorageOp::KeepCertificates { keep: vec![all[0].clone()], drop }]);
        assert_eq!(pages(&mut store, 1).concat().len(), 4);
        assert_eq!(pages(&mut store, 0).len(), 4, "a limit of none is one");
    }

    #[test]
    fn certificates_are_no_records() {
        let mut store = MemoryStore::in_memory();
        let keep = vec![Bytes::from_static(b"certificate")];
        store.apply(&[StorageOp::KeepCertificates { keep, drop: Vec::new() }]);
        assert_eq!((store.stats().records, store.stats().row_bytes), (0, 0));
        assert_eq!(store.forget_own(), Ok(0));
        assert_eq!(pages(&mut store, 9).concat().len(), 1);
    }
}
