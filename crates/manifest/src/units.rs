//! Durations, sizes and ranges of them.

use std::str::FromStr;

use prunella_model::{Backoff, ByteSize, Span, UnitError};

use crate::{
    diagnostic::{Mark, clip},
    reader::Reader,
    tree::NodeId,
};

/// A quantity with a unit.
pub(crate) trait Quantity: FromStr<Err = UnitError> + PartialOrd + Copy {
    const WHAT: &'static str;
    const EXAMPLE: &'static str;
    const UNITS: &'static str;
}

impl Quantity for Span {
    const WHAT: &'static str = "a duration";
    const EXAMPLE: &'static str = "30s";
    const UNITS: &'static str = "ms, s, m, h, d";
}

impl Quantity for ByteSize {
    const WHAT: &'static str = "a size";
    const EXAMPLE: &'static str = "2GiB";
    const UNITS: &'static str = "B, KiB, MiB, GiB, TiB, kB, MB, GB, TB";
}

impl Reader<'_> {
    pub fn quantity<Q: Quantity>(&mut self, id: NodeId, what: &str) -> Option<Q> {
        let text = self.text(id, what)?;
        let mark = self.mark(id);
        self.parse_quantity(text, mark)
    }

    /// Returns a duration that is not zero.
    pub fn positive_span(&mut self, id: NodeId, what: &str) -> Option<Span> {
        let span: Span = self.quantity(id, what)?;
        if span == Span::from_millis(0) {
            let mark = self.mark(id);
            self.found.error("out-of-range", mark, format!("{what} must be longer than zero"));
            return None;
        }
        Some(span)
    }

    fn parse_quantity<Q: Quantity>(&mut self, text: &str, mark: Mark) -> Option<Q> {
        let error = match text.parse() {
            Ok(quantity) => return Some(quantity),
            Err(error) => error,
        };
        let shown = clip(text.trim());
        let example = format!("write {} such as `{}`; units are {}", Q::WHAT, Q::EXAMPLE, Q::UNITS);
        match error {
            UnitError::NoNumber(_) => {
                self.found.error("wrong-unit", mark, format!("`{shown}` is not {}", Q::WHAT)).help(example);
            }
            UnitError::Unit { unit, .. } if unit.is_empty() => {
                self.found.error("wrong-unit", mark, format!("`{shown}` has no unit")).help(example);
            }
            UnitError::Unit { unit, .. } => {
                self.found
                    .error("wrong-unit", mark, format!("`{shown}` has the unknown unit `{}`", clip(&unit)))
                    .help(example);
            }
            UnitError::TooLarge(_) => {
                self.found.error("out-of-range", mark, format!("`{shown}` is too large"));
            }
        }
        None
    }

    /// Returns `A..B`, or `A` alone.
    fn range<Q: Quantity>(&mut self, id: NodeId, what: &str) -> Option<(Q, Option<Q>)> {
        let text = self.text(id, what)?;
        let mark = self.mark(id);
        let Some((first, last)) = text.split_once("..") else {
            return self.parse_quantity(text, mark).map(|first| (first, None));
        };
        let (low, high) = (self.parse_quantity::<Q>(first, mark), self.parse_quantity::<Q>(last, mark));
        let (low, high) = (low?, high?);
        if low > high {
            self.found
                .error("reversed-range", mark, format!("{what} goes from the larger to the smaller"))
                .help(format!("write `{}..{}`", clip(last.trim()), clip(first.trim())));
            return None;
        }
        Some((low, Some(high)))
    }

    /// Returns memory to begin with and memory to grow to.
    pub fn memory(&mut self, id: NodeId) -> Option<(ByteSize, Option<ByteSize>)> {
        let (low, high) = self.range::<ByteSize>(id, "`memory`")?;
        if low.bytes() == 0 {
            let mark = self.mark(id);
            self.found.error("out-of-range", mark, "`memory` must be more than nothing");
            return None;
        }
        Some((low, high))
    }

    pub fn backoff(&mut self, id: NodeId) -> Option<Backoff> {
        let (first, most) = self.range::<Span>(id, "`backoff`")?;
        Some(Backoff { first, most: most.unwrap_or(first) })
    }

    /// Returns thousandths of a processor.
    pub fn cpu(&mut self, id: NodeId) -> Option<u32> {
        let text = self.text(id, "`cpu`")?;
        let mark = self.mark(id);
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if !(digits(whole) && digits(fraction)) || whole.is_empty() {
            self.found
                .error("wrong-type", mark, format!("`cpu` is a number of processors, not `{}`", clip(text)))
                .help("write `cpu: 2`, or `cpu: 0.5` for half of one");
            return None;
        }
        let thousandths = format!("{:0<3}", fraction.trim_end_matches('0'));
        let millis = (thousandths.len() == 3)
            .then(|| whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(thousandths.parse().ok()?))
            .flatten()
            .filter(|millis| *millis > 0);
        if millis.is_none() {
            self.found
                .error("out-of-range", mark, format!("`cpu` cannot be `{}`", clip(text)))
                .help("the least is 0.001, in steps of 0.001");
        }
        millis
    }
}
