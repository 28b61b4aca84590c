//! CBOR as a tree of items, to be changed item by item.
//!
//! Reading is generous: bytes that are no CBOR are one raw item, and a byte string whose content is
//! CBOR in turn is a tree of its own, so that changes reach envelopes inside messages and leave the
//! lengths around them right.

use potluck_base::Rng;

/// Items within items that are taken apart; deeper ones stay raw bytes.
const DEPTH_MAX: usize = 8;
/// Items of a tree.
const ITEMS_MAX: usize = 600;
/// Containers that one change nests into each other.
const NEST_MAX: u64 = 2000;

/// An item.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// A number, negative number or simple value: its major type and argument.
    Number(u8, u64),
    /// A byte string (2) or text (3).
    Text(u8, Vec<u8>),
    /// A byte string that holds items.
    Inside(Vec<Item>),
    /// An array (4), a map (5: keys and values in turn) or a tag (6: its number first).
    Many(u8, Vec<Item>),
    /// Bytes as they are, right or wrong.
    Raw(Vec<u8>),
}

/// Changes one item of what `bytes` hold, with items of `other` to put in its place.
pub(crate) fn change(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut items = read_all(bytes, DEPTH_MAX);
    let count = items.iter().map(size).sum::<usize>().max(1);
    let at = rng.below(count as u64) as usize;
    let donors = read_all(other, DEPTH_MAX);
    let donors_count = donors.iter().map(size).sum::<usize>().max(1);
    let donor = nth(&donors, &mut (rng.below(donors_count as u64) as usize)).cloned();
    change_nth(rng, &mut items, &mut { at }, donor);
    let mut out = Vec::with_capacity(bytes.len() + 64);
    for item in &items {
        write(item, &mut out);
    }
    out
}

fn size(item: &Item) -> usize {
    match item {
        Item::Inside(items) | Item::Many(_, items) => 1 + items.iter().map(size).sum::<usize>(),
        Item::Number(..) | Item::Text(..) | Item::Raw(_) => 1,
    }
}

fn nth<'a>(items: &'a [Item], at: &mut usize) -> Option<&'a Item> {
    for item in items {
        if *at == 0 {
            return Some(item);
        }
        *at -= 1;
        if let Item::Inside(inner) | Item::Many(_, inner) = item
            && let Some(found) = nth(inner, at)
        {
            return Some(found);
        }
    }
    None
}

/// True once the item was found and changed.
fn change_nth(rng: &mut Rng, items: &mut Vec<Item>, at: &mut usize, donor: Option<Item>) -> bool {
    for index in 0..items.len() {
        if *at == 0 {
            change_at(rng, items, index, donor);
            return true;
        }
        *at -= 1;
        if let Item::Inside(inner) | Item::Many(_, inner) = &mut items[index]
            && change_nth(rng, inner, at, donor.clone())
        {
            return true;
        }
    }
    false
}

fn change_at(rng: &mut Rng, items: &mut Vec<Item>, index: usize, donor: Option<Item>) {
    match rng.below(12) {
        0 => {
            items.remove(index);
        }
        1 => {
            let copies = 1 + rng.below(3) * rng.below(20);
            for _ in 0..copies {
                items.insert(index, items[index].clone());
            }
        }
        2 | 3 => {
            if let Some(donor) = donor {
                items[index] = donor;
            }
        }
        4 => {
            if let Some(donor) = donor {
                items.insert(index, donor);
            }
        }
        // A key that no version knows, with some value.
        5 => {
            items.insert(index, donor.unwrap_or(Item::Number(7, 22)));
            items.insert(index, Item::Number(0, 24 + rng.below(1000)));
        }
        6 => items[index] = Item::Raw(header_without_content(rng)),
        7 => items[index] = Item::Raw(nested(rng)),
        8 => {
            let other = rng.below(items.len() as u64) as usize;
            items.swap(index, other);
        }
        9 => items[index] = Item::Number(rng.below(2) as u8 * 7, rng.below(33)),
        _ => change_value(rng, &mut items[index]),
    }
}

fn change_value(rng: &mut Rng, item: &mut Item) {
    match item {
        Item::Number(major, number) => {
            if rng.chance(0.1) {
                *major = rng.below(2) as u8;
            }
            *number = interesting(rng, *number);
        }
        Item::Text(_, bytes) => change_bytes(rng, bytes),
        Item::Raw(bytes) => change_bytes(rng, bytes),
        Item::Many(major, items) => match rng.below(4) {
            0 => *major = 4 + rng.below(3) as u8,
            1 => items.reverse(),
            2 => items.clear(),
            _ => items.truncate(rng.below(items.len() as u64 + 1) as usize),
        },
        Item::Inside(items) => items.truncate(rng.below(items.len() as u64 + 1) as usize),
    }
}

