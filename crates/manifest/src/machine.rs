//! What a step needs of a machine, and which machine it would rather have.

use prunella_model::{ByteSize, CapacityWish, Prefer, Resources};

use crate::{diagnostic::Mark, policy::Policy, reader::Reader, section, tree::NodeId};

#[derive(Debug, Clone, Default)]
pub(crate) struct ResourcesSet {
    cpu_millis: Option<u32>,
    memory: Option<(ByteSize, Option<ByteSize>)>,
    gpu: Option<u32>,
    shm: Option<ByteSize>,
}

impl ResourcesSet {
    /// Returns these laid over `base`, key by key.
    pub fn over(&self, base: &Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.or(base.cpu_millis),
            memory: self.memory.or(base.memory),
            gpu: self.gpu.or(base.gpu),
            shm: self.shm.or(base.shm),
        }
    }

    /// Returns them with the product's defaults where nothing was set.
    pub fn resolve(&self) -> Resources {
        let default = Resources::default();
        Resources {
            cpu_millis: self.cpu_millis.unwrap_or(default.cpu_millis),
            memory: self.memory.map(|(least, _)| least),
            memory_max: self.memory.and_then(|(_, most)| most),
            gpu: self.gpu.unwrap_or(default.gpu),
            shm: self.shm,
        }
    }

    pub fn has_accelerators(&self) -> bool {
        self.gpu.is_some_and(|gpu| gpu > 0)
    }
}

/// Returns the wish laid over the one of `defaults`, key by key.
pub(crate) fn wish_over(set: Option<CapacityWish>, base: Option<CapacityWish>) -> Option<CapacityWish> {
    match (set, base) {
        (Some(set), Some(base)) => {
            Some(CapacityWish { prefer: set.prefer.or(base.prefer), patience: set.patience.or(base.patience) })
        }
        (set, base) => set.or(base),
    }
}

/// Variables that say which accelerators a program sees.
const VISIBLE: [&str; 4] =
    ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];

impl Reader<'_> {
    pub fn resources(&mut self, id: NodeId) -> Option<ResourcesSet> {
        let fields = self.fields(id, &section::RESOURCES)?;
        Some(ResourcesSet {
            cpu_millis: fields.get("cpu").and_then(|id| self.cpu(id)),
            memory: fields.get("memory").and_then(|id| self.memory(id)),
            gpu: fields.get("gpu").and_then(|id| self.count(id, "`gpu`", 0)),
            shm: fields.get("shm").and_then(|id| self.shm(id)),
        })
    }

    fn shm(&mut self, id: NodeId) -> Option<ByteSize> {
        let size: ByteSize = self.quantity(id, "`shm`")?;
        if size.bytes() == 0 {
            let mark = self.mark(id);
            self.found.error("out-of-range", mark, "`shm` must be more than nothing");
            return None;
        }
        Some(size)
    }

    pub fn capacity(&mut self, id: NodeId) -> Option<CapacityWish> {
        let fields = self.fields(id, &section::CAPACITY)?;
        let choices = [("spot", Prefer::Spot), ("on-demand", Prefer::OnDemand)];
        Some(CapacityWish {
            prefer: fields.get("prefer").and_then(|id| self.choice(id, "`prefer`", &choices)),
            patience: fields.get("patience").and_then(|id| self.positive_span(id, "`patience`")),
        })
    }

    /// Notes variables that choose accelerators where the engine does, each place once.
    pub fn own_choices(&mut self, policy: &Policy, noted: &mut std::collections::HashSet<Mark>) {
        if !policy.resources.has_accelerators() {
            return;
        }
        for (name, mark) in policy.variables().filter(|(name, _)| VISIBLE.contains(&name.as_str())) {
            if noted.insert(mark) {
                self.found
                    .error("contradiction", mark, format!("`{name}` and `gpu` exclude each other"))
                    .help("a step with `gpu` is lent accelerators and told which; remove the variable");
            }
        }
    }
}
