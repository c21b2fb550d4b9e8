//! Identities of traces and spans, derived from what they are of: whoever tells of an attempt, and how often, names it alike.
//!
//! Source of the formats: W3C Trace Context, level 1 (`traceparent`, version 00).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher, RunId, SlotId, StepId};

/// The identity of a trace: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// The identity of a span within its trace: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

macro_rules! hex {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }
    };
}
hex!(TraceId);
hex!(SpanId);

/// A span that others may be children of, as `TRACEPARENT` carries it from program to program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether its maker records it; its children are recorded only then.
    pub sampled: bool,
}

/// Text that is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a traceparent (`00-` and 32 hex digits, `-` and 16, `-` and 2)")]
pub struct TraceParentError(String);

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Reads version 00, and of later versions what they have in common with it, as the standard asks.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TraceParentError(text.to_owned());
        let mut parts = text.trim().split('-');
        let mut part = || parts.next().ok_or_else(wrong);
        let (version, trace, span, flags) = (part()?, part()?, part()?, part()?);
        let [version] = bytes(version).ok_or_else(wrong)?;
        let more = parts.next().is_some();
        if version == 0xff || (version == 0 && more) {
            return Err(wrong());
        }
        let [flags] = bytes(flags).ok_or_else(wrong)?;
        let trace = bytes(trace).filter(|trace: &[u8; 16]| *trace != [0; 16]).ok_or_else(wrong)?;
        let span = bytes(span).filter(|span: &[u8; 8]| *span != [0; 8]).ok_or_else(wrong)?;
        Ok(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & 1 == 1 })
    }
}

/// Returns the bytes of lower-case hex digits, if there are just so many.
fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if hex.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

impl Serialize for TraceParent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The trace of a run, and the names of its spans.
///
/// All are digests of store, run, step and slot: a run that is resumed, on another machine or by another engine, goes on
/// in the same trace, and what is told twice has one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTrace {
    of: Digest,
    trace: TraceId,
    parent: Option<SpanId>,
    sampled: bool,
}

impl RunTrace {
    /// Returns the trace of a run of this store; with a caller it is the caller's, and the run a child of his span.
    pub fn new(store: &str, run: &RunId, caller: Option<TraceParent>) -> Self {
        let of = digest(&[b"prunella trace 1", store.as_bytes(), run.as_str().as_bytes()]);
        let own = || TraceId(cut(&of, b"trace", &[]));
        let (trace, parent) = caller.map_or_else(|| (own(), None), |caller| (caller.trace, Some(caller.span)));
        Self { of, trace, parent, sampled: caller.is_none_or(|caller| caller.sampled) }
    }

    /// Returns the identity of the trace.
    pub fn id(&self) -> TraceId {
        self.trace
    }

    /// Returns the caller's span, if there is a caller.
    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// Returns whether spans are recorded: always, unless the caller's is not.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Returns the span of the run.
    pub fn run(&self) -> SpanId {
        self.span(b"run", &[])
    }

    /// Returns the span of a step.
    pub fn step(&self, step: &StepId) -> SpanId {
        self.span(b"step", &step_parts(step))
    }

    /// Returns the span of an attempt.
    pub fn attempt(&self, step: &StepId, slot: &SlotId) -> SpanId {
        let epoch = slot.epoch.to_string();
        let [name, item] = step_parts(step);
        self.span(b"attempt", &[name, item, slot.key.0.as_bytes(), epoch.as_bytes()])
    }

    /// Returns the span of a phase of an attempt.
    pub fn phase(&self, step: &StepId, slot: &SlotId, phase: &str) -> SpanId {
        let epoch = slot.epoch.to_string();
        let [name, item] = step_parts(step);
        self.span(b"phase", &[name, item, slot.key.0.as_bytes(), epoch.as_bytes(), phase.as_bytes()])
    }

    /// Returns what the processes of an attempt are children of.
    pub fn of_attempt(&self, step: &StepId, slot: &SlotId) -> TraceParent {
        TraceParent { trace: self.trace, span: self.attempt(step, slot), sampled: self.sampled }
    }

