//! Numbers as people read them.

/// A number with about three significant digits and thousands apart: `0.043`, `3.57`, `24.2`, `1,000,000`.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".to_owned();
    }
    if size >= 1e15 || (size > 0.0 && size < 1e-3) {
        return format!("{value:.1e}");
    }
    let (whole, digits) = match size {
        _ if (value - value.round()).abs() < 1e-9 => (true, 0),
        _ if size >= 100.0 => (true, 0),
        _ if size >= 10.0 => (false, 1),
        _ if size >= 1.0 => (false, 2),
        _ => (false, 3),
    };
    if !whole {
        return format!("{value:.digits$}");
    }
    let text = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value <= -0.5 { format!("-{grouped}") } else { grouped }
}

/// A share as a percentage that tells 99.9 from 100.
#[must_use]
pub fn share(value: f64) -> String {
    let percent = value * 100.0;
    match percent {
        _ if !percent.is_finite() => "-".to_owned(),
        _ if percent > 0.0 && percent < 0.01 => format!("{percent:.0e} %"),
        _ if percent < 1.0 && percent > 0.0 => format!("{percent:.2} %"),
        _ if (99.0..100.0).contains(&percent) => {
            let text = format!("{percent:.2}");
            // Rounding must not make it complete.
            if text == "100.00" { "> 99.99 %".to_owned() } else { format!("{text} %") }
        }
        _ => format!("{percent:.1} %"),
    }
}

/// Seconds in the unit that people would use.
#[must_use]
pub fn span(seconds: f64) -> String {
    let units = [
        (86_400.0 * 365.25, "years"),
        (86_400.0, "days"),
        (3600.0, "h"),
        (60.0, "min"),
        (1.0, "s"),
    ];
    if !seconds.is_finite() {
        return "never".to_owned();
    }
    match units.iter().find(|(unit, _)| seconds >= unit * 2.0 || (*unit <= 1.0 && seconds >= 1.0)) {
        Some((unit, name)) => format!("{} {name}", number(seconds / unit)),
        None if seconds <= 0.0 => "0 s".to_owned(),
        None => format!("{} ms", number(seconds * 1000.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_thousands_apart() {
        for (value, text) in [
            (0.0, "0"),
            (0.0004, "4.0e-4"),
            (0.043, "0.043"),
            (3.567, "3.57"),
            (24.23, "24.2"),
            (322.6, "323"),
            (1000.0, "1,000"),
            (1e7, "10,000,000"),
            (-1234.5, "-1,234"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn shares_and_times_are_written_as_people_say_them() {
        assert_eq!(
            [share(0.155), share(0.9994), share(1.0), share(0.999_999)].join(" "),
            "15.5 % 99.94 % 100.0 % > 99.99 %"
        );
        assert_eq!(share(0.0043), "0.43 %");
        let spans = [0.0003, 0.25, 1.5, 90.0, 400.0, 79_200.0, 8e7, 1e9, f64::INFINITY].map(span);
        assert_eq!(
            spans.join("; "),
            "0.300 ms; 250 ms; 1.50 s; 90 s; 6.67 min; 22 h; 2.54 years; 31.7 years; never"
        );
    }
}
