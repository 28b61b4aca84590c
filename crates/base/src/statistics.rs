//! Statistics, each declared once: its field, its name, its help, its kind and its unit are one line
//! of [`statistics!`](crate::statistics!), and struct and exposition come from that line.
//!
//! **Invariant:** what is declared is shown. [`Statistics::visit`] gives every number of a group and
//! of the groups in it; there is no second list that could lack one.

use std::time::Duration;

use crate::histogram::Histogram;

/// What a number does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start of the node.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often each of a few fixed ranges was met.
    Histogram,
}

/// In what a number is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How many there are or were.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Microseconds.
    Microseconds,
    /// 1 if something holds, else 0.
    Flag,
}

/// A number with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistic {
    /// Its name, with that of its group in front, as in `kv_puts`.
    pub name: &'static str,
    /// What it counts or measures, in a sentence or two with their full stops.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// In what it is given.
    pub unit: Unit,
}

/// The value of a statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(u64),
    /// A number with a fraction.
    Fraction(f64),
    /// How often each range was met.
    Ranges(Histogram),
}

impl Number {
    /// As a floating-point number; of a histogram how many values it has.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Fraction(fraction) => fraction,
            Self::Ranges(histogram) => histogram.count() as f64,
        }
    }

    /// As a whole number; a fraction is cut off. Of a histogram how many values it has.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        match self {
            Self::Whole(whole) => whole,
            Self::Fraction(fraction) => fraction as u64,
            Self::Ranges(histogram) => histogram.count(),
        }
    }
}

