//! Messages of the list of members.

use bytes::Bytes;
use potluck_base::Signature;
use potluck_wire::{
    MemberRequest, MemberResponse, PartitionId, PeerHints, RecordVersion, SuspectMessage,
};

use super::{admission, contact, identity};

const VERSION: RecordVersion = RecordVersion { incarnation: 1 << 40, revision: 3 };
const PARTITION: PartitionId = PartitionId { hour: 500_000, least: 77 };

fn suspects() -> Vec<SuspectMessage> {
    vec![SuspectMessage { subject: identity(4).public_key(), version: VERSION }; 2]
}

pub(super) fn requests() -> [MemberRequest; 10] {
    let key = identity(4).public_key();
    [
        MemberRequest::Ping { mine: VERSION, suspected: Some(VERSION), partition: Some(PARTITION) },
        MemberRequest::PingReq { subject: contact(4), nonce: 1 << 50 },
        MemberRequest::Prove { asker: key, nonce: 9 },
        MemberRequest::Suspect { suspects: suspects() },
        MemberRequest::Tell { records: vec![admission::member_record(); 2] },
        MemberRequest::Compare { digests: Bytes::from(vec![0x5a; 64]) },
        MemberRequest::Load { members: vec![1, 1 << 40] },
        MemberRequest::Page { after: key },
        MemberRequest::Revoke { revocations: vec![admission::revocation()] },
        MemberRequest::Settings { settings: admission::settings() },
    ]
}

pub(super) fn responses() -> [MemberResponse; 5] {
    let helpers = vec![contact(5), contact(6)];
    [
        MemberResponse::Ack {
            mine: VERSION,
            hints: Some(PeerHints { partition: Some(PARTITION), helpers }),
        },
        MemberResponse::Proof { version: VERSION, signature: Signature::from_bytes([6; 64]) },
        MemberResponse::Differing { entries: vec![(7, 8), (1 << 40, 9)], buckets: 5 },
        MemberResponse::Records { records: vec![admission::member_record()], more: true },
        MemberResponse::Confirmed { suspects: suspects() },
    ]
}
