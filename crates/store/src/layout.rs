//! Where each record lies (protocol: Store layout).

use prunella_model::{
    CheckpointId, Digest, EffectId, Epoch, PipelineName, RunId, SlotId, StepId, StepKey, descending, from_descending,
};
use prunella_objects::ObjectKey;

/// The names of all records. Numbers are written so that the highest is listed first.
pub struct Layout;

fn key(text: String) -> ObjectKey {
    ObjectKey::new(text).expect("names, digests and numbers are plain segments")
}

/// One of the records of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EffectPart {
    Begun,
    Done,
    /// By the writer of what it leaves unfinished.
    Doer(String),
    Failed(u32),
}

/// One of the records of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptRecord {
    Start,
    End,
    Alive,
    Damaged,
    Retired,
}

impl AttemptRecord {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Start, "start"),
        (Self::End, "end"),
        (Self::Alive, "alive"),
        (Self::Damaged, "damaged"),
        (Self::Retired, "retired"),
    ];
}

impl Layout {
    fn attempt(slot: &SlotId, what: &str) -> ObjectKey {
        key(format!("attempts/{}/{}.{what}.json", slot.key, descending(slot.epoch.0)))
    }

    /// Returns where an attempt's start lies.
    pub fn start(slot: &SlotId) -> ObjectKey {
        Self::attempt(slot, "start")
    }

    /// Returns where an attempt's end lies: the slot's one decision.
    pub fn end(slot: &SlotId) -> ObjectKey {
        Self::attempt(slot, "end")
    }

    /// Returns where an attempt's sign of life lies.
    pub fn alive(slot: &SlotId) -> ObjectKey {
        Self::attempt(slot, "alive")
    }

    /// Returns where a commit is marked as damaged.
    pub fn damaged(slot: &SlotId) -> ObjectKey {
        Self::attempt(slot, "damaged")
    }

    /// Returns where a commit is retired.
    pub fn retired(slot: &SlotId) -> ObjectKey {
        Self::attempt(slot, "retired")
    }

    /// The prefix of all attempts of all keys.
    pub const ALL_ATTEMPTS: &str = "attempts/";

    /// Returns the prefix of all attempts of `key`.
    pub fn attempts(key: &StepKey) -> String {
        format!("attempts/{key}/")
    }

    pub(crate) fn parse_attempt(name: &str) -> Option<(Epoch, AttemptRecord)> {
        let mut parts = name.rsplit_once('/').map_or(name, |(_, last)| last).split('.');
        let epoch = from_descending(parts.next()?)?;
        let what = parts.next()?;
        (parts.next() == Some("json") && parts.next().is_none()).then_some(())?;
        let (record, _) = AttemptRecord::ALL.into_iter().find(|(_, text)| *text == what)?;
        Some((Epoch(epoch), record))
    }

    /// Returns where a checkpoint's manifest lies.
    pub fn checkpoint(id: &CheckpointId) -> ObjectKey {
        key(format!("checkpoints/{}/{}-{}.json", id.slot.key, descending(id.slot.epoch.0), descending(id.seq)))
    }

    /// Returns the prefix of all checkpoints of `key`, the newest first.
    pub fn checkpoints(key: &StepKey) -> String {
        format!("checkpoints/{key}/")
    }

    pub(crate) fn parse_checkpoint(step: StepKey, name: &str) -> Option<CheckpointId> {
        let (_, last) = name.rsplit_once('/')?;
        let (epoch, seq) = last.strip_suffix(".json")?.split_once('-')?;
        let slot = SlotId { key: step, epoch: Epoch(from_descending(epoch)?) };
        Some(CheckpointId { slot, seq: from_descending(seq)? })
    }

    /// Returns a name for bytes that an attempt makes; `random` is at least 8 hex digits.
    pub fn data_of_attempt(slot: &SlotId, random: &str) -> ObjectKey {
        key(format!("data/{}/{}-{}-{random}", &random[..2], slot.key, slot.epoch))
    }

    /// Returns a name for bytes that a run brings in.
    pub fn data_of_run(run: &RunId, random: &str) -> ObjectKey {
        key(format!("data/{}/run-{run}-{random}", &random[..2]))
    }

    /// Returns where an attempt's pin lies.
    pub fn pin_of_attempt(slot: &SlotId, random: &str) -> ObjectKey {
        key(format!("pins/{}-{}-{random}.json", slot.key, slot.epoch))
    }

    /// Returns where a run's pin lies.
    pub fn pin_of_run(run: &RunId, random: &str) -> ObjectKey {
        key(format!("pins/run-{run}-{random}.json"))
    }

    /// The prefix of all lists of condemned objects, the newest first.
    pub const ALL_GC: &str = "gc/";

