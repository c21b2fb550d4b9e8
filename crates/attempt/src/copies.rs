//! Copying a commit of another store into a slot that this attempt holds: every byte compared, nothing left that depends on it.

use std::{collections::BTreeMap, path::Path};

use prunella_healing::Phase;
use prunella_model::{ArtifactKind, PortName, Reuse, SlotId, shown};
use prunella_store::{
    Alike, Filled, OtherStore, ReadyCommit, StoreError,
    records::{Committed, CopiedFrom, MountedAt, StoredArtifact, Timeline},
};
use prunella_sys::{mutated, random_hex};

use crate::{InputBytes, Success, Told, Verdict, command::command, end::trouble, run::Run, validate::validate};

/// So many remarks of another store are kept.
const REMARKS: usize = 20;

/// So many characters of a text of theirs are shown.
const SHOWN: usize = 500;

/// Returns a text of another store as it may be shown on a terminal and written down here.
fn harmless(text: &str) -> String {
    // It is no name: what stands between backticks in it is one.
    let plain = shown(text.as_bytes()).replace("\\u{60}", "`");
    match plain.char_indices().nth(SHOWN) {
        None => plain,
        Some((at, _)) => format!("{}…", &plain[..at]),
    }
}

/// Why a commit is not copied.
enum NotCopied {
    /// The other store, or what it holds, is not as it should be.
    Theirs(StoreError),
    /// What it holds is not what this step declares.
    Unlike(String),
    /// One's own store or machine did not take it: the attempt will meet that again, and say it.
    Ours,
    /// Whether the slot is filled is not known.
    Undecided(Box<StoreError>, Timeline),
}

