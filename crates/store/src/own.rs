//! Reads the heads of this node's own envelopes in the order of keys.

use potluck_base::Key;
use potluck_record::{Place, StorageReply};

use crate::backend::Backend;
use crate::rows;
use crate::txn::{Fault, Txn};

/// Most rows of one scan, whatever its limit. Raising it keeps the disk busy for longer at a time.
const OWN_ROWS_MAX: u32 = 1024;

/// The heads of up to `limit` own envelopes with keys from `from` on. A damaged row is left out; loading its
/// key reports it.
pub(crate) fn scan_own<B: Backend>(
    txn: &Txn<'_, B>,
    from: &Key,
    limit: u32,
) -> Result<StorageReply, Fault> {
    let limit = limit.clamp(1, OWN_ROWS_MAX) as usize;
    let mut heads = Vec::new();
    for (read, row) in txn.range(rows::own_rows_from(from)).enumerate() {
        let (row, value) = row?;
        if read == limit {
            return Ok(StorageReply::OwnHeads { heads, next: rows::own_key(&row) });
        }
        if let Some(envelope) = rows::decode_envelope(&row, Place::Own, &value) {
            heads.push(envelope.head().clone());
        }
    }
    Ok(StorageReply::OwnHeads { heads, next: None })
}
