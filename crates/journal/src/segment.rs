//! One segment of the log as bytes: a head, an event a line, and a foot that seals them.

use std::collections::HashSet;

use bytes::Bytes;
use prunella_model::{Digest, RunId, Span};
use serde::{Deserialize, Serialize};

use crate::{Event, Stamped};

/// The version of the segment and of the lines in it.
pub const FORMAT: u32 = 1;

/// Which segment it is: the `seq`-th that a driver of a run wrote, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    /// The run.
    pub run: RunId,
    /// The driver.
    pub driver: u64,
    /// The number.
    pub seq: u64,
}

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}-{}", self.run, self.driver, self.seq)
    }
}

/// Says why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store did not do it; [`prunella_objects::ObjectsError::remedy`] says what to do.
    #[error("could not reach the journal's segments at `{key}`")]
    Objects {
        /// The segment's key, or the prefix that was listed.
        key: String,
        /// What the store said.
        source: prunella_objects::ObjectsError,
    },
    /// The segment is torn: its head or foot is not there.
    #[error("segment `{segment}` is torn")]
    Torn {
        /// The segment's key.
        segment: String,
    },
    /// The bytes are not those that were written.
    #[error("segment `{segment}` does not match its checksum")]
    Damaged {
        /// The segment's key.
        segment: String,
    },
    /// The segment lies under the name of another.
    #[error("segment `{segment}` says that it is `{found}`")]
    Misplaced {
        /// The segment's key.
        segment: String,
        /// What its head says.
        found: SegmentId,
    },
    /// A segment between two others is not there.
    #[error("the journal of run `{run}` lacks segment {seq} of driver {driver}")]
    Missing {
        /// The run.
        run: RunId,
        /// The driver.
        driver: u64,
        /// The number that is not there.
        seq: u64,
    },
    /// A line is whole and yet no event: a mistake of the writer.
    #[error("segment `{segment}` line {line} is not an event")]
    Line {
        /// The segment's key.
        segment: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A newer Prunella wrote it.
    #[error("segment `{segment}` line {line} has {what}, which a newer version wrote")]
    NewerFormat {
        /// The segment's key.
        segment: String,
        /// The line, from 1.
        line: usize,
        /// The format number or kind of event that is not known here.
        what: String,
    },
    /// A key under the journal's prefix is no segment's.
    #[error("`{key}` is not the key of a journal segment")]
    Key {
        /// The key.
        key: String,
    },
}

/// What the caller must do about a [`JournalError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// As the store's error says.
    AskStore,
    /// Update Prunella.
    Update,
    /// The log is damaged: state comes from the store's records instead.
    UseRecords,
}

impl JournalError {
    /// Returns the key of the segment, or the prefix of those, that it is about.
    pub fn segment(&self) -> String {
        match self {
            Self::Objects { key, .. } | Self::Key { key } => key.clone(),
            Self::Torn { segment }
            | Self::Damaged { segment }
            | Self::Misplaced { segment, .. }
            | Self::Line { segment, .. }
            | Self::NewerFormat { segment, .. } => segment.clone(),
            Self::Missing { run, driver, seq } => {
                crate::segment_key(&SegmentId { run: run.clone(), driver: *driver, seq: *seq }).to_string()
            }
        }
    }

    /// Returns what the caller must do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Objects { .. } => Remedy::AskStore,
            Self::NewerFormat { .. } | Self::Key { .. } => Remedy::Update,
            Self::Torn { .. }
            | Self::Damaged { .. }
            | Self::Misplaced { .. }
            | Self::Missing { .. }
            | Self::Line { .. } => Remedy::UseRecords,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    prunella_journal: u32,
    #[serde(flatten)]
    id: SegmentId,
}

#[derive(Serialize)]
struct LineOut<'a> {
    v: u32,
    at_ms: u64,
    mono_ms: Span,
    event: &'a Event,
}

#[derive(Deserialize)]
struct Line {
    v: u32,
    at_ms: u64,
    mono_ms: Span,
    event: Event,
}

/// What every version of a line has, to tell a newer one from a broken one.
#[derive(Deserialize)]
struct Probe {
    v: u32,
    event: ProbeEvent,
}

#[derive(Deserialize)]
struct ProbeEvent {
    r#type: String,
}

