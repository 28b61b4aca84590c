//! Reads one value of the settings, from the file or from text.

use std::str::FromStr;
use std::time::Duration;

use toml::Value;

/// The error of a value, to be appended to the name of its key.
pub(crate) type Wrong = String;

/// A value as it was given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input<'a> {
    /// On the command line or in the environment; lists are comma-separated.
    Text(&'a str),
    /// On the command line, given several times.
    Texts(&'a [String]),
    /// In the file.
    Toml(&'a Value),
}

impl Input<'_> {
    /// A text.
    pub(crate) fn text(&self) -> Result<String, Wrong> {
        match self {
            Self::Text(text) => Ok((*text).to_owned()),
            Self::Texts([text]) => Ok(text.clone()),
            Self::Toml(Value::String(text)) => Ok(text.clone()),
            Self::Texts(_) | Self::Toml(_) => Err("must be a text".into()),
        }
    }

    /// Something written as text.
    pub(crate) fn parsed<T: FromStr>(&self, what: &str) -> Result<T, Wrong> {
        let text = self.text().map_err(|_| format!("must be {what}"))?;
        text.trim().parse().map_err(|_| format!("must be {what}, not '{}'", shown(&text)))
    }

    /// A whole number in a range.
    pub(crate) fn whole(&self, min: u64, max: u64) -> Result<u64, Wrong> {
        let number = match self {
            Self::Toml(Value::Integer(number)) => u64::try_from(*number).ok(),
            Self::Toml(_) => None,
            Self::Text(_) | Self::Texts(_) => self.text()?.trim().parse().ok(),
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
    }

    /// A number of bytes, perhaps with a unit.
    pub(crate) fn bytes(&self) -> Result<u64, Wrong> {
        const WRONG: &str = "must be a number of bytes such as 1048576, 64KiB, 256MiB or 2GiB";
        let text = match self {
            Self::Toml(Value::Integer(number)) => number.to_string(),
            other => other.text().map_err(|_| WRONG.to_owned())?,
        };
        let text = text.trim();
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
        let (digits, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), *shift)))
            .unwrap_or((text, 0));
        let number: u64 = digits.parse().map_err(|_| WRONG.to_owned())?;
        number.checked_mul(1 << shift).ok_or_else(|| WRONG.to_owned())
    }

    /// Yes or no.
    pub(crate) fn boolean(&self) -> Result<bool, Wrong> {
        match self {
            Self::Toml(Value::Boolean(value)) => Ok(*value),
            Self::Toml(_) => Err("must be true or false".into()),
            Self::Text(_) | Self::Texts(_) => match self.text()?.trim() {
                "true" | "1" | "yes" => Ok(true),
                "false" | "0" | "no" => Ok(false),
                _ => Err("must be true or false".into()),
            },
        }
    }

    /// A duration.
    pub(crate) fn duration(&self) -> Result<Duration, Wrong> {
        const WRONG: &str = "must be a span of time such as 30s, 5m, 1h or 30d";
        let text = self.text().map_err(|_| WRONG.to_owned())?;
        humantime::parse_duration(text.trim()).map_err(|_| WRONG.to_owned())
    }

    /// A list of texts.
    pub(crate) fn list(&self) -> Result<Vec<String>, Wrong> {
        let split = |text: &str| -> Vec<String> {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Into::into).collect()
        };
        match self {
            Self::Text(text) => Ok(split(text)),
            Self::Texts(texts) => Ok(texts.to_vec()),
            Self::Toml(Value::String(text)) => Ok(vec![text.clone()]),
            Self::Toml(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| "must be a list of texts".to_owned()),
            Self::Toml(_) => Err("must be a list of texts".to_owned()),
        }
    }

    /// A list of values written as text.
    pub(crate) fn parsed_list<T: FromStr>(&self, what: &str) -> Result<Vec<T>, Wrong> {
        self.list()?
            .iter()
            .map(|text| text.parse().map_err(|_| format!("must be {what}, not '{}'", shown(text))))
            .collect()
    }
}

/// A text as quoted in an error: never longer than a line.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect();
    if short.len() < text.len() {
        short.push_str("..");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_with_and_without_unit() {
        assert_eq!(Input::Text("64KiB").bytes(), Ok(65536));
        assert_eq!(Input::Text("7").bytes(), Ok(7));
        assert_eq!(Input::Toml(&Value::Integer(1024)).bytes(), Ok(1024));
        assert!(Input::Text("99999999999TiB").bytes().is_err());
        assert!(Input::Text("-1").bytes().is_err());
    }
}
