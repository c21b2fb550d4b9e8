//! Inputs of an attempt, bound to content: what was stored, and folders that are put together from the items of a step.

use std::{path::Path, sync::Arc};

use prunella_model::{Artifact, INDEX, Item, PortName, SlotId, index_of};
use prunella_store::{StoreError, records::StoredArtifact};

use crate::{
    Host,
    workspace::{NoWorkspace, io},
};

/// An input, bound to content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundArtifact {
    /// What it is.
    pub bytes: InputBytes,
    /// The base name under which it is laid out.
    pub base_name: String,
    /// `data.NAME` or `STEP.OUTPUT`.
    pub source: String,
}

/// What an input's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputBytes {
    /// One stored artifact.
    Stored {
        /// What and where it is.
        stored: StoredArtifact,
        /// The producer's slot; nothing for data.
        slot: Option<SlotId>,
    },
    /// A folder of what every item of a step made; nothing but its parts is stored.
    FanIn(Arc<FanIn>),
}

/// A fan-in folder: one folder an item, and an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanIn {
    /// What the folder is as a whole ([`prunella_model::fan_in`]).
    pub artifact: Artifact,
    /// The base name of each item's output.
    pub base_name: String,
    /// What the items made, in their order.
    pub parts: Vec<Part>,
}

/// What one item made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The item.
    pub item: Item,
    /// Its slot.
    pub slot: SlotId,
    /// Its output.
    pub stored: StoredArtifact,
}

impl BoundArtifact {
    /// Returns the input's content.
    pub fn artifact(&self) -> Artifact {
        match &self.bytes {
            InputBytes::Stored { stored, .. } => stored.artifact,
            InputBytes::FanIn(fan_in) => fan_in.artifact,
        }
    }

    /// Returns the slots whose commits it relies on.
    pub fn slots(&self) -> Vec<SlotId> {
        match &self.bytes {
            InputBytes::Stored { slot, .. } => slot.iter().copied().collect(),
            InputBytes::FanIn(fan_in) => fan_in.parts.iter().map(|part| part.slot).collect(),
        }
    }

    /// Returns the producer's slot, unless it is data or has several.
    pub fn slot(&self) -> Option<SlotId> {
        match &self.bytes {
            InputBytes::Stored { slot, .. } => *slot,
            InputBytes::FanIn(_) => None,
        }
    }

    /// Returns the commit, and the object in it, that an attempt found lost; `item` says which part of a folder.
    pub fn lost(&self, item: Option<&str>) -> Option<(SlotId, &str)> {
        match &self.bytes {
            InputBytes::Stored { stored, slot } => Some(((*slot)?, &stored.object)),
            InputBytes::FanIn(fan_in) => {
                let part = fan_in.parts.iter().find(|part| Some(part.item.as_str()) == item)?;
                Some((part.slot, &part.stored.object))
            }
        }
    }
}

/// Lays an input out at `to`, every byte verified.
pub(crate) async fn lay_input(
    host: &Host,
    name: &PortName,
    input: &BoundArtifact,
    to: &Path,
) -> Result<(), NoWorkspace> {
    match &input.bytes {
        InputBytes::Stored { stored, .. } => lay(host, stored, to, name.as_str(), None).await,
        InputBytes::FanIn(fan_in) => {
            let fs = &*host.sys.fs;
            fs.create_dir(to).map_err(io(to))?;
            for part in &fan_in.parts {
                let folder = to.join(part.item.label());
                fs.create_dir(&folder).map_err(io(&folder))?;
                let path = folder.join(&fan_in.base_name);
                lay(host, &part.stored, &path, name.as_str(), Some(&part.item)).await?;
            }
            let index = to.join(INDEX);
            let text = index_of(&fan_in.base_name, fan_in.parts.iter().map(|part| &part.item));
            let mut file = fs.create_new(&index).map_err(io(&index))?;
            std::io::Write::write_all(&mut file, text.as_bytes()).map_err(io(&index))
        }
    }
}

/// Lays a stored artifact out; what is lost is damage of `input`.
pub(crate) async fn lay(
    host: &Host,
    stored: &StoredArtifact,
    to: &Path,
    input: &str,
    item: Option<&Item>,
) -> Result<(), NoWorkspace> {
    match host.store.lay_out(stored, to).await {
        Ok(_) => Ok(()),
        Err(StoreError::Damaged { object, problem }) => Err(NoWorkspace::Damaged {
            input: input.to_owned(),
            item: item.map(|item| item.as_str().to_owned()),
            problem: format!("`{object}`: {problem}"),
        }),
        Err(error) => Err(error.into()),
    }
}
