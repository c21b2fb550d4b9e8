//! In which segments of the log the events of each step are.

use super::octets::{Put, Take};
use crate::{Position, StepIndex};

/// Where the events of each step are, segment by segment; costs a few words a step.
#[derive(Debug, Clone, Default)]
pub struct Whereabouts {
    /// The drivers whose segments count, and how many of each, from its first.
    drivers: Vec<(u64, u64)>,
    /// The number of segments so far.
    segments: u32,
    /// The newest segment, counted from 1, of each step.
    newest: Vec<u32>,
    /// A step, and one of its segments.
    found: Vec<(StepIndex, u32)>,
}

impl Whereabouts {
    /// Goes on with the next segment of the log; the notes that follow are about it.
    pub fn begin(&mut self, position: Position) {
        match self.drivers.last_mut() {
            Some((driver, count)) if *driver == position.driver => *count = position.seq,
            _ => self.drivers.push((position.driver, position.seq)),
        }
        self.segments += 1;
    }

    /// Notes that the present segment holds an event of the step.
    pub fn note(&mut self, step: StepIndex) {
        if self.newest.len() <= step.as_usize() {
            self.newest.resize(step.as_usize() + 1, 0);
        }
        if std::mem::replace(&mut self.newest[step.as_usize()], self.segments) != self.segments {
            self.found.push((step, self.segments));
        }
    }

    /// Returns how many notes there are: what keeping them costs.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Returns whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn keep(&self) -> Vec<u8> {
        let mut out = Put::default();
        out.number(self.drivers.len() as u64);
        for (driver, count) in &self.drivers {
            out.number(*driver);
            out.number(*count);
        }
        // By step, each step's in their order: sorted by counting, since there may be millions.
        let mut ends = vec![0_u32; self.newest.len() + 1];
        for (step, _) in &self.found {
            ends[step.as_usize() + 1] += 1;
        }
        for step in 1..ends.len() {
            ends[step] += ends[step - 1];
        }
        let mut sorted = vec![0_u32; self.found.len()];
        let mut next = ends.clone();
        for (step, segment) in &self.found {
            let place = &mut next[step.as_usize()];
            sorted[*place as usize] = *segment;
            *place += 1;
        }
        out.number(self.newest.len() as u64);
        for step in 0..self.newest.len() {
            let segments = &sorted[ends[step] as usize..ends[step + 1] as usize];
            out.number(segments.len() as u64);
            let mut last = 0;
            for segment in segments {
                out.number(u64::from(segment - last));
                last = *segment;
            }
        }
        out.into_bytes()
    }
}

/// Returns the segments of these steps, which are sorted, in the order of the log; nothing if the bytes are none of
/// [`Whereabouts`].
pub(super) fn segments_of(bytes: &[u8], steps: &[StepIndex]) -> Option<Vec<Position>> {
    let mut from = Take::new(bytes);
    let mut drivers = Vec::new();
    for _ in 0..from.count()? {
        drivers.push((from.number()?, from.number()?));
    }
    let known = from.count()?;
    let mut wanted = steps.iter().map(|step| step.as_usize()).peekable();
    let mut found = Vec::new();
    for step in 0..known {
        let wants = wanted.next_if_eq(&step).is_some();
        if !wants && wanted.peek().is_none() {
            break;
        }
        let mut segment = 0_u64;
        for _ in 0..from.count()? {
            segment = segment.checked_add(from.number()?)?;
            if wants {
                found.push(segment);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|segment| position(&drivers, segment)).collect()
}

fn position(drivers: &[(u64, u64)], mut segment: u64) -> Option<Position> {
    for (driver, count) in drivers {
        if segment <= *count {
            return Some(Position { driver: *driver, seq: segment }).filter(|position| position.seq > 0);
        }
        segment -= count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(driver: u64, seq: u64) -> Position {
        Position { driver, seq }
    }

    #[test]
    fn the_segments_of_a_step_are_found_and_no_others() {
        let step = StepIndex::new;
        let mut all = Whereabouts::default();
        let log = [(at(1, 1), vec![0, 1, 0]), (at(1, 2), vec![1]), (at(3, 1), vec![]), (at(3, 2), vec![1, 4])];
        for (position, steps) in &log {
            all.begin(*position);
            steps.iter().for_each(|place| all.note(step(*place)));
        }
        let bytes = all.keep();
        let of = |steps: &[u32]| segments_of(&bytes, &steps.iter().map(|place| step(*place)).collect::<Vec<_>>());
        assert_eq!(of(&[0]), Some(vec![at(1, 1)]));
        assert_eq!(of(&[1]), Some(vec![at(1, 1), at(1, 2), at(3, 2)]));
        assert_eq!(of(&[2]), Some(vec![]));
        assert_eq!(of(&[0, 4]), Some(vec![at(1, 1), at(3, 2)]));
        assert_eq!(of(&[7]), Some(vec![]), "nothing happened to it");
        assert_eq!(segments_of(&bytes[..bytes.len() - 1], &[step(4)]), None);
    }
}
