//! I3 and I6: a publication is at every instant nothing, the old one whole, or the new one whole, and it is done once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use prunella_model::{Artifact, ArtifactKind, EffectHow, Target};
use prunella_objects::{Memory, Objects};
use prunella_store::records::{ProcessId, StoredArtifact};
use prunella_store::{Effect, NewRun, Overwrite, Remedy, Store, StoreError};
use prunella_sys::{FakeMachine, Fs, ManualClock, Sys};
use prunella_testkit::{CrashFs, CrashLimits};

use crate::bench::*;

/// A store in memory that publishes on a file system which shows every crash.
struct Press {
    fs: CrashFs,
    sys: Sys,
    machine: Arc<FakeMachine>,
    objects: Arc<Memory>,
}

impl Press {
    fn new() -> Self {
        let fs = CrashFs::new();
        let machine = Arc::new(FakeMachine::new("m"));
        let clock = Arc::new(ManualClock::new());
        let sys = Sys { fs: Arc::new(fs.clone()), machine: machine.clone(), clock, ..Sys::real() };
        let objects = Arc::new(Memory::new(&sys));
        fs.create_dir_all(Path::new("/p/in")).unwrap();
        Self { fs, sys, machine, objects }
    }

    fn store(&self) -> Store {
        Store::new(self.objects.clone(), self.sys.clone())
    }

    /// A handle on what a crash left.
    fn after(&self, image: &CrashFs) -> Store {
        Store::new(self.objects.clone(), Sys { fs: Arc::new(image.clone()), ..self.sys.clone() })
    }

    /// The artifact of one file, or of a tree of two, with this word in it.
    async fn artifact(&self, kind: ArtifactKind, word: &str) -> StoredArtifact {
        let path = Path::new("/p/in").join(format!("{kind:?}-{word}"));
        match kind {
            ArtifactKind::File => self.write(&path, word),
            ArtifactKind::Tree => {
                self.fs.create_dir_all(&path.join("deep")).unwrap();
                self.write(&path.join("deep/a"), word);
                self.write(&path.join("b"), word);
            }
        }
        let store = self.store();
        let taken = store.take_brought(&run("brought"), &path, kind).await.unwrap();
        let stored = taken.stored.clone();
        store.put_small(taken.objects).await.unwrap();
        stored
    }

    fn write(&self, path: &Path, text: &str) {
        std::io::Write::write_all(&mut self.fs.create_new(path).unwrap(), text.as_bytes()).unwrap();
    }

