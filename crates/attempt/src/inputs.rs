//! Inputs of an attempt, bound to content: what was stored, and folders that are put together from the items of a step.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use prunella_model::{Artifact, DataPin, INDEX, Item, PortName, SlotId, index_of};
use prunella_store::{Store, StoreError, records::StoredArtifact};

use crate::{Ground, mounts::Mount, workspace::NoWorkspace};

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
    /// Data that is read where it lies; nothing of it is stored.
    Mounted(Mounted),
}

/// Data that is read where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// What it is to be.
    pub artifact: Artifact,
    /// Where it lies, absolute.
    pub path: PathBuf,
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
            InputBytes::Mounted(mounted) => mounted.artifact,
        }
    }

    /// Returns the slots whose commits it relies on.
    pub fn slots(&self) -> Vec<SlotId> {
        match &self.bytes {
            InputBytes::Stored { slot, .. } => slot.iter().copied().collect(),
            InputBytes::FanIn(fan_in) => fan_in.parts.iter().map(|part| part.slot).collect(),
            InputBytes::Mounted(_) => Vec::new(),
        }
    }

    /// Returns the producer's slot, unless it is data or has several.
    pub fn slot(&self) -> Option<SlotId> {
        match &self.bytes {
            InputBytes::Stored { slot, .. } => *slot,
            InputBytes::FanIn(_) | InputBytes::Mounted(_) => None,
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
            InputBytes::Mounted(_) => None,
        }
    }
}

impl Mounted {
    /// Returns the data that a graph's pin mounts; nothing if it is in the store.
    pub fn of(pin: &DataPin) -> Option<Self> {
        pin.mounted.as_ref().map(|path| Self { artifact: pin.artifact, path: PathBuf::from(path) })
    }
}

/// Lays an input out at `to`, every byte verified; of mounted data what was seen there is noted in `mounts`.
pub(crate) async fn lay_input(
    host: &Ground<'_>,
    name: &PortName,
    input: &BoundArtifact,
    to: &Path,
    mounts: &mut Vec<Mount>,
) -> Result<(), NoWorkspace> {
    match &input.bytes {
        InputBytes::Mounted(mounted) => {
            let mount = Mount::make(host, name, &input.source, mounted, to).await?;
            mounts.push(mount);
            Ok(())
        }
        InputBytes::Stored { stored, .. } => lay(host, stored, to, name.as_str()).await,
        InputBytes::FanIn(fan_in) => fan_in.lay_out(host.store, to).await.map_err(|(part, error)| match error {
            StoreError::Damaged { object, problem } => NoWorkspace::Damaged {
                input: name.to_string(),
                item: part.map(|part| part.item.as_str().to_owned()),
                problem: format!("`{object}`: {problem}"),
            },
            error => error.into(),
        }),
    }
}

impl FanIn {
    /// Lays the folder out at `to`, which must not exist; every byte is verified on the way.
    ///
    /// # Errors
    /// The store's, with the part that it is about.
    pub async fn lay_out(&self, store: &Store, to: &Path) -> Result<(), (Option<&Part>, StoreError)> {
        let fs = store.sys().fs.clone();
        let made = |path: &Path, done: std::io::Result<()>| {
            done.map_err(|source| (None, StoreError::Io { path: path.to_owned(), source }))
        };
        made(to, fs.create_dir(to).map(drop))?;
        for part in &self.parts {
            let folder = to.join(part.item.label());
            made(&folder, fs.create_dir(&folder).map(drop))?;
            let laid = store.lay_out(&part.stored, &folder.join(&self.base_name)).await;
            laid.map_err(|error| (Some(part), error))?;
        }
        let index = to.join(INDEX);
        let text = index_of(&self.base_name, self.parts.iter().map(|part| &part.item));
        let written = fs.create_new(&index).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        made(&index, written)
    }
}

/// Lays a stored artifact out; what is lost is damage of `input`.
pub(crate) async fn lay(host: &Ground<'_>, stored: &StoredArtifact, to: &Path, input: &str) -> Result<(), NoWorkspace> {
    match host.store.lay_out(stored, to).await {
        Ok(_) => Ok(()),
        Err(StoreError::Damaged { object, problem }) => {
            Err(NoWorkspace::Damaged { input: input.to_owned(), item: None, problem: format!("`{object}`: {problem}") })
        }
        Err(error) => Err(error.into()),
    }
}
