//! How many machines there were, look by look.

use serde_json::Value;

use super::{Trace, TraceError};
use crate::Life;

/// A group is there while all of its machines are: for a trace of four nodes, while there are four.
pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let value: Value = serde_json::from_str(text).map_err(|error| TraceError::Whole(error.to_string()))?;
    let gap = value["metadata"]["gap_seconds"].as_f64().filter(|gap| gap.is_finite() && *gap > 0.0);
    let gap = gap.ok_or_else(|| TraceError::Whole("`metadata.gap_seconds` is no time above 0".to_owned()))?;
    let data = value["data"].as_array().ok_or_else(|| TraceError::Whole("`data` is no list".to_owned()))?;
    let number = |(index, look): (usize, &Value)| {
        look.as_u64().ok_or_else(|| TraceError::Whole(format!("`data[{index}]` is no number of machines")))
    };
    let looks: Vec<u64> = data.iter().enumerate().map(number).collect::<Result<_, _>>()?;
    let whole = looks.iter().copied().max().unwrap_or(0).max(1);
    let mut trace = Trace::default();
    let (mut up, mut down) = (0u32, 0u32);
    for look in looks {
        if look >= whole {
            // Before the first machine nobody knows how long there was none.
            if down > 0 && !trace.lives.is_empty() {
                trace.gaps.push(f64::from(down) * gap);
            }
            (up, down) = (up + 1, 0);
        } else {
            if up > 0 {
                trace.lives.push(Life { lived: f64::from(up) * gap, interrupted: true });
            }
            (up, down) = (0, down + 1);
        }
    }
    if up > 0 {
        trace.lives.push(Life { lived: f64::from(up) * gap, interrupted: false });
    }
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_there_while_all_of_it_is_and_the_last_life_is_cut_off() {
        let text = r#"{"metadata": {"gap_seconds": 10}, "data": [0, 4, 4, 3, 0, 4, 0, 0, 4, 4, 4]}"#;
        let trace = read(text).expect("a trace");
        let life = |lived, interrupted| Life { lived, interrupted };
        assert_eq!(trace.lives, [life(20.0, true), life(10.0, true), life(30.0, false)]);
        assert_eq!(trace.gaps, [20.0, 20.0]);
    }
}
