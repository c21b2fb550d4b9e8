//! How long machines live.

use libm::{erfc, tgamma};

use crate::Draws;

/// Says why lives cannot be as they were asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LivesError {
    /// A number is not above nothing, or no number.
    #[error("`{name}` must be above 0 and finite, not {value}")]
    NotPositive {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// A list of lives has none.
    #[error("there are no lives in it")]
    None,
}

/// The time from a machine's start to its interruption, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Lives {
    /// Any instant is as dangerous as any other.
    Exponential {
        /// The mean.
        mean: f64,
    },
    /// With a shape below 1, as on spot machines, young machines are in more danger than old ones.
    Weibull {
        /// The shape k.
        shape: f64,
        /// The scale λ.
        scale: f64,
    },
    /// The logarithm of a life is normally distributed.
    Lognormal {
        /// The standard deviation of the logarithm.
        spread: f64,
        /// The median.
        median: f64,
    },
    /// Weibull up to a cap that the provider sets; what is left then goes soon after, exponentially.
    Capped {
        /// The shape k.
        shape: f64,
        /// The scale λ.
        scale: f64,
        /// The cap.
        cap: f64,
        /// The mean time from the cap to the end.
        after: f64,
    },
    /// F(t) = A·(1 − e^(−t/t₁) + e^((t − b)/t₂)); whoever is left at the cap ends there.
    ///
    /// J. Kadupitige, V. Jadhao, P. Sharma, *Modeling the temporally constrained preemptions of transient cloud VMs*, HPDC 2020.
    Bathtub {
        /// A.
        share: f64,
        /// t₁: how fast the young are taken.
        early: f64,
        /// t₂: how fast the old are.
        late: f64,
        /// b: around when the old are.
        around: f64,
        /// The cap.
        cap: f64,
    },
    /// As recorded: each as likely as any other.
    Recorded(Vec<f64>),
}

const HOUR: f64 = 3600.0;

impl Lives {
    /// Returns the Weibull lives of this mean and shape.
    pub fn weibull_of_mean(mean: f64, shape: f64) -> Self {
        Self::Weibull { shape, scale: mean / tgamma(1.0 + 1.0 / shape) }
    }

