//! How long nodes stay, and events that affect many of them at once.

use crate::draw::Stream;

/// A model of churn. Unless it says otherwise, each node that leaves is replaced at once by a new one, so the
/// size of the network does not change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Churn {
    /// No node leaves.
    None,
    /// Exponential stays with this mean in seconds: without memory; the setting of most papers.
    Exponential(f64),
    /// Weibull stays: with a shape below 1, old nodes stay longer than new ones (Stutzbach and Rejaie, IMC
    /// 2006).
    Weibull {
        /// The exponent.
        shape: f64,
        /// The scale in seconds.
        scale: f64,
    },
    /// As [`weibull_ipfs`](Self::weibull_ipfs), and the size of the network swings by 30 % with the day.
    Diurnal,
    /// As [`weibull_ipfs`](Self::weibull_ipfs), and a tenth of the network's size joins within a minute in
    /// the middle of the run.
    Flash,
    /// As [`weibull_ipfs`](Self::weibull_ipfs), and this share of the nodes leaves at once and for good in
    /// the middle of the run, like all nodes of one provider or version.
    Correlated(f64),
}

/// Shape and scale from the sessions of IPFS: half of the joining nodes leave within 2 hours, 80 % within 8
/// (Protocol Labs, RFM 2).
const IPFS: Churn = Churn::Weibull { shape: 0.61, scale: 3.6 * 3600.0 };

impl Churn {
    /// Sessions as in IPFS.
    #[must_use]
    pub const fn weibull_ipfs() -> Self {
        IPFS
    }

    /// The hardest churn that Bamboo was tested with: half of the sessions end within 1.4 minutes (Rhea,
    /// Geels, Roscoe and Kubiatowicz, UCB/CSD-03-1299).
    #[must_use]
    pub fn bamboo() -> Self {
        Self::Exponential(84.0 / std::f64::consts::LN_2)
    }

    /// The model with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "ipfs" => Self::weibull_ipfs(),
            "bamboo" => Self::bamboo(),
            "hour" => Self::Exponential(3600.0),
            "diurnal" => Self::Diurnal,
            "flash" => Self::Flash,
            "correlated" => Self::Correlated(0.3),
            _ => return None,
        })
    }

    /// The names of all models.
    pub const NAMES: [&'static str; 7] =
        ["none", "ipfs", "bamboo", "hour", "diurnal", "flash", "correlated"];

    /// Mean seconds of a stay; infinite without churn.
    #[must_use]
    pub fn mean_seconds(&self) -> f64 {
        match self {
            Self::None => f64::INFINITY,
            Self::Exponential(mean) => *mean,
            Self::Weibull { shape, scale } => scale * gamma(1.0 + 1.0 / shape),
            Self::Diurnal | Self::Flash | Self::Correlated(_) => IPFS.mean_seconds(),
        }
    }

    /// Seconds that a joining node stays; `None`: for ever.
    pub(super) fn stay(&self, draws: &mut Stream) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Exponential(mean) => Some(draws.exponential(*mean)),
            Self::Weibull { shape, scale } => {
                Some(scale * draws.exponential(1.0).powf(1.0 / shape))
            }
            Self::Diurnal | Self::Flash | Self::Correlated(_) => IPFS.stay(draws),
        }
    }

    /// For a node that is present at a random moment: the seconds since it joined, and the seconds that it
    /// still stays. Long stays are more likely to include the moment: the stay is drawn with its length as
    /// the weight, and the moment is uniform in it.
    pub(super) fn met(&self, draws: &mut Stream) -> Option<(f64, f64)> {
        let stay = match self {
            Self::None => return None,
            Self::Exponential(mean) => {
                return Some((draws.exponential(*mean), draws.exponential(*mean)));
            }
            Self::Weibull { shape, scale } => {
                scale * draws.gamma(1.0 + 1.0 / shape).powf(1.0 / shape)
            }
            Self::Diurnal | Self::Flash | Self::Correlated(_) => return IPFS.met(draws),
        };
        let since = draws.unit() * stay;
        Some((since, stay - since))
    }
}

/// The gamma function from 1 to 5, by Stirling's series after three steps up (error under 1e-6).
fn gamma(x: f64) -> f64 {
    let y = x + 3.0;
    let log = (y - 0.5) * y.ln() - y + 0.5 * std::f64::consts::TAU.ln() + 1.0 / (12.0 * y)
        - 1.0 / (360.0 * y.powi(3));
    log.exp() / (x * (x + 1.0) * (x + 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stays(churn: Churn) -> Vec<f64> {
        let mut draws = Stream::new(5, 1);
        let mut all: Vec<f64> = (0..40_000).filter_map(|_| churn.stay(&mut draws)).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn stays_are_as_published() {
        let ipfs = stays(Churn::weibull_ipfs());
        let gone =
            |hours: f64| ipfs.partition_point(|stay| *stay < hours * 3600.0) as f64 / 40_000.0;
        assert!((gone(2.0) - 0.5).abs() < 0.01 && (gone(8.0) - 0.8).abs() < 0.01);
        let bamboo = stays(Churn::bamboo());
        assert!((bamboo[20_000] - 84.0).abs() < 3.0, "{}", bamboo[20_000]);
        assert!(stays(Churn::None).is_empty());
    }

    #[test]
    fn the_mean_of_stays_is_known() {
        for churn in [Churn::weibull_ipfs(), Churn::bamboo(), Churn::Exponential(3600.0)] {
            let mean = stays(churn).iter().sum::<f64>() / 40_000.0;
            assert!((mean / churn.mean_seconds() - 1.0).abs() < 0.03, "{churn:?} {mean}");
        }
    }

    #[test]
    fn a_node_that_is_met_stays_longer_than_one_that_joins() {
        let mut draws = Stream::new(6, 1);
        let ipfs = Churn::weibull_ipfs();
        let met: Vec<f64> =
            (0..40_000).filter_map(|_| ipfs.met(&mut draws)).map(|it| it.1).collect();
        let mean = met.iter().sum::<f64>() / 40_000.0;
        // The mean residual of a renewal process: E[X^2] / 2 E[X].
        let (shape, scale) = (0.61, 3.6 * 3600.0);
        let should = scale * scale * gamma(1.0 + 2.0 / shape) / 2.0 / ipfs.mean_seconds();
        assert!((mean / should - 1.0).abs() < 0.05, "{mean} {should}");
    }

    #[test]
    fn every_name_is_a_model() {
        assert!(Churn::NAMES.iter().all(|name| Churn::named(name).is_some()));
        assert_eq!(Churn::named("storm"), None);
    }
}
