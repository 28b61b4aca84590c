//! Operations on counters, sets and maps. A writer turns an operation into its next share.
//!
//! A node can send an operation to a replica, which carries it out for the node, so it has a CBOR form: an
//! array of its number and its arguments.

use bytes::Bytes;
use minicbor::{Decoder, Encoder};

use crate::Kind;
use crate::limits::{
    ELEMENT_BYTES_MAX, OPERATION_BYTES_MAX, OPERATION_ELEMENTS_MAX, SHARE_BYTES_MAX,
};

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Adds to a counter; a negative number subtracts.
    Count(i64),
    /// Adds elements to a set.
    AddElements(Vec<String>),
    /// Removes elements from a set: those additions that the writer has read.
    RemoveElements(Vec<String>),
    /// Sets a field of a map.
    SetField {
        /// The field's name.
        field: String,
        /// Its value.
        value: Bytes,
    },
    /// Removes a field from a map: those additions that the writer has read.
    UnsetField {
        /// The field's name.
        field: String,
    },
}

/// Why an operation is not possible. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// It does not have the form of a known operation.
    #[error("not an operation")]
    Malformed,
    /// It names no element.
    #[error("an operation on a set names at least one element")]
    NoElements,
    /// It names too many elements.
    #[error(
        "an operation names at most {OPERATION_ELEMENTS_MAX} elements, this one {0}; send them in \
         several"
    )]
    ManyElements(usize),
    /// An element or a field's name is empty.
    #[error("an element or a field's name has at least one byte")]
    Empty,
    /// An element or a field's name is too long.
    #[error("an element or a field's name has at most {ELEMENT_BYTES_MAX} bytes, this one has {0}")]
    Long(usize),
    /// An element or a field's name holds a control character, such as the end of a line.
    #[error("an element or a field's name holds no control characters")]
    Control,
    /// A field's value, or all elements together, do not fit into a share.
    #[error(
        "one writer keeps at most {SHARE_BYTES_MAX} bytes under a name, this operation has {0}"
    )]
    Large(usize),
}

/// Checks the text of an element or of a field's name.
pub(crate) fn check_text(text: &str) -> Result<(), OperationError> {
    if text.is_empty() {
        return Err(OperationError::Empty);
    }
    if text.len() > ELEMENT_BYTES_MAX {
        return Err(OperationError::Long(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(OperationError::Control);
    }
    Ok(())
}

impl Operation {
    /// The kind of record that it changes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Count(_) => Kind::Counter,
            Self::AddElements(_) | Self::RemoveElements(_) => Kind::Set,
            Self::SetField { .. } | Self::UnsetField { .. } => Kind::Map,
        }
    }

    /// Whether it only removes something, so that it needs an existing record.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Count(_) | Self::AddElements(_) | Self::SetField { .. } => false,
            Self::RemoveElements(_) | Self::UnsetField { .. } => true,
        }
    }

    /// Whether the next share depends on the shares of other writers. For a counter it does not.
    #[must_use]
    pub const fn reads_others(&self) -> bool {
        !matches!(self, Self::Count(_))
    }

    /// Checks the operation against the limits of its arguments.
    ///
    /// # Errors
    /// [`OperationError`] names the broken limit.
    pub fn check(&self) -> Result<(), OperationError> {
        let bytes = match self {
            Self::Count(_) => 0,
            Self::AddElements(elements) | Self::RemoveElements(elements) => {
                if elements.is_empty() {
                    return Err(OperationError::NoElements);
                }
                if elements.len() > OPERATION_ELEMENTS_MAX {
                    return Err(OperationError::ManyElements(elements.len()));
                }
                elements.iter().try_for_each(|element| check_text(element))?;
                elements.iter().map(String::len).sum()
            }
            Self::SetField { field, value } => {
                check_text(field)?;
                field.len() + value.len()
            }
            Self::UnsetField { field } => {
                check_text(field)?;
                field.len()
            }
        };
        if bytes > SHARE_BYTES_MAX { Err(OperationError::Large(bytes)) } else { Ok(()) }
    }

    /// The bytes that [`decode`](Self::decode) reads.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut Encoder::new(&mut out)).expect("writing to memory cannot fail");
        out.into()
    }

    fn write(
        &self,
        e: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        match self {
            Self::Count(by) => e.array(2)?.u8(0)?.i64(*by)?,
            Self::AddElements(elements) => e.array(2)?.u8(1)?.encode(elements)?,
            Self::RemoveElements(elements) => e.array(2)?.u8(2)?.encode(elements)?,
            Self::SetField { field, value } => e.array(3)?.u8(3)?.str(field)?.bytes(value)?,
            Self::UnsetField { field } => e.array(2)?.u8(4)?.str(field)?,
        };
        Ok(())
    }

    /// Reads an operation and checks it.
    ///
    /// # Errors
    /// [`OperationError`] if it does not have a known form or breaks a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, OperationError> {
        if bytes.len() > OPERATION_BYTES_MAX {
            return Err(OperationError::Large(bytes.len()));
        }
        let mut d = Decoder::new(bytes);
        let operation = Self::read(&mut d).map_err(|_| OperationError::Malformed)?;
        if d.position() != bytes.len() {
            return Err(OperationError::Malformed);
        }
        operation.check()?;
        Ok(operation)
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let wrong = || minicbor::decode::Error::message("operation");
        let parts = d.array()?.ok_or_else(wrong)?;
        match (d.u8()?, parts) {
            (0, 2) => Ok(Self::Count(d.i64()?)),
            (1, 2) => Ok(Self::AddElements(read_elements(d)?)),
            (2, 2) => Ok(Self::RemoveElements(read_elements(d)?)),
            (3, 3) => {
                let field = d.str()?.to_owned();
                Ok(Self::SetField { field, value: Bytes::copy_from_slice(d.bytes()?) })
            }
            (4, 2) => Ok(Self::UnsetField { field: d.str()?.to_owned() }),
            _ => Err(wrong()),
        }
    }
}

