//! Publishing into buckets, where nothing can be locked: what is replaced is what was looked at before asking who is newest.
//!
//! Of two that publish at one place the older one either sees the newer one's record, or has looked before that record stood; then
//! one of its writes no longer finds the version that it looked at, and it asks again (I3, I5).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use prunella_model::{ArtifactKind, EffectHow, EffectId, RunId};
use prunella_objects::{Exhibit, Instead, ObjectKey, ObjectsError, Showcase, Showcases, Shown};
use prunella_sys::{FileKind, mutated};

use crate::{Effect, Store, StoreError, effects::Ranked, records::StoredArtifact};

/// What a store needs to publish outside of this machine.
pub(crate) struct Outside {
    pub showcases: Arc<dyn Showcases>,
    /// The directory in which artifacts are laid out before they are sent; local, and nobody else's.
    pub scratch: PathBuf,
}

/// What is to stand at a place, and for whom.
pub(crate) struct Exhibition<'a> {
    pub showcase: &'a dyn Showcase,
    pub effect: &'a Effect,
    /// The artifact: the effect's own, or that of a newer run whose doer may be dead.
    pub stored: &'a StoredArtifact,
    /// The run whose artifact it is, and its place in the order of all: run and binding.
    pub run: &'a RunId,
    pub rank: (u64, u64),
    /// Where the artifact lies on this machine.
    pub laid: &'a Path,
    /// Whether this call has written something there before.
    pub wrote: bool,
    /// Whether what somebody else published there may be replaced.
    pub overwrite: bool,
}

/// An artifact on this machine, while it is sent.
struct Laid<'a> {
    store: &'a Store,
    id: EffectId,
    path: PathBuf,
}

impl Drop for Laid<'_> {
    fn drop(&mut self) {
        // What stays is removed with the scratch directory.
        let fs = &self.store.sys.fs;
        let _removed = match fs.metadata(&self.path).ok().flatten().map(|meta| meta.kind) {
            Some(FileKind::Dir) => fs.remove_dir_all(&self.path),
            _ => fs.remove_file(&self.path),
        };
    }
}

impl Store {
    /// Returns a handle that publishes into buckets, too; `scratch` is a directory of this machine.
    #[must_use]
    pub fn publishing(mut self, showcases: Arc<dyn Showcases>, scratch: PathBuf) -> Self {
        self.outside = Some(Arc::new(Outside { showcases, scratch }));
        self
    }

    /// Sees to it that the newest is at an address, be it this effect or one that somebody else began.
    pub(crate) async fn settle_in_bucket(
        &self,
        effect: &Effect,
        url: &str,
        newest_first: bool,
    ) -> Result<(EffectHow, Option<RunId>), StoreError> {
        let (place, id) = (effect.place(), effect.id());
        let outside = self.outside.as_ref().ok_or_else(|| occupied(url, "this handle publishes into no bucket"))?;
        let showcase = outside.showcases.open(url).await.map_err(|error| not_there(url, error.into()))?;
        let (mut laid, mut wrote): (Option<Laid<'_>>, bool) = (None, false);
        loop {
            // Before asking who is newest: whoever comes in between changes it.
            let there = match effect.stored.artifact.kind {
                ArtifactKind::File => showcase.look("").await.map_err(|error| not_there(url, error.into()))?,
                ArtifactKind::Tree => None,
            };
            let newest = match newest_first {
                true => self.newest_on(effect, &place).await?,
                false => Ranked::only(effect),
            };
            let ours = newest.run == effect.run && newest.id == id;
            let other = (newest.run != effect.run).then(|| newest.run.clone());
            if !ours && newest.done && !wrote {
                return Ok((EffectHow::Superseded, other));
            }
            let path = match &laid {
                Some(laid) if laid.id == newest.id => laid.path.clone(),
                _ => {
                    let path = outside.scratch.join(format!("publish-{}", self.random()));
                    laid = Some(Laid { store: self, id: newest.id, path: path.clone() });
                    self.lay_out_there(effect, url, &newest, &path).await?;
                    path
                }
            };
            let there = match mutated(76) && effect.stored.artifact.kind == ArtifactKind::File {
                true => showcase.look("").await.map_err(|error| not_there(url, error.into()))?,
                false => there,
            };
            let exhibition = Exhibition {
                showcase: &*showcase,
                effect,
                stored: &newest.stored,
                run: &newest.run,
                rank: newest.rank,
                laid: &path,
                wrote,
                overwrite: !newest_first,
            };
            let shown = match (newest.stored.artifact.kind, effect.mirror) {
                (ArtifactKind::File, _) => exhibition.file(there).await,
                (ArtifactKind::Tree, false) => self.show_by_head(&exhibition).await,
                (ArtifactKind::Tree, true) => self.show_mirror(&exhibition).await,
            };
            match shown.map_err(|error| not_there(url, error))? {
                Some(how) if ours => return Ok((how, None)),
                Some(_) => return Ok((EffectHow::Superseded, other)),
                // Only a mirror is left half changed.
                None => wrote |= effect.mirror,
            }
        }
    }

    async fn lay_out_there(&self, effect: &Effect, url: &str, newest: &Ranked, to: &Path) -> Result<(), StoreError> {
        let parent = to.parent().unwrap_or(Path::new("."));
        self.sys.fs.create_dir_all(parent).map_err(StoreError::io(parent))?;
        match self.lay_out_outside(&newest.stored, to).await {
            Ok(_) => Ok(()),
            // Not this effect's bytes: whoever hears of it must not mark its own commit.
            Err(StoreError::Damaged { problem, .. }) if newest.run != effect.run => Err(occupied(
                url,
                &format!(
                    "run {} has begun to publish something newer there, and its bytes are damaged ({problem}): resume it",
                    newest.run
                ),
            )),
            Err(error) => Err(error),
        }
    }
}

impl Exhibition<'_> {
    /// Puts a single file; nothing if somebody else put something there meanwhile.
    async fn file(&self, there: Option<Shown>) -> Result<Option<EffectHow>, StoreError> {
        let digest = self.stored.artifact.digest.hex();
        let (instead, how) = match there {
            None => (Instead::OfNothing, EffectHow::Created),
            Some(there) => {
                let same =
                    there.digest.as_ref() == Some(&digest) && there.size_bytes == self.stored.artifact.size_bytes;
                if same {
                    return Ok(Some(EffectHow::Unchanged));
                }
                (if mutated(75) { Instead::OfAnything } else { Instead::Of(there.version) }, EffectHow::Replaced)
            }
        };
        let put = self.showcase.put("", Exhibit::File(self.laid), &digest, &instead).await?;
        Ok(put.then_some(how))
    }

    /// Returns the name of a record at the target as a key: its sum is over it, too.
    pub(super) fn key(&self, name: &str) -> Result<ObjectKey, StoreError> {
        ObjectKey::new(name).map_err(|_| self.occupied(&format!("`{name}` is no name of a record")))
    }

    pub(super) fn occupied(&self, problem: &str) -> StoreError {
        occupied(&self.effect.target.to_string(), problem)
    }
}

fn occupied(url: &str, problem: &str) -> StoreError {
    StoreError::Occupied { path: url.into(), problem: problem.to_owned() }
}

/// An address that is none will not become one, and who is refused there is let in by somebody, not by time.
fn not_there(url: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Objects(ObjectsError::Unfit { message, .. }) => occupied(url, &message),
        StoreError::Objects(refused @ (ObjectsError::Forbidden { .. } | ObjectsError::NoBucket { .. })) => {
            occupied(url, &refused.to_string())
        }
        error => error,
    }
}
