//! An operation on a counter, set or map that a replica carries out for the asking node, because the record
//! has no place for a further writer.

use bytes::Bytes;
use minicbor::{Decode, Encode};

/// Carry out this operation as your own. If no answer arrives, the request is repeated with the same number;
/// the operation is carried out once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Apply {
    /// Chosen by the asking node, one for each operation; it grows, also over restarts.
    #[n(0)]
    pub number: u64,
    /// Whether the asking node has sent it to this node before.
    #[n(1)]
    pub again: bool,
    /// The record's name in space `commons`.
    #[cbor(n(2), with = "cbor_record_name")]
    pub name: String,
    /// The encoded operation.
    #[cbor(n(3), with = "cbor_operation")]
    pub operation: Bytes,
}

/// The outcome of an operation. A replica that did not begin to carry it out answers with a refusal instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Applied {
    /// The operation is durable at enough replicas.
    #[n(0)]
    Done {
        /// The version of the share that contains it.
        #[n(0)]
        version: u64,
        /// The number of replicas that acknowledged it.
        #[n(1)]
        acks: u16,
        /// The number of replicas that it was sent to.
        #[n(2)]
        wanted: u16,
        /// When the share expires, in milliseconds since 1970.
        #[n(3)]
        expires_ms: u64,
    },
    /// There is no record to remove from. Nothing changed.
    #[n(1)]
    Absent,
    /// The record is of another kind. Nothing changed.
    #[n(2)]
    OtherKind {
        /// The number of the kind.
        #[n(0)]
        kind: u8,
    },
    /// Too few replicas acknowledged, or the replica does not know whether it carried the operation out
    /// before it was restarted. It may take effect.
    #[n(3)]
    Unclear,
}

mod cbor_record_name {
    //! A record's name as a text.
    use crate::codec::Written;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};
    use potluck_record::limits::NAME_BYTES_MAX;

    pub(super) fn encode<C, W: Write>(name: &str, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.str(name)?;
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<String, minicbor::decode::Error> {
        let name = d.str()?;
        if (1..=NAME_BYTES_MAX).contains(&name.len()) {
            Ok(name.to_owned())
        } else {
            Err(minicbor::decode::Error::message("length of a name"))
        }
    }
}

mod cbor_operation {
    //! An encoded operation within the limit.
    use super::Bytes;
    use crate::codec::Written;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};
    use potluck_record::limits::OPERATION_BYTES_MAX;

    pub(super) fn encode<C, W: Write>(bytes: &Bytes, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.bytes(bytes)?;
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Bytes, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        if bytes.len() > OPERATION_BYTES_MAX {
            return Err(minicbor::decode::Error::message("operation over its limit"));
        }
        Ok(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use potluck_record::limits::{NAME_BYTES_MAX, OPERATION_BYTES_MAX};

    use super::*;
    use crate::{
        DecodeError, Request, Response, decode_request, decode_response, encode_request,
        encode_response,
    };

    fn apply(name: usize, operation: usize) -> Request {
        Request::Apply(Apply {
            number: 9,
            again: true,
            name: "n".repeat(name),
            operation: vec![1; operation].into(),
        })
    }

    /// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
    #[test]
    fn the_bytes_of_an_operation_for_a_replica_are_frozen() {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let request = apply(1, 2);
        assert_eq!(hex(&encode_request(&request)), "02821081a4000901f502616e03420101");
        assert_eq!(decode_request(&encode_request(&request)), Ok(request));
        for (applied, expected) in [
            (
                Applied::Done { version: 5, acks: 3, wanted: 16, expires_ms: 7 },
                "02820e81820084050310 07",
            ),
            (Applied::Absent, "02820e81820180"),
            (Applied::OtherKind { kind: 3 }, "02820e8182028103"),
            (Applied::Unclear, "02820e81820380"),
        ] {
            let response = Response::Applied(applied);
            assert_eq!(hex(&encode_response(&response)), expected.replace(' ', ""));
            assert_eq!(decode_response(&encode_response(&response)), Ok(response));
        }
    }

    #[test]
    fn a_name_or_operation_over_its_limit_is_no_message() {
        let read = |name, operation| decode_request(&encode_request(&apply(name, operation)));
        assert!(read(NAME_BYTES_MAX, OPERATION_BYTES_MAX).is_ok());
        assert_eq!(read(NAME_BYTES_MAX + 1, 1), Err(DecodeError::Malformed));
        assert_eq!(read(0, 1), Err(DecodeError::Malformed));
        assert_eq!(read(1, OPERATION_BYTES_MAX + 1), Err(DecodeError::Malformed));
    }
}
