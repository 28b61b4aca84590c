//! Amounts as people type them: `30%`, `2.9h`, `1GB`, `20Mbit`.

/// The number before a unit, and the unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != '_');
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let number: f64 = number.replace('_', "").parse().ok()?;
    number.is_finite().then_some((number, unit.trim()))
}

fn with_units(text: &str, units: &[(&str, f64)], examples: &str) -> Result<f64, String> {
    let found = split(text.trim()).and_then(|(number, unit)| {
        let factor = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
        Some(number * factor)
    });
    found.ok_or_else(|| format!("write it as {examples}"))
}

/// A share from 0 to 1: `0.3` or `30%`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = with_units(text, &[("", 1.0), ("%", 0.01)], "0.3 or 30%")?;
    if share <= 1.0 { Ok(share) } else { Err("a share is at most 1, or 100%".to_owned()) }
}

/// A number: `10000000`, `10_000_000`, `10M`.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let units = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];
    with_units(text, &units, "a number such as 5000, 10k or 10M")
}

/// Seconds: `100ms`, `30s`, `5min`, `2.9h`, `7d`.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let units = [
        ("ms", 0.001),
        ("s", 1.0),
        ("m", 60.0),
        ("min", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
        ("y", 365.0 * 86_400.0),
    ];
    with_units(text, &units, "a number with ms, s, min, h, d or y, such as 2.9h")
}

/// Bytes: `500`, `500B`, `4kB`, `1GB`.
pub(crate) fn bytes(text: &str) -> Result<f64, String> {
    let units = [
        ("", 1.0),
        ("B", 1.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
    ];
    with_units(text, &units, "a number with B, kB, MB or GB, such as 4kB")
}

/// Bits a second: `512kbit`, `20Mbit`, `1Gbit`.
pub(crate) fn bits(text: &str) -> Result<f64, String> {
    let units = [("bit", 1.0), ("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)];
    with_units(text, &units, "bits a second with kbit, Mbit or Gbit, such as 20Mbit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_the_units_that_people_use() {
        let close = |read: Result<f64, String>, value: f64| {
            let read = read.expect("an amount");
            assert!((read - value).abs() <= value * 1e-9, "{read} {value}");
        };
        close(share("30%"), 0.3);
        close(share("0.3"), 0.3);
        close(number("10M"), 1e7);
        close(number("10_000"), 1e4);
        close(seconds("2.9h"), 10_440.0);
        close(seconds("100 ms"), 0.1);
        close(bytes("4KB"), 4000.0);
        close(bytes("1GiB"), 1_073_741_824.0);
        close(bits("20Mbit"), 2e7);
    }

    #[test]
    fn what_is_no_amount_is_told_how_to_write_one() {
        for (wrong, said) in [
            (share("3"), "at most 1"),
            (share("-1"), "0.3 or 30%"),
            (number("many"), "such as 5000"),
            (seconds("5"), "such as 2.9h"),
            (seconds("1.2.3s"), "such as 2.9h"),
            (bytes("1bit"), "such as 4kB"),
            (bits("20"), "such as 20Mbit"),
        ] {
            let error = wrong.expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