    /// Returns where the `n`-th list of condemned objects lies.
    pub fn gc(n: u64) -> ObjectKey {
        key(format!("gc/{}.json", descending(n)))
    }

    /// Returns where it stands that the `n`-th collection came to its end.
    pub fn gc_done(n: u64) -> ObjectKey {
        key(format!("gc/{}.done.json", descending(n)))
    }

    /// Returns the number in the name of a list of condemned objects, and whether it is that of its end.
    pub(crate) fn gc_number(name: &str) -> Option<(u64, bool)> {
        let number = name.strip_prefix(Self::ALL_GC)?.strip_suffix(".json")?;
        match number.strip_suffix(".done") {
            Some(number) => Some((from_descending(number)?, true)),
            None => Some((from_descending(number)?, false)),
        }
    }

    /// Returns where it stands that a run is no longer retained.
    pub fn run_retired(run: &RunId) -> ObjectKey {
        key(format!("runs/{run}/retired.json"))
    }

    /// Returns where a run's graph lies.
    pub fn graph(run: &RunId) -> ObjectKey {
        key(format!("runs/{run}/graph"))
    }

    /// Returns where the `n`-th driver of a run lies.
    pub fn driver(run: &RunId, n: u64) -> ObjectKey {
        key(format!("runs/{run}/drivers/{}.json", descending(n)))
    }

    /// Returns where a driver's sign of life lies.
    pub fn driver_alive(run: &RunId, n: u64) -> ObjectKey {
        key(format!("runs/{run}/drivers-alive/{}.json", descending(n)))
    }

    /// Returns the prefix of all drivers of a run.
    pub fn drivers(run: &RunId) -> String {
        format!("runs/{run}/drivers/")
    }

    /// Returns where the `n`-th binding of a step lies; the highest holds.
    pub fn binding(run: &RunId, step: &StepId, n: u64) -> ObjectKey {
        key(format!("runs/{run}/bindings/{}/{}.json", step.segment(), descending(n)))
    }

    /// Returns the prefix of all bindings of a run.
    pub fn bindings(run: &RunId) -> String {
        format!("runs/{run}/bindings/")
    }

    /// Returns the prefix of all bindings of one step.
    pub fn bindings_of(run: &RunId, step: &StepId) -> String {
        format!("runs/{run}/bindings/{}/", step.segment())
    }

    /// Returns where the bindings lie of which a page of the journal tells.
    pub fn bound(run: &RunId, page: &str) -> ObjectKey {
        key(format!("runs/{run}/bound/{page}.json"))
    }

    /// Returns the prefix of all records of many bindings of a run.
    pub fn all_bound(run: &RunId) -> String {
        format!("runs/{run}/bound/")
    }

    /// Returns where a page of the journal lies.
    pub(crate) fn segment(run: &RunId, page: &str) -> ObjectKey {
        key(format!("runs/{run}/journal/{page}"))
    }

    /// Returns where a list of used slots lies.
    pub fn uses(run: &RunId, writer: &str, i: u64) -> ObjectKey {
        key(format!("runs/{run}/uses-{writer}-{i:08}.json"))
    }

    /// Returns the prefix of all lists of used slots of a run.
    pub fn all_uses(run: &RunId) -> String {
        format!("runs/{run}/uses-")
    }

    /// Returns where a piece of an attempt's output lies.
    pub fn log(run: &RunId, step: &StepId, epoch: Epoch, n: u64) -> ObjectKey {
        key(format!("runs/{run}/logs/{}/{:016x}/{n:016x}", step.segment(), epoch.0))
    }

    /// Returns the prefix of an attempt's output.
    pub fn logs(run: &RunId, step: &StepId, epoch: Epoch) -> String {
        format!("runs/{run}/logs/{}/{:016x}/", step.segment(), epoch.0)
    }

    /// Returns the prefix of everything about the effects of a run on one place: a digest of kind and target.
    pub(crate) fn effects_on(run: &RunId, place: &Digest) -> String {
        format!("runs/{run}/effects/{}/", place.hex())
    }

    /// Returns the prefix of all effects of a run.
    pub(crate) fn effects(run: &RunId) -> String {
        format!("runs/{run}/effects/")
    }

    /// Returns where a record of an effect lies.
    pub(crate) fn effect(run: &RunId, place: &Digest, id: &EffectId, record: &EffectPart) -> ObjectKey {
        let prefix = Self::effects_on(run, place);
        key(match record {
            EffectPart::Begun => format!("{prefix}{}.json", id.hex()),
            EffectPart::Done => format!("{prefix}{}.done.json", id.hex()),
            EffectPart::Doer(writer) => format!("{prefix}{}.doer-{writer}.json", id.hex()),
            EffectPart::Failed(n) => format!("{prefix}{}.failed-{n:08}.json", id.hex()),
        })
    }

