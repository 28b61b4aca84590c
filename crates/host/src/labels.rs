//! What the owner calls a node: a few short pairs that every member sees.

use potluck_wire::limits::{LABEL_BYTES_MAX, LABELS_MAX};

use crate::error::StartError;

/// The labels in the order of their names.
///
/// # Errors
/// [`StartError::Labels`] if there are too many or one is none.
pub(crate) fn in_order(labels: &[(String, String)]) -> Result<Vec<(String, String)>, StartError> {
    let mut labels = labels.to_vec();
    labels.sort();
    let is_good = |(name, value): &(String, String)| {
        let plain = !name.contains('=') && !name.chars().chain(value.chars()).any(char::is_control);
        plain && !name.is_empty() && name.len() + value.len() <= LABEL_BYTES_MAX
    };
    let twice = labels.windows(2).any(|pair| pair[0].0 == pair[1].0);
    if labels.len() > LABELS_MAX || twice || !labels.iter().all(is_good) {
        return Err(StartError::Labels);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_few_short_and_in_order() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let good = [pair("site", "a=b"), pair("rack", "")];
        assert_eq!(in_order(&good).unwrap(), [pair("rack", ""), pair("site", "a=b")]);
        let bad = [
            vec![pair("", "x")],
            vec![pair("a=b", "x")],
            vec![pair("a", "x\n")],
            vec![pair("a", &"x".repeat(LABEL_BYTES_MAX))],
            vec![pair("a", "1"), pair("a", "2")],
            (0..=LABELS_MAX).map(|number| pair(&number.to_string(), "")).collect(),
        ];
        for labels in bad {
            assert!(matches!(in_order(&labels), Err(StartError::Labels)), "{labels:?}");
        }
    }
}
