//! How many machines there were, change by change.
//!
//! Which machine went is not told: each of those that were there is as likely, and a fixed seed decides. Published files
//! count time in milliseconds, seconds or hours and do not say so: decimals are hours, multiples of a minute in milliseconds
//! are milliseconds, anything else is seconds.

use super::{Pool, Trace, TraceError};
use crate::{Draws, Life};

pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let mut changes: Vec<(f64, usize)> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || TraceError::line(index, "not `time,machines`");
        let (time, machines) = line.trim().split_once(',').ok_or_else(wrong)?;
        let time: f64 = time.parse().map_err(|_| wrong())?;
        let machines: usize = machines.parse().map_err(|_| wrong())?;
        if !time.is_finite() || changes.last().is_some_and(|(last, _)| time < *last) {
            return Err(TraceError::line(index, "time goes back"));
        }
        if machines > 1_000_000 {
            return Err(TraceError::line(index, "more than a million machines"));
        }
        changes.push((time, machines));
    }
    let whole = changes.iter().all(|(time, _)| time.fract() == 0.0);
    let minutes = changes.iter().all(|(time, _)| time % 60_000.0 == 0.0);
    let unit = match (whole, minutes && changes.len() > 2) {
        (false, _) => 3600.0,
        (true, true) => 0.001,
        (true, false) => 1.0,
    };
    let (mut pool, mut draws) = (Pool::default(), Draws::new(0));
    for &(time, machines) in &changes {
        let now = time * unit;
        while pool.started.len() < machines {
            pool.started.push(now);
        }
        while pool.started.len() > machines {
            let gone = pool.started.swap_remove(draws.below(pool.started.len()));
            pool.lives.push(Life { lived: now - gone, interrupted: true });
        }
    }
    Ok(pool.end(changes.last().map_or(0.0, |(time, _)| time * unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_by_the_look_of_the_times() {
        let lived = |text: &str| read(text).expect("a trace").interrupted();
        assert_eq!(lived("0,1\n90,0\n100,0\n"), [90.0]);
        assert_eq!(lived("0.000,1\n0.500,0\n"), [1800.0]);
        assert_eq!(lived("0,1\n60000,1\n180000,0\n"), [180.0]);
    }

    #[test]
    fn every_machine_that_came_went_or_is_left() {
        let trace = read("0,5\n10,3\n20,6\n35,1\n40,1\n").expect("a trace");
        assert_eq!(trace.lives.len(), 8);
        assert_eq!(trace.lives.iter().filter(|life| !life.interrupted).count(), 1);
        let lived: f64 = trace.lives.iter().map(|life| life.lived).sum();
        assert!((lived - (50.0 + 30.0 + 90.0 + 5.0)).abs() < 1e-9, "no second is lost: {lived}");
    }
}