    pub(crate) fn parse_effect(name: &str) -> Option<(EffectId, EffectPart)> {
        let last = name.rsplit_once('/')?.1.strip_suffix(".json")?;
        let (id, what) = last.split_once('.').map_or((last, None), |(id, what)| (id, Some(what)));
        let part = match what {
            None => EffectPart::Begun,
            Some("done") => EffectPart::Done,
            Some(what) => match what.split_once('-')? {
                ("doer", writer) => EffectPart::Doer(writer.to_owned()),
                ("failed", n) => EffectPart::Failed(n.parse().ok()?),
                _ => return None,
            },
        };
        Some((EffectId::from_hex(id)?, part))
    }

    /// Returns where a request to stop a run lies: asked of its driver `n`.
    pub fn stop(run: &RunId, n: u64) -> ObjectKey {
        key(format!("runs/{run}/stop/{}.json", descending(n)))
    }

    /// Returns where the start of the `n`-th run of a pipeline lies.
    pub fn order(pipeline: &PipelineName, n: u64) -> ObjectKey {
        key(format!("order/{pipeline}/{}.json", descending(n)))
    }

    /// The prefix of all runs of all pipelines.
    pub(crate) const ALL_ORDERS: &str = "order/";

    /// Returns the prefix of all runs of a pipeline, the newest first.
    pub fn orders(pipeline: &PipelineName) -> String {
        format!("order/{pipeline}/")
    }

    /// Returns where the names moved by the `n`-th run of a pipeline lie.
    pub fn names(pipeline: &PipelineName, n: u64) -> ObjectKey {
        key(format!("names/{pipeline}/{}.json", descending(n)))
    }

    /// Returns the prefix of all name records of a pipeline, the current first.
    pub fn all_names(pipeline: &PipelineName) -> String {
        format!("names/{pipeline}/")
    }

    /// Returns the number at the end of a key, without its `.json`.
    pub fn number(key: &str) -> Option<u64> {
        let last = key.rsplit_once('/').map_or(key, |(_, last)| last);
        from_descending(last.strip_suffix(".json").unwrap_or(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_record_is_read_back_from_its_name() {
        let slot = SlotId { key: StepKey(Digest::of(b"k")), epoch: Epoch(7) };
        for (name, record) in [
            (Layout::start(&slot), AttemptRecord::Start),
            (Layout::end(&slot), AttemptRecord::End),
            (Layout::alive(&slot), AttemptRecord::Alive),
            (Layout::damaged(&slot), AttemptRecord::Damaged),
            (Layout::retired(&slot), AttemptRecord::Retired),
        ] {
            assert_eq!(Layout::parse_attempt(name.as_str()), Some((Epoch(7), record)));
            assert!(name.as_str().starts_with(&Layout::attempts(&slot.key)));
        }
        assert_eq!(Layout::parse_attempt("attempts/x/y.start.json"), None);
        let id = CheckpointId { slot, seq: 3 };
        assert_eq!(Layout::parse_checkpoint(slot.key, Layout::checkpoint(&id).as_str()), Some(id));
    }

    #[test]
    fn every_record_of_an_effect_is_read_back_from_its_name() {
        let (run, place) = (RunId::new("r").expect("an id"), Digest::of(b"place"));
        let id = EffectId::from_hex(&Digest::of(b"id").hex()).expect("a digest");
        let doer = EffectPart::Doer("ab".repeat(16));
        for part in [EffectPart::Begun, EffectPart::Done, doer, EffectPart::Failed(7)] {
            let name = Layout::effect(&run, &place, &id, &part);
            assert_eq!(Layout::parse_effect(name.as_str()), Some((id, part)));
            assert!(name.as_str().starts_with(&Layout::effects_on(&run, &place)));
        }
        for strange in ["runs/r/effects/x/y.json", &format!("runs/r/effects/x/{}.later.json", id.hex())] {
            assert_eq!(Layout::parse_effect(strange), None, "{strange}");
        }
    }

    #[test]
    fn the_newest_checkpoint_is_listed_first() {
        let key = StepKey(Digest::of(b"k"));
        let at = |epoch, seq| Layout::checkpoint(&CheckpointId { slot: SlotId { key, epoch: Epoch(epoch) }, seq });
        let mut keys = vec![at(1, 9), at(2, 1), at(10, 1), at(2, 30)];
        keys.sort();
        assert_eq!(keys, [at(10, 1), at(2, 30), at(2, 1), at(1, 9)]);
    }
}
