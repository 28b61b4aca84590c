//! The index of names: the records held as replica in the order of their names, so that a page of a listing
//! reads only the rows on it.
//!
//! The row of a name is written with the first envelope of its key and removed with the last. A row can
//! outlive its record, because a damaged envelope has no readable name; it is removed when a listing reads
//! it.

use bytes::Bytes;
use potluck_base::UnixMillis;
use potluck_record::{
    Envelope, NAMES_PAGE_MAX, Name, NamedState, NamesQuery, Place, SignedHead, Space, State,
    StorageReply,
};

use crate::backend::{Backend, BackendError, Changes, Durability};
use crate::mend::is_damage;
use crate::records::load;
use crate::rows;
use crate::txn::{Fault, Txn};

/// Bytes of envelopes that are read for one page. A page of large records ends early, so that it occupies the
/// store for about as long as a page of small records. Raising it allows larger pages.
const PAGE_BYTES_READ_MAX: u64 = 2 << 20;
/// Envelopes that are read for one commit while the index is built. Raising it makes fewer commits and takes
/// more memory.
const BUILT_AT_ONCE: usize = 4096;

/// Adds the name of a record of which this is the first envelope.
pub(crate) fn add<B: Backend>(txn: &mut Txn<'_, B>, head: &SignedHead) {
    if let Some(row) = rows::name_row(head) {
        txn.put(row, Bytes::new());
    }
}

/// Removes the name of a record whose last envelope is removed.
pub(crate) fn remove<B: Backend>(txn: &mut Txn<'_, B>, head: &SignedHead) {
    if let Some(row) = rows::name_row(head) {
        txn.delete(row);
    }
}

/// One page of names.
pub(crate) fn page<B: Backend>(
    txn: &mut Txn<'_, B>,
    query: &NamesQuery,
    now: UnixMillis,
) -> Result<StorageReply, Fault> {
    let limit = query.limit.clamp(1, NAMES_PAGE_MAX) as usize;
    let Some(space) = rows::names_of(&query.space) else {
        return Ok(StorageReply::Names { entries: Vec::new(), next: None });
    };
    let (names, mut more) = names(txn, &space, query, limit)?;
    let (mut entries, mut last, mut read) = (Vec::new(), None, 0);
    for (row, name) in names {
        if read >= PAGE_BYTES_READ_MAX {
            more = true;
            break;
        }
        let envelopes = envelopes(txn, &query.space, &name)?;
        last = Some(name.clone());
        if envelopes.is_empty() {
            txn.delete(row);
            continue;
        }
        read += envelopes.iter().map(|envelope| envelope.encoded_len() as u64).sum::<u64>();
        let state: State = envelopes.into_iter().collect();
        entries.extend(NamedState::of(name, &state, now));
    }
    Ok(StorageReply::Names { entries, next: last.filter(|_| more) })
}

/// The rows of up to `limit` names that match the query, and whether there may be more.
#[expect(clippy::type_complexity, reason = "a row and the name in it")]
fn names<B: Backend>(
    txn: &Txn<'_, B>,
    space: &[u8],
    query: &NamesQuery,
    limit: usize,
) -> Result<(Vec<(Vec<u8>, Name)>, bool), Fault> {
    let first = query.after.as_deref().unwrap_or_default().max(&query.prefix);
    let rows = [space, first.as_bytes()].concat()..=[space, &[0xff]].concat();
    let mut found = Vec::new();
    for row in txn.range(rows) {
        let row = row?.0;
        // A row that is not a valid name was never written by this code. The page ends before it.
        let text = row.get(space.len()..).and_then(|name| std::str::from_utf8(name).ok());
        let name = text.filter(|name| name.starts_with(&*query.prefix));
        let name = name.filter(|name| query.until.as_deref().is_none_or(|until| *name <= until));
        let Some(name) = name.and_then(|name| Name::new(name).ok()) else { break };
        if query.after.as_deref() == Some(name.as_str()) {
            continue;
        }
        if found.len() == limit {
            return Ok((found, true));
        }
        found.push((row.to_vec(), name));
    }
    Ok((found, false))
}

/// The readable envelopes of a name.
fn envelopes<B: Backend>(
    txn: &mut Txn<'_, B>,
    space: &Space,
    name: &Name,
) -> Result<Vec<Envelope>, Fault> {
    let Some(key) = space.key(name) else { return Ok(Vec::new()) };
    let loaded = match load(txn, &key, Place::Replica) {
        // The summary is mended now, so a second read returns the remaining envelopes as the state of this
        // node.
        Err(fault) if is_damage(&fault) => {
            txn.corrupt_rows += 1;
            load(txn, &key, Place::Replica)?
        }
        loaded => loaded?,
    };
    let StorageReply::Loaded { envelopes } = loaded else { return Ok(Vec::new()) };
    Ok(envelopes)
}

/// Builds the index from all records, for a folder of a version that had no index. After a crash it is built
/// again.
pub(crate) fn build<B: Backend>(backend: &mut B) -> Result<(), BackendError> {
    let (mut from, to) = rows::replica_rows().into_inner();
    loop {
        let (mut names, mut read) = (Changes::new(), 0);
        let mut last = None;
        for row in backend.range(&from, &to).take(BUILT_AT_ONCE) {
            let (row, value) = row?;
            read += 1;
            // A damaged envelope has no readable name. It is repaired like a missing one.
            if let Some(envelope) = rows::decode_envelope(&row, Place::Replica, &value)
                && let Some(name) = rows::name_row(envelope.head())
            {
                names.insert(name, Some(Bytes::new()));
            }
            last = Some(row);
        }
        if !names.is_empty() {
            backend.commit(names, Durability::Buffered)?;
        }
        let Some(last) = last.filter(|_| read == BUILT_AT_ONCE) else { return backend.sync() };
        from = [&last, [0].as_slice()].concat();
    }
}

#[cfg(test)]
mod tests;