fn read_elements(d: &mut Decoder<'_>) -> Result<Vec<String>, minicbor::decode::Error> {
    let wrong = || minicbor::decode::Error::message("elements");
    let count = d.array()?.filter(|it| *it <= OPERATION_ELEMENTS_MAX as u64).ok_or_else(wrong)?;
    (0..count).map(|_| Ok(d.str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_operation_round_trips() {
        let elements = vec!["a".to_owned(), "größe".to_owned()];
        let field = "color".to_owned();
        let value = Bytes::from_static(&[0, 255]);
        for operation in [
            Operation::Count(i64::MIN),
            Operation::Count(1),
            Operation::AddElements(elements.clone()),
            Operation::RemoveElements(elements),
            Operation::SetField { field: field.clone(), value },
            Operation::UnsetField { field },
        ] {
            assert_eq!(Operation::decode(&operation.encode()), Ok(operation));
        }
    }

    #[test]
    fn the_bytes_of_an_operation_do_not_change() {
        let hex = |operation: Operation| data_encoding::HEXLOWER.encode(&operation.encode());
        assert_eq!(hex(Operation::Count(-3)), "820022");
        assert_eq!(hex(Operation::AddElements(vec!["a".into()])), "8201816161");
        assert_eq!(hex(Operation::RemoveElements(vec!["a".into()])), "8202816161");
        let set = Operation::SetField { field: "f".into(), value: Bytes::from_static(b"v") };
        assert_eq!(hex(set), "830361664176");
        assert_eq!(hex(Operation::UnsetField { field: "f".into() }), "82046166");
    }

    #[test]
    fn an_operation_over_a_limit_is_refused_by_name() {
        let add = |elements: Vec<String>| Operation::AddElements(elements).check();
        let many = |count: usize| (0..count).map(|it| it.to_string()).collect::<Vec<_>>();
        assert_eq!(add(many(OPERATION_ELEMENTS_MAX)), Ok(()));
        assert_eq!(add(many(257)), Err(OperationError::ManyElements(257)));
        assert_eq!(add(vec![]), Err(OperationError::NoElements));
        assert_eq!(add(vec![String::new()]), Err(OperationError::Empty));
        assert_eq!(add(vec!["x".repeat(ELEMENT_BYTES_MAX)]), Ok(()));
        assert_eq!(add(vec!["x".repeat(513)]), Err(OperationError::Long(513)));
        assert_eq!(add(vec!["a\nb".into()]), Err(OperationError::Control));
        let set = |len| Operation::SetField { field: "f".into(), value: vec![0; len].into() };
        assert_eq!(set(SHARE_BYTES_MAX - 1).check(), Ok(()));
        assert!(Operation::decode(&set(SHARE_BYTES_MAX - 1).encode()).is_ok());
        assert_eq!(set(SHARE_BYTES_MAX).check(), Err(OperationError::Large(SHARE_BYTES_MAX + 1)));
        let encoded = set(SHARE_BYTES_MAX).encode();
        assert_eq!(Operation::decode(&encoded), Err(OperationError::Large(SHARE_BYTES_MAX + 1)));
        let counts = minicbor::to_vec((1_u8, vec!["a"; 257])).expect("encodes");
        assert_eq!(Operation::decode(&counts), Err(OperationError::Malformed));
    }

    proptest! {
        #[test]
        fn hostile_bytes_give_an_error_and_no_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(operation) = Operation::decode(&bytes) {
                prop_assert_eq!(Operation::decode(&operation.encode()), Ok(operation));
            }
        }
    }
}