    fn span(&self, what: &[u8], parts: &[&[u8]]) -> SpanId {
        SpanId(cut(&self.of, what, parts))
    }
}

fn step_parts(step: &StepId) -> [&[u8]; 2] {
    [step.name.as_str().as_bytes(), step.item.as_ref().map_or(b"", |item| item.as_str().as_bytes())]
}

/// Returns the digest of a row of parts, each with its length, so that no two rows are one text.
fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finish()
}

fn cut<const N: usize>(of: &Digest, what: &[u8], parts: &[&[u8]]) -> [u8; N] {
    let digest = digest(&[&[of.as_bytes().as_slice(), what], parts].concat());
    let mut cut = [0; N];
    cut.copy_from_slice(&digest.as_bytes()[..N]);
    // All zero means none in the standard; it takes 2^64 spans to see one.
    if cut == [0; N] {
        cut[N - 1] = 1;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Item, StepKey, StepName};

    fn run() -> RunId {
        RunId::new("20260101-000000-abcdef").unwrap()
    }

    fn train() -> StepId {
        StepId::plain(StepName::new("train").unwrap())
    }

    fn slot(epoch: u64) -> SlotId {
        SlotId { key: StepKey(Digest::of(b"key")), epoch: Epoch(epoch) }
    }

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_the_standard_says() {
        let caller: TraceParent = CALLER.parse().unwrap();
        assert_eq!(caller.to_string(), CALLER);
        assert!(caller.sampled);
        let not: TraceParent = CALLER.replace("-01", "-00").parse().unwrap();
        assert!(!not.sampled);
        let later = CALLER.replacen("00-", "01-", 1) + "-more";
        assert_eq!(later.parse::<TraceParent>().unwrap(), caller, "a later version is read as far as it is known");
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert!(wrong.parse::<TraceParent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_named_alike_by_whoever_names_them_and_differ_in_all_they_are_of() {
        let (one, two) = (RunTrace::new("store", &run(), None), RunTrace::new("store", &run(), None));
        assert_eq!(one.of_attempt(&train(), &slot(1)), two.of_attempt(&train(), &slot(1)));
        let item = StepId::of_item(train().name, Item::from_canonical("1"));
        let other = RunTrace::new("store", &RunId::new("other").unwrap(), None);
        let elsewhere = RunTrace::new("elsewhere", &run(), None);
        let all = [
            one.run(),
            one.step(&train()),
            one.step(&item),
            one.attempt(&train(), &slot(1)),
            one.attempt(&train(), &slot(2)),
            one.attempt(&item, &slot(1)),
            one.phase(&train(), &slot(1), "run"),
            one.phase(&train(), &slot(1), "promote"),
            other.run(),
            elsewhere.run(),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert!(one.id() != other.id() && one.id() != elsewhere.id());
    }

    #[test]
    fn a_run_joins_the_trace_of_its_caller() {
        let caller: TraceParent = CALLER.parse().unwrap();
        let (own, joined) = (RunTrace::new("store", &run(), None), RunTrace::new("store", &run(), Some(caller)));
        assert_eq!((joined.id(), joined.parent()), (caller.trace, Some(caller.span)));
        assert_eq!(joined.run(), own.run());
        let unseen = RunTrace::new("store", &run(), Some(TraceParent { sampled: false, ..caller }));
        assert!(own.is_sampled() && joined.is_sampled() && !unseen.is_sampled());
        assert!(unseen.of_attempt(&train(), &slot(1)).to_string().ends_with("-00"));
    }

    /// They are in the receivers of people: a run that was told of must be found again by a later version.
    #[test]
    fn the_names_stay_what_they_are() {
        let trace = RunTrace::new("store", &run(), None);
        let names = [trace.id().to_string(), trace.run().to_string(), trace.attempt(&train(), &slot(1)).to_string()];
        assert_eq!(names, ["24371f0cc94b2e7375dbb18547ddc552", "79f0ce5b164d1a79", "cb571ace9f821f47"]);
    }
}
