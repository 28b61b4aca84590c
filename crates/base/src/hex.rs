//! The hexadecimal text of byte arrays: one macro, so that all of them read and print alike.

/// Gives a tuple struct of one byte array its text: `Display` writes all bytes as lower-case hexadecimal
/// digits, `Debug` the name and the first four bytes. With `parse: E => T`, `FromStr` reads digits of
/// either case, exactly two for each byte, and fails with the value `E` of the type `T`.
macro_rules! hex_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, ")")
            }
        }
    };
    ($name:ident, parse: $error:expr => $type:ty) => {
        $crate::hex::hex_text!($name);

        impl std::str::FromStr for $name {
            type Err = $type;

            fn from_str(text: &str) -> Result<Self, $type> {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
                Ok(Self(bytes.map_err(|_| $error)?.try_into().map_err(|_| $error)?))
            }
        }
    };
}

pub(crate) use hex_text;

#[cfg(test)]
mod tests {
    use crate::{Admission, BlobId, NetworkId, PublicKey, Salt};

    #[test]
    fn texts_of_bytes_read_back_in_either_case_and_nothing_else_is_read() {
        let id = BlobId::of(b"potluck");
        let text = id.to_string();
        assert_eq!((text.len(), text.parse(), text.to_uppercase().parse()), (64, Ok(id), Ok(id)));
        assert_eq!(format!("{id:?}"), format!("BlobId({})", &text[..8]));
        for wrong in ["", &text[1..], &text[2..], &format!("{text}00"), &"g".repeat(64)] {
            assert!(wrong.parse::<BlobId>().is_err(), "{wrong}");
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn short_and_unparsed_names_print_too() {
        let salt = Salt::from_bytes([0xab; 8]);
        assert_eq!((salt.to_string(), salt.to_string().parse()), ("ab".repeat(8), Ok(salt)));
        let network = NetworkId::new("prod", Admission::Lab, None);
        let begin: String = network.to_string().chars().take(8).collect();
        assert_eq!(format!("{network:?}"), format!("NetworkId({begin})"));
    }
}