    /// Returns the preemptible machines of Google's cloud in 2019, all kinds together: a fit of 1,442 lives.
    ///
    /// The lives are those that Kadupitige and others published with their paper; the greatest deviation of the fit is 0.093.
    pub const fn gcp_2019() -> Self {
        Self::Bathtub { share: 0.638, early: 0.965 * HOUR, late: 1.093 * HOUR, around: 25.36 * HOUR, cap: 24.0 * HOUR }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`LivesError`] for the first that cannot be.
    pub fn checked(self) -> Result<Self, LivesError> {
        let numbers: &[(&'static str, f64)] = match &self {
            Self::Exponential { mean } => &[("mean", *mean)],
            Self::Weibull { shape, scale } => &[("shape", *shape), ("scale", *scale)],
            Self::Lognormal { spread, median } => &[("spread", *spread), ("median", *median)],
            Self::Capped { shape, scale, cap, after } => {
                &[("shape", *shape), ("scale", *scale), ("cap", *cap), ("after", *after)]
            }
            Self::Bathtub { share, early, late, around, cap } => {
                &[("share", *share), ("early", *early), ("late", *late), ("around", *around), ("cap", *cap)]
            }
            Self::Recorded(lives) if lives.is_empty() => return Err(LivesError::None),
            Self::Recorded(lives) => match lives.iter().find(|life| !is_positive(**life)) {
                Some(life) => return Err(LivesError::NotPositive { name: "life", value: *life }),
                None => &[],
            },
        };
        match numbers.iter().find(|(_, value)| !is_positive(*value)) {
            Some((name, value)) => Err(LivesError::NotPositive { name, value: *value }),
            None => Ok(self),
        }
    }

    /// Returns the cumulative hazard up to an age: −ln of the share that lives longer.
    pub fn hazard_until(&self, age: f64) -> f64 {
        let age = age.max(0.0);
        match self {
            Self::Exponential { mean } => age / mean,
            Self::Weibull { shape, scale } => (age / scale).powf(*shape),
            Self::Lognormal { spread, median } => -log_of_upper_tail((age.max(1e-9) / median).ln() / spread),
            Self::Capped { shape, scale, cap, after } => {
                (age.min(*cap) / scale).powf(*shape) + (age - cap).max(0.0) / after
            }
            Self::Bathtub { .. } | Self::Recorded(_) => -self.alive_at(age).ln(),
        }
    }

    /// Returns the share of lives that are longer than this.
    pub fn alive_at(&self, age: f64) -> f64 {
        match self {
            Self::Bathtub { share, early, late, around, cap } => {
                if age >= *cap {
                    return 0.0;
                }
                let ended = 1.0 - (-age / early).exp() + ((age - around) / late).exp();
                (1.0 - share * ended).clamp(0.0, 1.0)
            }
            Self::Recorded(lives) => lives.iter().filter(|life| **life > age).count() as f64 / lives.len() as f64,
            _ => (-self.hazard_until(age)).exp(),
        }
    }

    /// Returns the logarithm of the density at an age; nothing for those that have none: they are drawn, not fitted.
    pub(crate) fn log_density(&self, age: f64) -> Option<f64> {
        let of_weibull = |shape: f64, scale: f64| (shape / scale).ln() + (shape - 1.0) * (age / scale).ln();
        let log_rate = match self {
            Self::Exponential { mean } => -mean.ln(),
            Self::Weibull { shape, scale } => of_weibull(*shape, *scale),
            Self::Capped { shape, scale, cap, .. } if age < *cap => of_weibull(*shape, *scale),
            Self::Capped { after, .. } => -after.ln(),
            Self::Lognormal { spread, median } => {
                let z = (age / median).ln() / spread;
                return Some(-0.5 * z * z - (age * spread * std::f64::consts::TAU.sqrt()).ln());
            }
            Self::Bathtub { .. } | Self::Recorded(_) => return None,
        };
        Some(log_rate - self.hazard_until(age))
    }

    /// Returns the mean.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Exponential { mean } => *mean,
            Self::Weibull { shape, scale } => scale * tgamma(1.0 + 1.0 / shape),
            Self::Lognormal { spread, median } => median * (0.5 * spread * spread).exp(),
            Self::Capped { cap, after, .. } => self.area(*cap) + after * self.alive_at(*cap),
            Self::Bathtub { cap, .. } => self.area(*cap),
            Self::Recorded(lives) => lives.iter().sum::<f64>() / lives.len() as f64,
        }
    }

    /// Integrates the share that is alive up to an age; finer where machines are young.
    fn area(&self, until: f64) -> f64 {
        const STEPS: u32 = 4000;
        let at = |step: u32| until * (f64::from(step) / f64::from(STEPS)).powi(3);
        (0..STEPS).map(|i| (at(i + 1) - at(i)) * self.alive_at(f64::midpoint(at(i), at(i + 1)))).sum()
    }

    /// Returns a life.
    pub fn draw(&self, draws: &mut Draws) -> f64 {
        match self {
            Self::Exponential { mean } => draws.exponential(*mean),
            Self::Weibull { shape, scale } => scale * draws.exponential(1.0).powf(1.0 / shape),
            Self::Lognormal { spread, median } => median * (spread * draws.normal()).exp(),
            Self::Capped { shape, scale, cap, after } => {
                let (hazard, at_cap) = (draws.exponential(1.0), (cap / scale).powf(*shape));
                if hazard < at_cap { scale * hazard.powf(1.0 / shape) } else { cap + (hazard - at_cap) * after }
            }
            Self::Bathtub { cap, .. } => {
                let left = draws.share();
                let (mut young, mut old) = (0.0, *cap);
                for _ in 0..60 {
                    let middle = f64::midpoint(young, old);
                    if self.alive_at(middle) > left { young = middle } else { old = middle }
                }
                old
            }
            Self::Recorded(lives) => lives[draws.below(lives.len())],
        }
    }
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// Returns ln(1 − Φ(z)), also where the tail is too small for a number.
pub(crate) fn log_of_upper_tail(z: f64) -> f64 {
    if z < 30.0 {
        (0.5 * erfc(z / std::f64::consts::SQRT_2)).ln()
    } else {
        // The first terms of Mills' ratio: exact to ten digits here.
        -0.5 * z * z - (z * std::f64::consts::TAU.sqrt()).ln() - 1.0 / (z * z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Lives> {
        vec![
            Lives::Exponential { mean: 3600.0 },
            Lives::Weibull { shape: 0.596, scale: 6300.0 },
            Lives::Lognormal { spread: 1.465, median: 2880.0 },
            Lives::Capped { shape: 0.43, scale: 30_800.0, cap: 86_400.0, after: 980.0 },
            Lives::gcp_2019(),
            Lives::Recorded(vec![60.0, 600.0, 600.0, 86_000.0]),
        ]
    }

    #[test]
    fn what_is_drawn_is_what_is_said() {
        for lives in all() {
            let mut draws = Draws::new(9);
            let drawn: Vec<f64> = (0..200_000).map(|_| lives.draw(&mut draws)).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            assert!((mean / lives.mean() - 1.0).abs() < 0.02, "{lives:?}: {mean}, not {}", lives.mean());
            for age in [30.0, 600.0, 5000.0, 40_000.0, 86_399.0, 87_000.0] {
                let alive = drawn.iter().filter(|life| **life > age).count() as f64 / drawn.len() as f64;
                assert!((alive - lives.alive_at(age)).abs() < 0.005, "{lives:?} at {age}: {alive}");
            }
        }
    }

    #[test]
    fn the_bathtub_has_its_reference_values() {
        let values = [(0.5, 0.258), (1.0, 0.412), (3.0, 0.610), (12.0, 0.638), (23.0, 0.712)];
        for (hours, ended) in values {
            let is = 1.0 - Lives::gcp_2019().alive_at(hours * HOUR);
            assert!((is - ended).abs() < 0.0011, "{hours} h: {is}");
        }
        // Without the cap it would be 0.822 at 24 h; with it nobody is left.
        let ended = 1.0 - Lives::gcp_2019().alive_at(24.0 * HOUR - 1e-6);
        assert!((ended - 0.822).abs() < 0.0011, "{ended}");
        assert!(Lives::gcp_2019().alive_at(24.0 * HOUR) == 0.0);
        for (hours, hazard) in [(0, 0.392), (1, 0.196), (2, 0.099)] {
            let alive = |at: i32| Lives::gcp_2019().alive_at(f64::from(at) * HOUR);
            let is = 1.0 - alive(hours + 1) / alive(hours);
            assert!((is - hazard).abs() < 0.11, "hour {hours}: {is}, measured {hazard}");
        }
    }

    #[test]
    fn the_density_is_what_the_share_of_the_living_loses() {
        for lives in all() {
            for age in [100.0, 3000.0, 50_000.0, 90_000.0] {
                let Some(log) = lives.log_density(age) else { continue };
                let step = age * 1e-4;
                let slope = (lives.alive_at(age - step) - lives.alive_at(age + step)) / (2.0 * step);
                assert!((log.exp() / slope - 1.0).abs() < 1e-3 || slope < 1e-12, "{lives:?} at {age}: {slope}");
            }
        }
        assert!((log_of_upper_tail(29.999) - log_of_upper_tail(30.001)).abs() < 0.07, "both ways of the tail meet");
    }

    #[test]
    fn a_number_that_cannot_be_is_named() {
        let wrong = Lives::Weibull { shape: 0.0, scale: 1.0 }.checked();
        assert_eq!(wrong, Err(LivesError::NotPositive { name: "shape", value: 0.0 }));
        assert_eq!(Lives::Recorded(Vec::new()).checked(), Err(LivesError::None));
        assert!(Lives::Recorded(vec![1.0, f64::NAN]).checked().is_err() && Lives::gcp_2019().checked().is_ok());
    }
}