impl Run<'_> {
    /// Copies a commit of this work from the first other store that has one; nothing if none is taken over, and the slot is as it was.
    pub(crate) async fn copied(&self) -> Option<Verdict> {
        let (host, step) = (self.host, &self.request.step.name);
        let forced = self.request.graph.graph.force.contains_key(step);
        // What is of this run alone was made nowhere else.
        if self.step.reuse != Reuse::Always || forced || self.request.at_end.is_some() {
            return None;
        }
        for other in host.store.others() {
            let found = tokio::select! {
                biased;
                () = self.noticed() => return None,
                found = other.find(&self.request.key) => found,
            };
            let (slot, committed) = match found {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) => {
                    self.not_copied(other, trouble(&error).text);
                    continue;
                }
            };
            let run = host.work.join(self.request.run.as_str());
            let random = random_hex(&*host.sys.random, 4);
            let to = run.join(format!(
                "{}@{}.{}-copy-{random}",
                self.request.step.segment(),
                self.slot.key.short(),
                self.slot.epoch
            ));
            let copied = tokio::select! {
                biased;
                // The attempt itself says that it was told to end.
                () = self.noticed() => Err(NotCopied::Ours),
                copied = self.copy(other, slot, &committed, &to) => copied,
            };
            let _left_for_later = host.sys.fs.remove_dir_all(&to);
            match copied {
                Ok(verdict) => return Some(verdict),
                Err(NotCopied::Ours) => return None,
                // To go on in a slot that may be filled would make a second commit of it.
                Err(NotCopied::Undecided(error, timeline)) => {
                    self.tell.tell(Told::Claimed { slot: self.slot });
                    return Some(self.fail_with(Phase::Promote, &error, timeline).await);
                }
                Err(NotCopied::Theirs(error)) => {
                    other.leave_alone_after(&error);
                    self.not_copied(other, trouble(&error).text);
                }
                Err(NotCopied::Unlike(why)) => self.not_copied(other, why),
            }
        }
        None
    }

    fn not_copied(&self, other: &OtherStore, why: String) {
        self.tell.tell(Told::NotCopied { store: other.name().to_owned(), why: harmless(&why) });
    }

    async fn copy(
        &self,
        other: &OtherStore,
        slot: SlotId,
        committed: &Committed,
        to: &Path,
    ) -> Result<Verdict, NotCopied> {
        let began = self.at_ms();
        if !committed.artifacts.keys().eq(self.step.outputs.keys()) && !mutated(95) {
            return Err(NotCopied::Unlike("its outputs are not those that the step declares".to_owned()));
        }
        let fs = &*self.host.sys.fs;
        fs.create_dir_all(to).map_err(|_| NotCopied::Ours)?;
        let (mut artifacts, mut objects) = (BTreeMap::new(), Vec::new());
        for (name, output) in &self.step.outputs {
            let theirs = &committed.artifacts[name];
            let kind = if output.tree { ArtifactKind::Tree } else { ArtifactKind::File };
            if theirs.artifact.kind != kind && !mutated(96) {
                return Err(NotCopied::Unlike(format!("`{name}` is of another kind than the step declares")));
            }
            // Before any of it is fetched: what it says it is may be made to fill a disk.
            if output.check.max_size.is_some_and(|most| theirs.artifact.size_bytes > most.bytes()) && !mutated(94) {
                return Err(NotCopied::Unlike(format!("`{name}` is larger than the step declares")));
            }
            let path = to.join(name.as_str());
            other.store().lay_out_outside(theirs, &path).await.map_err(NotCopied::Theirs)?;
            let taken = self.take(name, theirs, &path, kind).await?;
            match validate(self.host, name, output, &taken).await {
                Ok(None) => {}
                Ok(Some(wrong)) => return Err(NotCopied::Unlike(format!("`{name}`: {}", wrong.problem))),
                Err(_) => return Err(NotCopied::Ours),
            }
            artifacts.insert(name.clone(), taken.stored);
            objects.extend(taken.objects);
        }
        let mut provenance = self.provenance(None, command(self.request, self.step, &[]), Vec::new(), &self.mounted());
        let remarks = committed.provenance.remarks.iter().take(REMARKS).map(|remark| harmless(remark)).collect();
        let from = CopiedFrom { store: other.name().to_owned(), slot, remarks };
        provenance.copied_from = Some(from).filter(|_| !mutated(93));
        let phases = vec![("copy".to_owned(), began), ("promote".to_owned(), self.at_ms())];
        let timeline = Timeline { phases, ended_ms: self.at_ms(), ..Timeline::default() };
        let copied_from = Some(other.name().to_owned());
        let success =
            Success { slot: self.slot, artifacts: artifacts.clone(), timeline: timeline.clone(), copied_from };
        let ready = ReadyCommit { artifacts, objects, provenance, timeline: timeline.clone() };
        match self.host.store.commit(&self.slot, ready).await {
            Ok(Filled::Ours) => Ok(Verdict::Reused(success)),
            // I5: whoever closed the slot meanwhile was told so.
            Ok(Filled::Theirs(_)) => {
                self.tell.tell(Told::Claimed { slot: self.slot });
                Ok(Verdict::Fenced(self.slot))
            }
            Err(error) => Err(NotCopied::Undecided(Box::new(error), timeline)),
        }
    }

    /// Takes in what was laid out; it must be what the other store said.
    async fn take(
        &self,
        name: &PortName,
        theirs: &StoredArtifact,
        path: &Path,
        kind: ArtifactKind,
    ) -> Result<prunella_store::Taken, NotCopied> {
        let alike = Alike { pipeline: &self.request.graph.graph.pipeline.name, step: &self.request.step, output: name };
        let taken = self.host.store.take_output_alike(&self.slot, path, kind, &alike).await;
        let taken = taken.map_err(|error| match error {
            StoreError::Unfit { .. } | StoreError::Tree { .. } => NotCopied::Unlike(format!("`{name}`: {error}")),
            _ => NotCopied::Ours,
        })?;
        match taken.stored.artifact == theirs.artifact {
            true => Ok(taken),
            false => Err(NotCopied::Unlike(format!("`{name}` is not what its commit says"))),
        }
    }

    /// Data that is mounted was not read here, but it is what the key is of.
    fn mounted(&self) -> BTreeMap<PortName, MountedAt> {
        let mounted = self.request.inputs.iter().filter_map(|(name, input)| match &input.bytes {
            InputBytes::Mounted(mounted) => {
                Some((name.clone(), MountedAt { path: mounted.path.display().to_string(), protected: false }))
            }
            InputBytes::Stored { .. } | InputBytes::FanIn(_) => None,
        });
        mounted.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_store_says_is_harmless_on_a_terminal_and_short() {
        let said = harmless("a\u{1b}[31mred\nnext");
        assert!(!said.contains('\u{1b}') && !said.contains('\n') && said.contains("red"), "{said}");
        assert_eq!(harmless(&"é".repeat(9_000)).chars().count(), SHOWN + 1);
        assert_eq!(harmless("`data.digits` was not pinned"), "`data.digits` was not pinned");
    }
}
