//! From planned inputs to the bytes that an attempt reads.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use prunella_attempt::{BoundArtifact, FanIn, InputBytes, Mounted, Part};
use prunella_model::{DataPin, PortName, SlotId, StepId};
use prunella_store::{
    Store,
    records::{GraphRecord, StoredArtifact},
};

use crate::{BindError, EngineError, Origin, Plan, PlannedInput};

/// Returns what a data set's bytes are: what the run brought in, or what lies where it is mounted.
pub(crate) fn bytes_of(graph: &GraphRecord, pin: &DataPin) -> Option<InputBytes> {
    if let Some(mounted) = Mounted::of(pin) {
        return Some(InputBytes::Mounted(mounted));
    }
    let stored = graph.brought.iter().find(|stored| stored.artifact == pin.artifact)?;
    Some(InputBytes::Stored { stored: stored.clone(), slot: None })
}

/// The artifacts of commits, as far as this engine has met them.
#[derive(Default)]
pub(crate) struct Shelf(HashMap<SlotId, Arc<BTreeMap<PortName, StoredArtifact>>>);

impl Shelf {
    pub(crate) fn keep(&mut self, slot: SlotId, artifacts: &BTreeMap<PortName, StoredArtifact>) {
        if !artifacts.is_empty() {
            self.0.insert(slot, Arc::new(artifacts.clone()));
        }
    }

    pub(crate) async fn artifacts(
        &mut self,
        store: &Store,
        slot: SlotId,
    ) -> Result<Arc<BTreeMap<PortName, StoredArtifact>>, EngineError> {
        if let Some(known) = self.0.get(&slot) {
            return Ok(known.clone());
        }
        let read = Arc::new(store.committed(&slot).await?.map(|committed| committed.artifacts).unwrap_or_default());
        self.0.insert(slot, read.clone());
        Ok(read)
    }

    /// Returns where the bytes of each input lie.
    pub(crate) async fn bind(
        &mut self,
        store: &Store,
        graph: &GraphRecord,
        plan: &Plan,
        step: &StepId,
        planned: BTreeMap<PortName, PlannedInput>,
    ) -> Result<BTreeMap<PortName, BoundArtifact>, EngineError> {
        let mut bound = BTreeMap::new();
        for (name, input) in planned {
            let PlannedInput { artifact, base_name, origin } = input;
            let artifact = match origin {
                Origin::Data(data) => {
                    let pin = graph.graph.data.get(&data);
                    let bytes = pin.and_then(|pin| bytes_of(graph, pin)).ok_or_else(|| BindError::UnknownData {
                        step: step.clone(),
                        input: name.clone(),
                        data: data.clone(),
                    })?;
                    BoundArtifact { bytes, base_name, source: format!("data.{data}") }
                }
                Origin::Slot { step: producer, slot, output } => {
                    let stored = self.artifacts(store, slot).await?.get(&output).cloned();
                    let stored = stored.ok_or_else(|| BindError::NoOutput {
                        step: step.clone(),
                        input: name.clone(),
                        producer: producer.name.clone(),
                        output: output.clone(),
                    })?;
                    let bytes = InputBytes::Stored { stored, slot: Some(slot) };
                    BoundArtifact { bytes, base_name, source: format!("{producer}.{output}") }
                }
                Origin::Items { step: producer, output, base_name: of_part, parts } => {
                    let mut all = Vec::with_capacity(parts.len());
                    for (place, slot) in parts {
                        let stored = self.artifacts(store, slot).await?.get(&output).cloned();
                        let stored = stored.ok_or_else(|| BindError::NoOutput {
                            step: step.clone(),
                            input: name.clone(),
                            producer: producer.clone(),
                            output: output.clone(),
                        })?;
                        let item = plan.id(place).item.clone().expect("the parts of a folder are items");
                        all.push(Part { item, slot, stored });
                    }
                    let bytes = InputBytes::FanIn(Arc::new(FanIn { artifact, base_name: of_part, parts: all }));
                    BoundArtifact { bytes, base_name, source: format!("{producer}.{output}") }
                }
            };
            bound.insert(name, artifact);
        }
        Ok(bound)
    }
}