fn change_bytes(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    match rng.below(5) {
        0 => bytes.truncate(at),
        1 => bytes.extend(std::iter::repeat_n(b'x', rng.below(600) as usize)),
        2 => bytes.insert(at, rng.next_u64() as u8),
        3 => bytes.clear(),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}

/// A number beside the given one, or one at which widths and limits end.
fn interesting(rng: &mut Rng, number: u64) -> u64 {
    let edges = [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, 1 << 48];
    match rng.below(5) {
        0 => number.wrapping_add(1),
        1 => number.wrapping_sub(1),
        2 => u64::MAX - rng.below(3),
        3 => 1 << rng.below(64),
        _ => edges[rng.below(edges.len() as u64) as usize],
    }
}

/// The head of a text, array or map that says to be long, or to have no length, with nothing behind it.
fn header_without_content(rng: &mut Rng) -> Vec<u8> {
    let major = 2 + rng.below(4) as u8;
    if rng.chance(0.3) {
        return vec![major << 5 | 31];
    }
    let mut out = Vec::new();
    let length = 1 << (4 + rng.below(60));
    write_head(major, length, &mut out);
    out
}

/// Containers in containers, more than any stack of a reader that calls itself would bear.
fn nested(rng: &mut Rng) -> Vec<u8> {
    let shell = [0x81, 0xa1, 0xc0, 0x9f, 0xbf, 0x5f][rng.below(6) as usize];
    let mut out = vec![shell; 1 + rng.below(NEST_MAX) as usize];
    out.push(0);
    out
}

fn read_all(mut bytes: &[u8], depth: usize) -> Vec<Item> {
    let mut items = Vec::new();
    let mut left = ITEMS_MAX;
    while !bytes.is_empty() {
        match read(&mut bytes, depth, &mut left) {
            Some(item) => items.push(item),
            None => {
                items.push(Item::Raw(bytes.to_vec()));
                break;
            }
        }
    }
    items
}

/// `None` leaves `bytes` where they were.
fn read(bytes: &mut &[u8], depth: usize, left: &mut usize) -> Option<Item> {
    let mut rest = *bytes;
    *left = left.checked_sub(1)?;
    let first = *rest.split_off_first()?;
    let (major, argument) = (first >> 5, first & 31);
    let width = match argument {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let mut number = u64::from(argument);
    if width > 0 {
        let digits = rest.split_off(..width)?;
        number = digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit));
    }
    let item = match major {
        2 | 3 => {
            let content = rest.split_off(..usize::try_from(number).ok()?)?;
            read_inside(major, content, depth, left)
        }
        4..=6 => {
            let depth = depth.checked_sub(1)?;
            let count = match major {
                4 => number,
                5 => number.checked_mul(2)?,
                _ => 1,
            };
            let mut items = Vec::new();
            if major == 6 {
                items.push(Item::Number(0, number));
            }
            for _ in 0..count {
                items.push(read(&mut rest, depth, left)?);
            }
            Item::Many(major, items)
        }
        // Simple values of more than one byte and floats are kept as they were.
        7 if width > 0 => Item::Raw(bytes[..bytes.len() - rest.len()].to_vec()),
        _ => Item::Number(major, number),
    };
    *bytes = rest;
    Some(item)
}

fn read_inside(major: u8, content: &[u8], depth: usize, left: &mut usize) -> Item {
    // Keys and hashes look like CBOR by chance, too; a container at the front is rarely one.
    let looks_nested = major == 2 && content.len() > 3 && matches!(content[0] >> 5, 4 | 5);
    let mut rest = content;
    let mut items = Vec::new();
    while looks_nested && depth > 0 && !rest.is_empty() {
        match read(&mut rest, depth - 1, left) {
            Some(item) => items.push(item),
            None if items.is_empty() => break,
            // A signature, for example.
            None => {
                items.push(Item::Raw(rest.to_vec()));
                rest = &[];
            }
        }
    }
    if items.is_empty() { Item::Text(major, content.to_vec()) } else { Item::Inside(items) }
}

fn write_head(major: u8, number: u64, out: &mut Vec<u8>) {
    let first = major << 5;
    match number {
        0..=23 => out.push(first | number as u8),
        24..=0xff => out.extend_from_slice(&[first | 24, number as u8]),
        0x100..=0xffff => {
            out.push(first | 25);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(first | 26);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(first | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn write(item: &Item, out: &mut Vec<u8>) {
    match item {
        Item::Number(major, number) => write_head(*major, *number, out),
        Item::Text(major, bytes) => {
            write_head(*major, bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        Item::Inside(items) => {
            let mut inner = Vec::new();
            items.iter().for_each(|item| write(item, &mut inner));
            write_head(2, inner.len() as u64, out);
            out.extend_from_slice(&inner);
        }
        Item::Many(major, items) => {
            let (head, rest) = match (major, items.as_slice()) {
                (6, [Item::Number(0, tag), rest @ ..]) => (*tag, rest),
                (5, items) => (items.len() as u64 / 2, items),
                (_, items) => (items.len() as u64, items),
            };
            write_head(*major, head, out);
            rest.iter().for_each(|item| write(item, out));
        }
        Item::Raw(bytes) => out.extend_from_slice(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        read_all(bytes, DEPTH_MAX).iter().for_each(|item| write(item, &mut out));
        out
    }

    #[test]
    fn what_is_read_is_written_as_it_was() {
        for bytes in [
            &[0x01, 0x82, 0x03, 0x45, 0x82, 0x01, 0x61, b'a', 0xff][..],
            &[0xa1, 0x00, 0x18, 0x64, 0xc1, 0x1a, 0, 1, 0, 0, 0xf6],
            &[0x9f, 0x01, 0xff],
            &[0xfb, 1, 2, 3, 4, 5, 6, 7, 8],
            &[],
        ] {
            assert_eq!(again(bytes), bytes);
        }
    }

    #[test]
    fn a_byte_string_of_items_keeps_a_right_length_when_it_changes() {
        let bytes = [0x81, 0x44, 0x83, 0x01, 0x02, 0x03];
        let items = read_all(&bytes, DEPTH_MAX);
        assert!(
            matches!(&items[..], [Item::Many(4, inner)] if matches!(inner[0], Item::Inside(_)))
        );
        let mut rng = Rng::from_number(1);
        for _ in 0..2000 {
            let changed = change(&mut rng, &bytes, &bytes);
            assert!(changed.len() < 4096, "{}", changed.len());
        }
    }
}
