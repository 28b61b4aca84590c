//! Figures of several rounds, and one system's beside another's.

use super::measures::Better;

/// One figure of one system: a number of each round.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// Sorted, not empty.
    rounds: Vec<f64>,
}

impl Sample {
    /// None of no rounds.
    pub(super) fn of(rounds: &[f64]) -> Option<Self> {
        let mut rounds = rounds.to_vec();
        rounds.sort_by(f64::total_cmp);
        (!rounds.is_empty()).then_some(Self { rounds })
    }

    pub(super) fn median(&self) -> f64 {
        let middle = self.rounds.len() / 2;
        match self.rounds.len() % 2 {
            1 => self.rounds[middle],
            _ => f64::midpoint(self.rounds[middle - 1], self.rounds[middle]),
        }
    }

    fn low(&self) -> f64 {
        self.rounds[0]
    }

    fn high(&self) -> f64 {
        self.rounds[self.rounds.len() - 1]
    }

    /// The median, and the range in parentheses where there is one.
    pub(super) fn shown(&self) -> String {
        let (low, high, median) = (number(self.low()), number(self.high()), number(self.median()));
        if low == high { median } else { format!("{median} ({low} to {high})") }
    }
}

/// Three digits that count, no more.
pub(super) fn number(number: f64) -> String {
    let size = number.abs();
    let text = if size >= 99.95 || size == 0.0 {
        format!("{number:.0}")
    } else if size >= 9.995 {
        format!("{number:.1}")
    } else if size >= 0.1 {
        format!("{number:.2}")
    } else {
        format!("{number:.3}")
    };
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    if digits == text.len() && digits > 3 {
        let (thousands, rest) = text.split_at(digits - 3);
        return format!("{thousands},{rest}");
    }
    text
}

/// Who does better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ahead,
    /// The ranges touch: the rounds do not tell.
    Even,
    Behind,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::Even => "even",
            Self::Behind => "behind",
        }
    }
}

/// Ours beside theirs.
pub(super) fn verdict(ours: &Sample, theirs: &Sample, better: Better) -> Verdict {
    let (above, below) = match better {
        Better::Higher => (Verdict::Ahead, Verdict::Behind),
        Better::Lower => (Verdict::Behind, Verdict::Ahead),
    };
    if ours.low() > theirs.high() {
        above
    } else if ours.high() < theirs.low() {
        below
    } else {
        Verdict::Even
    }
}

/// How many times theirs ours is, in words; both figures where one is zero or both are shares.
pub(super) fn beside(ours: &Sample, theirs: &Sample, name: &str, share: bool) -> String {
    let (one, other) = (ours.median(), theirs.median());
    if share || other == 0.0 {
        return format!("Potluck {}, {name} {}", number(one), number(other));
    }
    format!("Potluck {} times {name}'s", number(one / other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rounds: &[f64]) -> Sample {
        Sample::of(rounds).expect("rounds")
    }

    #[test]
    fn medians_and_ranges() {
        assert_eq!(Sample::of(&[]), None);
        assert_eq!(sample(&[3.0, 1.0, 2.0]).shown(), "2.00 (1.00 to 3.00)");
        assert_eq!(sample(&[3.0, 1.0]).shown(), "2.00 (1.00 to 3.00)");
        assert_eq!(sample(&[100.0, 100.0]).shown(), "100");
    }

    #[test]
    fn three_digits_count() {
        let shown = [0.0, 0.0123, 0.5, 9.99, 10.04, 99.96, 1843.2].map(number);
        assert_eq!(shown, ["0", "0.012", "0.50", "9.99", "10.0", "100", "1,843"]);
    }

    #[test]
    fn rounds_that_touch_decide_nothing() {
        let (low, middle, high) = (sample(&[1.0, 2.0]), sample(&[2.0, 3.0]), sample(&[4.0, 5.0]));
        assert_eq!(verdict(&low, &middle, Better::Higher), Verdict::Even);
        assert_eq!(verdict(&high, &low, Better::Higher), Verdict::Ahead);
        assert_eq!(verdict(&high, &low, Better::Lower), Verdict::Behind);
        assert_eq!(verdict(&low, &high, Better::Lower), Verdict::Ahead);
    }

    #[test]
    fn ratios_and_shares_in_words() {
        let (one, two) = (sample(&[90.0]), sample(&[50.0]));
        assert_eq!(beside(&one, &two, "X", false), "Potluck 1.80 times X's");
        assert_eq!(beside(&one, &two, "X", true), "Potluck 90.0, X 50.0");
        assert_eq!(beside(&one, &sample(&[0.0]), "X", false), "Potluck 90.0, X 0");
    }
}
