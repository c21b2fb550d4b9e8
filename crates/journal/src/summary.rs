//! The state of a run at some place of its log, kept beside it: readers go on from there instead of from the beginning.
//!
//! A summary is evidence and never state: no driver reads one, and what is not exactly as it was written is passed over,
//! so that the answer is that of the whole log, only later. docs/formats/summary.md has the format.

mod log;
pub(crate) mod octets;
mod shape;
mod whereabouts;

use bytes::Bytes;
use octets::{Put, Take};
use serde::{Deserialize, Serialize};

pub use log::{glance, read_summary, write_summary};
pub use whereabouts::Whereabouts;

use crate::{Event, MetricsFold, Position, RunMetrics, RunState, RunStatus, Stamped, StepIndex, StepSet, Topology};
use prunella_model::Span;

const MAGIC: &[u8] = b"prunella summary 1\n";

/// What a list of runs shows of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RunStatus>,
    /// Time in which a driver drove it.
    #[serde(rename = "wall_ms")]
    pub wall: Span,
    /// Ends of attempts that were not the program's own doing.
    pub interruptions: u64,
    /// How many of them were followed by a process of the same step.
    pub healed: u32,
}

impl Glance {
    /// Returns what is shown of a run with these figures.
    pub fn of(ended: Option<RunStatus>, figures: &RunMetrics) -> Self {
        let interruptions = figures.interruptions.len() as u64;
        Self { ended, wall: figures.wall, interruptions, healed: figures.healed }
    }
}

/// What a summary keeps of a run, at the newest event that it has seen.
#[derive(Debug)]
pub struct Kept {
    sections: Vec<Vec<u8>>,
    glance: Glance,
}

/// Keeps the state, and the figures of the same events.
///
/// Linear in the number of steps; nothing of it depends on what a driver has under way.
pub fn keep(state: &RunState, figures: &MetricsFold) -> Kept {
    let section = |write: &dyn Fn(&mut Put)| {
        let mut out = Put::default();
        write(&mut out);
        out.into_bytes()
    };
    let finished = figures.finish();
    Kept {
        sections: vec![
            section(&|out| state.topology().keep(out)),
            section(&|out| state.keep(figures.clock(), out)),
            section(&|out| out.json(&finished)),
            section(&|out| figures.keep(state, out)),
        ],
        glance: Glance::of(state.ended(), &finished),
    }
}

/// A summary as it was read.
#[derive(Debug, Clone)]
pub struct Summary {
    position: Position,
    glance: Glance,
    shape: Bytes,
    state: Bytes,
    finished: Bytes,
    figures: Bytes,
    whereabouts: Bytes,
    definitions: Bytes,
}

impl Summary {
    /// Returns how much of the log it stands for.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the state there; nothing if it cannot be understood.
    pub fn state(&self) -> Option<RunState> {
        let topology = Topology::shared_from_kept(&mut Take::new(&self.shape))?;
        RunState::from_kept(topology, &mut Take::new(&self.state))
    }

    /// Returns the figures as they stood there; nothing if they cannot be understood.
    pub fn finished(&self) -> Option<RunMetrics> {
        Take::new(&self.finished).json()
    }

    /// Returns the figures, to go on with events that are about `steps` or about no step.
    ///
    /// `state` is that of [`Summary::state`], before any further event.
    pub fn figures(&self, state: &RunState, steps: &StepSet) -> Option<MetricsFold> {
        MetricsFold::from_kept(state, steps, &mut Take::new(&self.figures))
    }

    /// Returns what a list of runs shows, after these further events; nothing if it cannot be understood.
    pub fn glance_after<'a>(&self, since: impl IntoIterator<Item = &'a Stamped>) -> Option<Glance> {
        let mut figures = MetricsFold::without_stands(&mut Take::new(&self.figures))?;
        let mut ended = self.glance.ended;
        for stamped in since {
            figures.push(stamped);
            match stamped.event {
                Event::RunEnded { status } => ended = Some(status),
                Event::DriverStarted { .. } => ended = None,
                _ => {}
            }
        }
        Some(Glance::of(ended, &figures.finish()))
    }

    /// Returns the segments that hold what happened to these steps up to there, in order; `steps` is sorted.
    pub fn segments_of(&self, steps: &[StepIndex]) -> Option<Vec<Position>> {
        whereabouts::segments_of(&self.whereabouts, steps)
    }

    /// Returns where the definitions of the steps are, as the writer gave it.
    pub fn definitions(&self) -> &[u8] {
        &self.definitions
    }

    fn body(kept: &Kept, whereabouts: &Whereabouts, definitions: &[u8]) -> Vec<u8> {
        let whereabouts = whereabouts.keep();
        let mut out = Put::default();
        MAGIC.iter().for_each(|byte| out.byte(*byte));
        for section in kept.sections.iter().map(Vec::as_slice).chain([&whereabouts[..], definitions]) {
            out.bytes(section);
        }
        out.into_bytes()
    }

    fn from_body(position: Position, glance: Glance, body: &Bytes) -> Option<Self> {
        let mut from = Take::new(body.strip_prefix(MAGIC)?);
        let mut section = || from.bytes().map(|bytes| body.slice_ref(bytes));
        let this = Self {
            position,
            glance,
            shape: section()?,
            state: section()?,
            finished: section()?,
            figures: section()?,
            whereabouts: section()?,
            definitions: section()?,
        };
        from.is_empty().then_some(this)
    }
}
