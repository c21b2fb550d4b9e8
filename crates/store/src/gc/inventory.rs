//! What there is in a store; what is not known to this program makes it keep its hands off.

use std::collections::{BTreeMap, BTreeSet};

use prunella_model::{Digest, Epoch, PipelineName, RunId, SlotId, StepKey};
use prunella_objects::ObjectKey;
use prunella_sys::mutated;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{Layout, Store, StoreError, layout::AttemptRecord, records::FORMAT, store::decode};

/// Whose an object or a pin is, as its name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// An attempt's.
    Attempt(SlotId),
    /// What a run brought in.
    Run(RunId),
}

impl Owner {
    /// Returns the owner in the name of an object or a pin: `<key>-<epoch>-<random>` or `run-<run>-<random>`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (owner, random) = name.rsplit_once('-')?;
        let hex = random.len() >= 8 && random.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then_some(())?;
        if let Some(run) = owner.strip_prefix("run-") {
            return RunId::new(run).ok().map(Self::Run);
        }
        let (key, epoch) = owner.split_once('-')?;
        let key = StepKey(Digest::from_hex(key).ok()?);
        Some(Self::Attempt(SlotId { key, epoch: Epoch(epoch.parse().ok()?) }))
    }

    /// Returns the owner of the object with this key.
    pub(crate) fn of_object(key: &str) -> Option<Self> {
        let (folder, name) = key.strip_prefix("data/")?.split_once('/')?;
        (folder.len() == 2).then_some(())?;
        Self::parse(name)
    }

    /// Returns the owner of the pin with this key.
    pub(crate) fn of_pin(key: &str) -> Option<Self> {
        Self::parse(key.strip_prefix("pins/")?.strip_suffix(".json")?)
    }
}

/// Everything that may be deleted, with its size, and what the names alone say.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Objects, manifests of checkpoints, and pins.
    pub candidates: BTreeMap<ObjectKey, u64>,
    pub started: BTreeSet<SlotId>,
    pub filled: BTreeSet<SlotId>,
    pub pipelines_with_names: BTreeSet<PipelineName>,
    /// Runs that have effects.
    pub with_effects: BTreeSet<RunId>,
}

impl Store {
    /// Lists everything.
    ///
    /// # Errors
    /// [`StoreError::Record`] for what this program does not know: then nothing may be deleted.
    pub(super) async fn inventory(&self) -> Result<Inventory, StoreError> {
        let mut found = Inventory::default();
        for listed in self.objects.list("", None, usize::MAX).await? {
            if found.enter(&listed.key, listed.size).is_none() && !mutated(65) {
                let problem = "this program does not know what it is, so nothing is collected; update prunella".into();
                return Err(StoreError::Record { key: listed.key, problem });
            }
        }
        Ok(found)
    }
}

impl Inventory {
    fn enter(&mut self, key: &ObjectKey, size: u64) -> Option<()> {
        let text = key.as_str();
        let (kind, rest) = text.split_once('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        match (kind, parts.as_slice()) {
            ("attempts", [step, _]) => {
                let key = StepKey(Digest::from_hex(step).ok()?);
                let (epoch, record) = Layout::parse_attempt(text)?;
                let slot = SlotId { key, epoch };
                match record {
                    AttemptRecord::Start => self.started.insert(slot),
                    AttemptRecord::End => self.filled.insert(slot),
                    AttemptRecord::Alive | AttemptRecord::Damaged | AttemptRecord::Retired => false,
                };
            }
            ("checkpoints", [step, _]) => {
                Layout::parse_checkpoint(StepKey(Digest::from_hex(step).ok()?), text)?;
                self.candidates.insert(key.clone(), size);
            }
            ("data", [..]) => {
                Owner::of_object(text)?;
                self.candidates.insert(key.clone(), size);
            }
            ("pins", [_]) => {
                Owner::of_pin(text)?;
                self.candidates.insert(key.clone(), size);
            }
            ("runs", [run, "effects", place, _]) => {
                self.with_effects.insert(RunId::new(run).ok()?);
                Digest::from_hex(place).ok()?;
                Layout::parse_effect(text)?;
            }
            ("runs", [run, rest @ ..]) => {
                RunId::new(run).ok()?;
                known_of_run(rest).then_some(())?;
            }
            ("order", [pipeline, _]) => {
                PipelineName::new(pipeline).ok()?;
                Layout::number(text)?;
            }
            ("names", [pipeline, _]) => {
                self.pipelines_with_names.insert(PipelineName::new(pipeline).ok()?);
                Layout::number(text)?;
            }
            ("gc", [_]) => {
                Layout::gc_number(text)?;
            }
            _ => return None,
        }
        Some(())
    }
}

fn known_of_run(rest: &[&str]) -> bool {
    match rest {
        ["graph" | "retired.json"] => true,
        [uses] => uses.starts_with("uses-") && uses.ends_with(".json"),
        ["drivers" | "drivers-alive" | "stop" | "journal" | "summary" | "bound", _]
        | ["bindings", _, _]
        | ["logs", _, _, _] => true,
        _ => false,
    }
}

/// Reads a record; one of a newer format is refused also if it could be read.
pub(super) fn decode_known<T: DeserializeOwned>(key: &ObjectKey, bytes: &[u8]) -> Result<T, StoreError> {
    check_format(key, bytes)?;
    decode(key, bytes)
}

/// Refuses a record of a newer format: what else it holds on to is unknown.
pub(super) fn check_format(key: &ObjectKey, bytes: &[u8]) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = decode(key, bytes)?;
    if head.format > FORMAT && !mutated(66) {
        let problem = format!(
            "it has format {}, this program reads up to {FORMAT}, so nothing is collected; update prunella",
            head.format
        );
        return Err(StoreError::Record { key: key.clone(), problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_stands_in_the_name_of_an_object() {
        let slot = SlotId { key: StepKey(Digest::of(b"k")), epoch: Epoch(12) };
        let random = "00112233445566778899aabbccddeeff";
        let object = Layout::data_of_attempt(&slot, random);
        assert_eq!(Owner::of_object(object.as_str()), Some(Owner::Attempt(slot)));
        assert_eq!(Owner::of_pin(Layout::pin_of_attempt(&slot, random).as_str()), Some(Owner::Attempt(slot)));
        let run = RunId::new("run-1-0193c0de-0000").expect("an id");
        assert_eq!(Owner::of_object(Layout::data_of_run(&run, random).as_str()), Some(Owner::Run(run.clone())));
        assert_eq!(Owner::of_pin(Layout::pin_of_run(&run, random).as_str()), Some(Owner::Run(run)));
        for strange in ["data/aa/x", "data/aa/run-x", "data/aaa/run-x-0011223344", "data/aa/k-1-0011223344"] {
            assert_eq!(Owner::of_object(strange), None, "{strange}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_passed_over() {
        let enter = |text: &str| Inventory::default().enter(&ObjectKey::new(text).expect("a key"), 1);
        for known in [
            "runs/r/graph",
            "runs/r/journal/0-0",
            "runs/r/summary/0",
            "runs/r/summary/0-0",
            "order/p/fffffffffffffffe.json",
            "gc/fffffffffffffffe.json",
        ] {
            assert!(enter(known).is_some(), "{known}");
        }
        for strange in [
            "keep/x",
            "runs/r/effects/x",
            "runs/r/effects/x/y.json",
            "gc/x.json",
            "attempts/k/x.start.json",
            "x",
            "runs/r/later.json",
        ] {
            assert!(enter(strange).is_none(), "{strange}");
        }
    }
}
