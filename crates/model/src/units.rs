//! Durations and sizes with their units in the type.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no number at the front.
    #[error("`{0}` has no number")]
    NoNumber(String),
    /// There is no unit, or one that is not known.
    #[error("`{text}` has {}; units are {known}", if .unit.is_empty() { "no unit".to_owned() } else { format!("the unknown unit `{unit}`") })]
    Unit {
        /// The whole text.
        text: String,
        /// What stands where the unit should be.
        unit: String,
        /// The units that are known.
        known: &'static str,
    },
    /// The number does not fit.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

fn split(text: &str) -> Result<(u64, u64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    let whole = whole.parse().map_err(|_| UnitError::TooLarge(text.to_owned()))?;
    let mut thousandths = 0;
    for (i, digit) in fraction.bytes().take(3).enumerate() {
        thousandths += u64::from(digit - b'0') * [100, 10, 1][i];
    }
    Ok((whole, thousandths, unit.trim()))
}

fn scaled(text: &str, known: &'static str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    let (whole, thousandths, unit) = split(text)?;
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::Unit { text: text.trim().to_owned(), unit: unit.to_owned(), known });
    };
    whole
        .checked_mul(*factor)
        .and_then(|n| n.checked_add((u128::from(thousandths) * u128::from(*factor) / 1000) as u64))
        .ok_or_else(|| UnitError::TooLarge(text.trim().to_owned()))
}

/// A length of time in whole milliseconds; written `250ms`, `30s`, `10m`, `2h`, `1d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(u64);

impl Span {
    /// Returns the span of `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Returns the span of `s` seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1000)
    }

    /// Returns the milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the standard library's duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, "ms, s, m, h, d", &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)])
            .map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(86_400_000) => write!(f, "{}d", ms / 86_400_000),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1000) => write!(f, "{}s", ms / 1000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A number of bytes; written `0B`, `512KiB`, `2GiB`, or with decimal units `kB`, `MB`, `GB`, `TB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(
            text,
            "B, KiB, MiB, GiB, TiB, kB, MB, GB, TB",
            &[
                ("B", 1),
                ("KiB", 1 << 10),
                ("MiB", 1 << 20),
                ("GiB", 1 << 30),
                ("TiB", 1 << 40),
                ("kB", 1_000),
                ("MB", 1_000_000),
                ("GB", 1_000_000_000),
                ("TB", 1_000_000_000_000),
            ],
        )
        .map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, unit) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= unit {
                return if self.0.is_multiple_of(unit) {
                    write!(f, "{} {name}", self.0 / unit)
                } else {
                    write!(f, "{:.1} {name}", self.0 as f64 / unit as f64)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_never_guessed() {
        assert_eq!("1.5s".parse(), Ok(Span::from_millis(1500)));
        assert_eq!("10m".parse(), Ok(Span::from_secs(600)));
        assert!(matches!("10".parse::<Span>(), Err(UnitError::Unit { .. })));
        assert!(matches!("10 parsecs".parse::<Span>(), Err(UnitError::Unit { .. })));
        assert!(matches!("s".parse::<Span>(), Err(UnitError::NoNumber(_))));
        assert!(matches!("99999999999999999999s".parse::<Span>(), Err(UnitError::TooLarge(_))));
        assert_eq!("2GiB".parse(), Ok(ByteSize(2 << 30)));
        assert_eq!("1.5 MiB".parse(), Ok(ByteSize(3 << 19)));
        assert!(matches!("2G".parse::<ByteSize>(), Err(UnitError::Unit { .. })));
    }
}