    async fn begin(&self, id: &str) -> u64 {
        let new = NewRun { run: run(id), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
        self.store().create_run(new).await.unwrap().order
    }

    fn owner(&self, pid: u32) -> prunella_store::records::Owner {
        self.machine.processes.lock().unwrap().insert(pid, 1);
        let process = ProcessId { pid, start_ticks: 1 };
        prunella_store::records::Owner { machine: "m".into(), boot: "boot-1".into(), process, guardian: None }
    }
}

fn effect(id: &str, order: u64, stored: &StoredArtifact) -> Effect {
    let slot = prunella_model::SlotId { key: key("report"), epoch: prunella_model::Epoch(1) };
    Effect {
        run: run(id),
        pipeline: graph("p").pipeline.name,
        order,
        binding: 1,
        step: step("report"),
        output: port("page"),
        slot,
        stored: stored.clone(),
        target: Target::Path(TARGET.into()),
        mirror: false,
        base: None,
    }
}

const TARGET: &str = "/p/out/page";

/// What a reader sees: nothing, or the one word that all of it has.
fn seen(fs: &dyn Fs, artifact: &Artifact) -> Option<String> {
    let read = |path: &str| String::from_utf8(fs.read(Path::new(path)).unwrap()).unwrap();
    fs.metadata(Path::new(TARGET)).unwrap()?;
    Some(match artifact.kind {
        ArtifactKind::File => read(TARGET),
        ArtifactKind::Tree => {
            let (a, b) = (read("/p/out/page/deep/a"), read("/p/out/page/b"));
            assert_eq!(a, b, "I3: a mixture");
            assert_eq!(fs.list(Path::new(TARGET)).unwrap().len(), 2);
            a
        }
    })
}

fn leftovers(fs: &CrashFs) -> usize {
    fs.paths().iter().filter(|path| path.contains(".part") && !path.trim_end_matches('/').contains(".part/")).count()
}

#[tokio::test]
async fn i3_whole_a_loss_of_power_at_any_point_shows_nothing_the_old_or_the_new_one() {
    for kind in [ArtifactKind::File, ArtifactKind::Tree] {
        for old in [None, Some("old")] {
            let press = Press::new();
            let (before, after) = (press.artifact(kind, "old").await, press.artifact(kind, "new").await);
            let overwrite = Overwrite::Anything;
            if old.is_some() {
                press.store().publish(&run("r"), &before, Path::new(TARGET), &overwrite).await.unwrap();
            }
            press.fs.settle();
            press.store().publish(&run("r"), &after, Path::new(TARGET), &overwrite).await.unwrap();
            assert_eq!(leftovers(&press.fs), 0);
            let (mut shown, last) = (BTreeSet::new(), press.fs.crash_points());
            for point in 0..=last {
                for image in press.fs.images_within(point, CrashLimits { images: 60, seed: point as u64 }) {
                    let word = seen(&image, &after.artifact);
                    assert!(
                        word.is_none() && old.is_none() || word.as_deref() == old || word.as_deref() == Some("new")
                    );
                    assert!(point < last || word.as_deref() == Some("new"), "I9: it was answered and is gone");
                    shown.insert(word);
                }
                // Whoever comes next ends with the new one, whatever lies about.
                let image = press.fs.images_within(point, CrashLimits { images: 2, seed: 1 }).last().unwrap();
                press.after(&image).publish(&run("r"), &after, Path::new(TARGET), &overwrite).await.unwrap();
                assert_eq!(seen(&image, &after.artifact).as_deref(), Some("new"));
            }
            assert_eq!(shown, BTreeSet::from([old.map(str::to_owned), Some("new".to_owned())]), "{kind:?} {old:?}");
        }
    }
}

#[tokio::test]
async fn i3_whole_a_full_disk_at_any_point_leaves_the_old_one_and_nothing_beside_it() {
    for kind in [ArtifactKind::File, ArtifactKind::Tree] {
        let press = Press::new();
        let (before, after) = (press.artifact(kind, "old").await, press.artifact(kind, "new").await);
        press.store().publish(&run("r"), &before, Path::new(TARGET), &Overwrite::Anything).await.unwrap();
        let mut refused = 0;
        for n in 0.. {
            press.fs.fail_once_after(n, std::io::ErrorKind::StorageFull);
            match press.store().publish(&run("r"), &after, Path::new(TARGET), &Overwrite::Anything).await {
                Ok(EffectHow::Unchanged) => break,
                Ok(_) => {}
                Err(error) => {
                    assert!(error.is_no_space() && error.remedy() == Remedy::AskUser, "{error}");
                    refused += 1;
                }
            }
            let word = seen(&press.fs, &after.artifact).unwrap();
            assert!(["old", "new"].contains(&word.as_str()));
            if word == "old" {
                assert_eq!(leftovers(&press.fs), 0, "after operation {n}");
            }
        }
        assert!(refused > 3, "{kind:?}: {refused}");
        assert_eq!(seen(&press.fs, &after.artifact).as_deref(), Some("new"));
    }
}

#[tokio::test]
async fn i6_effect_what_is_done_is_not_done_again_and_what_was_begun_is() {
    let press = Press::new();
    let page = press.artifact(ArtifactKind::File, "page").await;
    let order = press.begin("r").await;
    let effect = effect("r", order, &page);
    // The doer dies at every of its operations on the file system in turn: an error that it does not live to handle.
    press.fs.fail_once_after(2, std::io::ErrorKind::Other);
    press.store().do_effect(&press.owner(1), &effect, false).await.unwrap_err();
    let made = press.store().do_effect(&press.owner(2), &effect, false).await.unwrap();
    assert_eq!((made.how, made.before), (EffectHow::Created, false));
    let again = press.store().do_effect(&press.owner(3), &effect, false).await.unwrap();
    assert_eq!((again.how, again.before), (EffectHow::Created, true));
    // Whoever deletes what was published means it; only who asks for it gets it again.
    press.fs.remove_file(Path::new(TARGET)).unwrap();
    assert!(press.store().do_effect(&press.owner(3), &effect, false).await.unwrap().before);
    assert_eq!(seen(&press.fs, &page.artifact), None);
    let put = press.store().do_effect(&press.owner(3), &effect, true).await.unwrap();
    assert_eq!((put.how, put.before), (EffectHow::Created, false));
    assert_eq!(seen(&press.fs, &page.artifact).as_deref(), Some("page"));
}

#[tokio::test]
async fn i6_effect_an_older_run_never_replaces_a_newer_one_and_finishes_what_that_began() {
    let press = Press::new();
    let (old, new) = (press.artifact(ArtifactKind::File, "old").await, press.artifact(ArtifactKind::File, "new").await);
    let (first, second) = (press.begin("first").await, press.begin("second").await);
    // The newer run begins and cannot go on.
    press.fs.fail_once_after(2, std::io::ErrorKind::Other);
    press.store().do_effect(&press.owner(1), &effect("second", second, &new), false).await.unwrap_err();
    let made = press.store().do_effect(&press.owner(2), &effect("first", first, &old), false).await.unwrap();
    assert_eq!((made.how, made.by), (EffectHow::Superseded, Some(run("second"))));
    assert_eq!(seen(&press.fs, &new.artifact).as_deref(), Some("new"));
    let made = press.store().do_effect(&press.owner(1), &effect("second", second, &new), false).await.unwrap();
    assert_eq!((made.how, made.before), (EffectHow::Unchanged, false));
}

#[tokio::test]
async fn i6_effect_within_a_run_the_newest_binding_counts_also_when_an_artifact_comes_back() {
    let press = Press::new();
    let (one, two) = (press.artifact(ArtifactKind::Tree, "one").await, press.artifact(ArtifactKind::Tree, "two").await);
    let order = press.begin("r").await;
    for (binding, stored, word) in [(1, &one, "one"), (2, &two, "two"), (3, &one, "one")] {
        let effect = Effect { binding, ..effect("r", order, stored) };
        press.store().do_effect(&press.owner(1), &effect, false).await.unwrap();
        assert_eq!(seen(&press.fs, &one.artifact).as_deref(), Some(word), "binding {binding}");
    }
    // One that was replaced long ago comes late.
    let late = Effect { binding: 2, ..effect("r", order, &two) };
    let made = press.store().do_effect(&press.owner(2), &late, false).await.unwrap();
    assert_eq!(made.how, EffectHow::Superseded);
    assert_eq!(seen(&press.fs, &one.artifact).as_deref(), Some("one"));
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_refused_and_an_empty_one_is_not() {
    let press = Press::new();
    let site = press.artifact(ArtifactKind::Tree, "site").await;
    let order = press.begin("r").await;
    let effect = effect("r", order, &site);
    press.fs.create_dir_all(Path::new(TARGET)).unwrap();
    press.write(Path::new("/p/out/page/mine"), "mine");
    for _ in 0..2 {
        let refused = press.store().do_effect(&press.owner(1), &effect, false).await.unwrap_err();
        assert!(matches!(refused, StoreError::Occupied { .. }), "{refused}");
        assert_eq!(press.fs.read(Path::new("/p/out/page/mine")).unwrap(), b"mine");
    }
    press.fs.remove_file(Path::new("/p/out/page/mine")).unwrap();
    press.store().do_effect(&press.owner(1), &effect, false).await.unwrap();
    assert_eq!(seen(&press.fs, &site.artifact).as_deref(), Some("site"));
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed_by_the_next_one_and_what_a_live_one_makes_is_not() {
    let press = Press::new();
    let page = press.artifact(ArtifactKind::File, "page").await;
    let order = press.begin("r").await;
    press.fs.settle();
    press.store().do_effect(&press.owner(1), &effect("r", order, &page), false).await.unwrap();
    // The state after a crash in the middle, with the part on the disk.
    let torn = (0..press.fs.crash_points())
        .flat_map(|point| press.fs.images_within(point, CrashLimits { images: 4, seed: 1 }))
        .find(|image| leftovers(image) == 1)
        .expect("a crash leaves a part somewhere");
    let next = || async {
        let other = Effect { target: Target::Path("/p/out/other".into()), ..effect("r", order, &page) };
        press.after(&torn).do_effect(&press.owner(2), &other, true).await.unwrap();
        leftovers(&torn)
    };
    assert_eq!(next().await, 1, "process 1 lives");
    press.machine.processes.lock().unwrap().remove(&1);
    assert_eq!(next().await, 0, "process 1 is dead");
}

#[tokio::test]
async fn i10_ends_an_effect_begun_with_bytes_that_were_lost_is_done_with_those_that_were_made_anew() {
    let press = Press::new();
    let order = press.begin("r").await;
    let lost = press.artifact(ArtifactKind::File, "page").await;
    press.objects.delete(&prunella_objects::ObjectKey::new(&lost.object).unwrap()).await.unwrap();
    let error = press.store().do_effect(&press.owner(1), &effect("r", order, &lost), false).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::MakeAnew);

    // The same bytes under another name: the effect is the same, and so is the record that it was begun.
    let taken = press.store().take_brought(&run("brought"), Path::new("/p/in/File-page"), ArtifactKind::File).await;
    let taken = taken.unwrap();
    press.store().put_small(taken.objects).await.unwrap();
    let anew = effect("r", order, &taken.stored);
    assert_eq!(anew.id(), effect("r", order, &lost).id());
    let made = press.store().do_effect(&press.owner(2), &anew, false).await.unwrap();
    assert_eq!(made.how, EffectHow::Created);
    assert_eq!(seen(&press.fs, &taken.stored.artifact).as_deref(), Some("page"));
}
