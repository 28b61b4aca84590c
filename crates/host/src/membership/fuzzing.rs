//! The private reader of the issuer's book, for [`crate::fuzzing`].

use std::path::Path;

use super::book::Book;
use crate::fuzzing::Say;

pub(crate) fn book(bytes: &[u8], say: &mut Say<'_>) {
    let mut book = Book::in_memory();
    let read = book.read(Path::new("issued"), bytes);
    let entries = book.subjects().count() + book.tickets().count();
    say("book", read.is_ok() && entries > 0, &(read.as_ref().ok(), entries.min(3)));
    // What is written anew is read without a damaged line, and is the same.
    let mut again = Book::in_memory();
    let damaged = again.read(Path::new("issued"), book.text().as_bytes());
    assert!(matches!(damaged, Ok(0)), "{damaged:?}");
    assert_eq!(again.text(), book.text());
}

pub(crate) fn sample() -> String {
    let key = "ab".repeat(32);
    format!(
        "potluck issued 1\nticket {key} 3 1800000000000 1800086400000 0 -\ncancel {key}\n\
         member {key} - 12 1800000000000 1800086400000\n\
         member {key} {key} 13 1800000000000 1800086400000\n"
    )
}