/// A group of statistics. Made by [`statistics!`](crate::statistics!).
pub trait Statistics {
    /// Shows what there is in this group and in those within it.
    fn describe(see: &mut dyn FnMut(&'static Statistic))
    where
        Self: Sized;

    /// Shows the numbers that are known now, each with what it is.
    fn visit(&self, see: &mut dyn FnMut(&'static Statistic, Number));
}

/// A group that not every node has.
impl<T: Statistics> Statistics for Option<T> {
    fn describe(see: &mut dyn FnMut(&'static Statistic)) {
        T::describe(see);
    }

    fn visit(&self, see: &mut dyn FnMut(&'static Statistic, Number)) {
        if let Some(group) = self {
            group.visit(see);
        }
    }
}

/// What a field of a group can be.
pub trait Measure {
    /// The number in this unit; `None` if it is not known.
    fn measure(&self, unit: Unit) -> Option<Number>;
}

macro_rules! whole {
    ($($type:ty)+) => {
        $(impl Measure for $type {
            fn measure(&self, _unit: Unit) -> Option<Number> {
                Some(Number::Whole(*self as u64))
            }
        })+
    };
}

whole!(u8 u16 u32 u64 usize bool);

impl Measure for f64 {
    fn measure(&self, _unit: Unit) -> Option<Number> {
        Some(Number::Fraction(*self))
    }
}

impl Measure for Duration {
    fn measure(&self, unit: Unit) -> Option<Number> {
        Some(match unit {
            Unit::Microseconds => {
                Number::Whole(u64::try_from(self.as_micros()).unwrap_or(u64::MAX))
            }
            _ => Number::Fraction(self.as_secs_f64()),
        })
    }
}

impl Measure for Histogram {
    fn measure(&self, _unit: Unit) -> Option<Number> {
        Some(Number::Ranges(*self))
    }
}

impl Measure for Option<u64> {
    fn measure(&self, _unit: Unit) -> Option<Number> {
        self.map(Number::Whole)
    }
}

/// A reason why something does not work: 1 if there is one.
impl Measure for Option<String> {
    fn measure(&self, _unit: Unit) -> Option<Number> {
        Some(Number::Whole(u64::from(self.is_some())))
    }
}

/// Declares a group of statistics: a struct, and [`Statistics`] for it.
///
/// Each field is a `counter`, a `gauge`, a `histogram`, or a `group` of its own. What is `parts` of
/// another field is in the struct and not shown: the metrics show it as one name with labels.
///
///  Its documentation is the help
/// that people and collectors see, so it is written without links. Its name is that of the group and
/// the field, unless `as` gives another; its unit is a count, unless one of [`Unit`] stands behind
/// the kind.
///
/// ```
/// use potluck_base::statistics::{Number, Statistics as _};
///
/// potluck_base::statistics! {
///     /// What a kettle has done.
///     #[derive(Debug, Default)]
///     pub struct KettleStats in "kettle" {
///         /// Times that it boiled.
///         counter boiled: u64,
///         /// What is in it.
///         gauge(Bytes) content: usize as "kettle_content_bytes",
///     }
/// }
///
/// let mut seen = Vec::new();
/// KettleStats { boiled: 3, content: 7 }.visit(&mut |what, number| seen.push((what.name, number)));
/// let numbers = [("kettle_boiled", Number::Whole(3)), ("kettle_content_bytes", Number::Whole(7))];
/// assert_eq!(seen, numbers);
/// ```
#[macro_export]
macro_rules! statistics {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $group:ident in $prefix:literal {
            $(
                $(#[doc = $help:literal])+
                $kind:ident $(($unit:ident))? $field:ident: $type:ty $(as $name:literal)?,
            )+
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $group {
            $(
                $(#[doc = $help])+
                pub $field: $type,
            )+
        }

        impl $crate::statistics::Statistics for $group {
            fn describe(see: &mut dyn FnMut(&'static $crate::statistics::Statistic)) {
                $($crate::__statistic!(describe $kind see, $type,
                    $crate::__statistic!(name $($name)? ; concat!($prefix, "_", stringify!($field))),
                    concat!($($help),+), [$($unit)?]);)+
            }

            fn visit(
                &self,
                see: &mut dyn FnMut(
                    &'static $crate::statistics::Statistic,
                    $crate::statistics::Number,
                ),
            ) {
                $($crate::__statistic!(visit $kind see, self.$field,
                    $crate::__statistic!(name $($name)? ; concat!($prefix, "_", stringify!($field))),
                    concat!($($help),+), [$($unit)?]);)+
            }
        }
    };
}

/// What one field of [`statistics!`](crate::statistics!) becomes.
#[doc(hidden)]
#[macro_export]
macro_rules! __statistic {
    (name ; $made:expr) => { $made };
    (name $given:literal ; $made:expr) => { $given };
    (kind counter) => { $crate::statistics::Kind::Counter };
    (kind gauge) => { $crate::statistics::Kind::Gauge };
    (kind histogram) => { $crate::statistics::Kind::Histogram };
    (unit []) => { $crate::statistics::Unit::Count };
    (unit [$unit:ident]) => { $crate::statistics::Unit::$unit };
    (one $kind:ident $name:expr, $help:expr, $unit:tt) => {{
        const ONE: &$crate::statistics::Statistic = &$crate::statistics::Statistic {
            name: $name,
            help: ($help).trim_ascii(),
            kind: $crate::__statistic!(kind $kind),
            unit: $crate::__statistic!(unit $unit),
        };
        ONE
    }};
    (describe parts $see:ident, $type:ty, $name:expr, $help:expr, $unit:tt) => {};
    (visit parts $see:ident, $value:expr, $name:expr, $help:expr, $unit:tt) => {};
    (describe group $see:ident, $type:ty, $name:expr, $help:expr, $unit:tt) => {
        <$type as $crate::statistics::Statistics>::describe($see)
    };
    (describe $kind:ident $see:ident, $type:ty, $name:expr, $help:expr, $unit:tt) => {
        $see($crate::__statistic!(one $kind $name, $help, $unit))
    };
    (visit group $see:ident, $value:expr, $name:expr, $help:expr, $unit:tt) => {
        $crate::statistics::Statistics::visit(&$value, $see)
    };
    (visit $kind:ident $see:ident, $value:expr, $name:expr, $help:expr, $unit:tt) => {{
        let what = $crate::__statistic!(one $kind $name, $help, $unit);
        if let Some(number) = $crate::statistics::Measure::measure(&$value, what.unit) {
            $see(what, number);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    statistics! {
        /// Within another.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub(crate) struct Inner in "outer_inner" {
            /// Times that it happened,
            /// told over two lines.
            counter times: u64,
        }
    }

    statistics! {
        /// One of each kind.
        #[derive(Debug, Clone, PartialEq, Default)]
        struct Outer in "outer" {
            /// Of now.
            gauge level: usize,
            /// How long it took.
            gauge(Seconds) took: Duration as "outer_took_seconds",
            /// The sum of all times.
            counter(Microseconds) all: Duration as "outer_all_microseconds",
            /// Those within.
            group inner: Inner,
            /// Those that only some nodes have.
            group perhaps: Option<Inner>,
            /// Whether it holds.
            gauge(Flag) holds: bool,
            /// Why it stopped.
            gauge(Flag) stopped: Option<String>,
            /// What the system tells.
            gauge(Bytes) told: Option<u64>,
        }
    }

    fn seen(group: &Outer) -> Vec<(&'static str, Number)> {
        let mut seen = Vec::new();
        group.visit(&mut |what, number| seen.push((what.name, number)));
        seen
    }

    #[test]
    fn every_field_is_shown_with_its_number() {
        let mut outer = Outer {
            level: 3,
            took: Duration::from_millis(1_500),
            all: Duration::from_micros(7),
            inner: Inner { times: 5 },
            holds: true,
            ..Outer::default()
        };
        let mut want = vec![
            ("outer_level", Number::Whole(3)),
            ("outer_took_seconds", Number::Fraction(1.5)),
            ("outer_all_microseconds", Number::Whole(7)),
            ("outer_inner_times", Number::Whole(5)),
            ("outer_holds", Number::Whole(1)),
            ("outer_stopped", Number::Whole(0)),
        ];
        assert_eq!(seen(&outer), want, "what is not known is left out");
        outer.perhaps = Some(Inner { times: 9 });
        outer.stopped = Some("a reason".to_owned());
        outer.told = Some(11);
        want.insert(4, ("outer_inner_times", Number::Whole(9)));
        want[6].1 = Number::Whole(1);
        want.push(("outer_told", Number::Whole(11)));
        assert_eq!(seen(&outer), want);
    }

    #[test]
    fn what_is_declared_is_described_whether_known_or_not() {
        let mut all = Vec::new();
        Outer::describe(&mut |what| all.push(*what));
        assert_eq!(all.len(), 8);
        let find = |name| all.iter().find(|what| what.name == name).copied();
        let times = Statistic {
            name: "outer_inner_times",
            help: "Times that it happened, told over two lines.",
            kind: Kind::Counter,
            unit: Unit::Count,
        };
        assert_eq!(find("outer_inner_times"), Some(times));
        let told = find("outer_told").map(|what| (what.kind, what.unit));
        assert_eq!(told, Some((Kind::Gauge, Unit::Bytes)));
    }

    #[test]
    fn numbers_are_whole_or_not_as_asked() {
        assert_eq!(Number::Whole(3).as_f64().to_bits(), 3.0_f64.to_bits());
        assert_eq!((Number::Fraction(2.9).as_u64(), Number::Whole(4).as_u64()), (2, 4));
    }
}