fn foot(above: &[u8]) -> String {
    format!("{{\"end\":\"{}\"}}\n", Digest::of(above))
}

/// The length of every foot.
const FOOT: usize = "{\"end\":\"b3:\"}\n".len() + 64;

/// Appends the event as the line that it is in a segment.
pub fn write_line(out: &mut Vec<u8>, stamped: &Stamped) {
    let Stamped { at_ms, mono, event } = stamped;
    let line = LineOut { v: FORMAT, at_ms: *at_ms, mono_ms: *mono, event };
    serde_json::to_writer(&mut *out, &line).expect(PLAIN);
    out.push(b'\n');
}

const PLAIN: &str = "events hold nothing that JSON cannot";

/// Returns the bytes of a segment.
pub fn encode(id: &SegmentId, events: &[Stamped]) -> Bytes {
    let mut out = Vec::with_capacity(256 * (events.len() + 1));
    serde_json::to_writer(&mut out, &Head { prunella_journal: FORMAT, id: id.clone() }).expect(PLAIN);
    out.push(b'\n');
    events.iter().for_each(|event| write_line(&mut out, event));
    let foot = foot(&out);
    out.extend_from_slice(foot.as_bytes());
    out.into()
}

/// Reads a segment; `name` is what errors call it.
///
/// The checksum is looked at first, so that a torn or changed segment is never taken for a newer or broken one.
///
/// # Errors
/// [`JournalError`] for the first thing that is wrong. An event that this version does not know is an error, never skipped.
pub fn decode(name: &str, bytes: &[u8]) -> Result<(SegmentId, Vec<Stamped>), JournalError> {
    decode_lines(name, bytes, |_| true)
}

/// Reads at least the events of a segment that are about steps of these names.
///
/// # Errors
/// As [`decode`], for what is read.
pub fn decode_about(name: &str, bytes: &[u8], steps: &HashSet<&str>) -> Result<Vec<Stamped>, JournalError> {
    // As it is written: the first thing that an event says after its type is the step that it is about.
    const STEP: &[u8] = b"\"step\":{\"name\":\"";
    let about = |line: &[u8]| {
        let at = line.windows(STEP.len()).position(|window| window == STEP)? + STEP.len();
        let length = line[at..].iter().position(|byte| *byte == b'"')?;
        Some(steps.contains(std::str::from_utf8(&line[at..at + length]).ok()?))
    };
    Ok(decode_lines(name, bytes, |line| about(line).unwrap_or(true))?.1)
}

fn decode_lines(
    name: &str,
    bytes: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<(SegmentId, Vec<Stamped>), JournalError> {
    let segment = || name.to_owned();
    let torn = || JournalError::Torn { segment: segment() };
    let (above, last) = bytes.split_at_checked(bytes.len().wrapping_sub(FOOT)).ok_or_else(torn)?;
    if above.last() != Some(&b'\n') || !last.starts_with(b"{\"end\":\"") {
        return Err(torn());
    }
    if foot(above).as_bytes() != last {
        return Err(JournalError::Damaged { segment: segment() });
    }
    let mut lines = above[..above.len() - 1].split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let broken = |line, source| JournalError::Line { segment: segment(), line, source };
    let head: Head = serde_json::from_slice(head).map_err(|e| broken(1, e))?;
    let newer = |line, what| JournalError::NewerFormat { segment: segment(), line, what };
    if head.prunella_journal > FORMAT {
        return Err(newer(1, format!("format {}", head.prunella_journal)));
    }
    let mut events = Vec::new();
    for (line, text) in (2..).zip(lines).filter(|(_, text)| wanted(text)) {
        let read = serde_json::from_slice::<Line>(text).map_err(|e| match serde_json::from_slice::<Probe>(text) {
            Ok(probe) if probe.v > FORMAT => newer(line, format!("format {}", probe.v)),
            Ok(probe) if !Event::KINDS.contains(&probe.event.r#type.as_str()) => {
                newer(line, format!("the event `{}`", probe.event.r#type))
            }
            _ => broken(line, e),
        })?;
        if read.v > FORMAT {
            return Err(newer(line, format!("format {}", read.v)));
        }
        events.push(Stamped { at_ms: read.at_ms, mono: read.mono_ms, event: read.event });
    }
    Ok((head.id, events))
}
