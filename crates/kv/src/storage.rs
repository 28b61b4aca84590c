//! What a reply of the store means to the operation that asked for it.

use potluck_record::{Envelope, Merged, StorageFailure, StorageReply};
use potluck_wire::{Refusal, StoreOutcome};

/// The envelopes in the reply to a load. A reply to another operation, which the store does not send,
/// says nothing of what is stored, so it counts as a failure and not as an absent record.
pub(crate) fn envelopes(reply: StorageReply) -> Result<Vec<Envelope>, StorageFailure> {
    match reply {
        StorageReply::Loaded { envelopes } => Ok(envelopes),
        StorageReply::Failed(failure) => Err(failure),
        StorageReply::Merged { .. }
        | StorageReply::TooManyWriters
        | StorageReply::Scanned { .. }
        | StorageReply::Names { .. }
        | StorageReply::Fingerprint { .. }
        | StorageReply::OwnHeads { .. }
        | StorageReply::Fingerprints(_)
        | StorageReply::Indexed { .. }
        | StorageReply::Certificates { .. }
        | StorageReply::Kept
        | StorageReply::Expired { .. }
        | StorageReply::Removed => Err(StorageFailure::Stopped),
    }
}

/// The outcome of a merge into this node's replica, as its writer is told.
pub(crate) fn outcome(reply: &StorageReply) -> StoreOutcome {
    match *reply {
        StorageReply::Merged { outcome, digest } => match outcome {
            Merged::Older(held) | Merged::Forked(held) => StoreOutcome::Older { digest, held },
            Merged::New | Merged::Newer | Merged::Equal => StoreOutcome::Stored(digest),
        },
        StorageReply::TooManyWriters => StoreOutcome::Refused(Refusal::TooManyWriters),
        StorageReply::Failed(StorageFailure::Full) => StoreOutcome::Refused(Refusal::Full),
        StorageReply::Failed(StorageFailure::Quota) => StoreOutcome::Refused(Refusal::Quota),
        // It takes a minute, and another node may keep the record meanwhile.
        StorageReply::Failed(StorageFailure::Healing) => StoreOutcome::Refused(Refusal::Busy),
        StorageReply::Failed(StorageFailure::Stopped | StorageFailure::Corrupt)
        | StorageReply::Loaded { .. }
        | StorageReply::Scanned { .. }
        | StorageReply::Names { .. }
        | StorageReply::Fingerprint { .. }
        | StorageReply::OwnHeads { .. }
        | StorageReply::Fingerprints(_)
        | StorageReply::Indexed { .. }
        | StorageReply::Certificates { .. }
        | StorageReply::Kept
        | StorageReply::Expired { .. }
        | StorageReply::Removed => StoreOutcome::Refused(Refusal::Stopped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_to_another_operation_is_a_failure_and_no_absence() {
        let loaded = StorageReply::Loaded { envelopes: Vec::new() };
        assert_eq!(envelopes(loaded.clone()), Ok(Vec::new()));
        for reply in [StorageReply::Removed, StorageReply::TooManyWriters] {
            assert_eq!(envelopes(reply), Err(StorageFailure::Stopped));
        }
        for reply in [loaded, StorageReply::Removed] {
            assert_eq!(outcome(&reply), StoreOutcome::Refused(Refusal::Stopped));
        }
    }
}
