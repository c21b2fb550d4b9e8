//! Tables of lives.

use super::{Trace, TraceError};
use crate::Life;

/// The column with the lives.
pub(super) const LIFE: &str = "life_seconds";

pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let heads = lines.next().map_or("", |(_, line)| line);
    let column = heads.split(',').position(|head| head.trim() == LIFE);
    let column = column.ok_or_else(|| TraceError::Whole(format!("there is no column `{LIFE}`")))?;
    let mut trace = Trace::default();
    for (index, line) in lines {
        let lived = line.split(',').nth(column).and_then(|cell| cell.trim().parse::<f64>().ok());
        match lived.filter(|lived| lived.is_finite() && *lived > 0.0) {
            Some(lived) => trace.lives.push(Life { lived, interrupted: true }),
            None => return Err(TraceError::line(index, format!("`{LIFE}` is no time above 0"))),
        }
    }
    Ok(trace)
}
