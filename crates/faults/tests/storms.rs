//! What is wrapped behaves as it did in calm weather, and in a storm as its errors promise.
#![allow(clippy::disallowed_methods)]

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prunella_faults::{Act, Blow, Faults, Operation, Place, Storm, Trouble, VARIABLE, Weather};
use prunella_objects::{Created, Memory, ObjectKey, Objects, ObjectsError, conformance};
use prunella_sys::{Clock, Fs, ManualClock, MapEnv, Sys};

/// A machine on which somebody plays the weather.
struct Scene {
    dir: tempfile::TempDir,
    clock: ManualClock,
    machine: Sys,
    faults: Faults,
}

impl Scene {
    fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
        let machine = Sys { clock: Arc::new(clock.clone()), ..Sys::real() };
        let faults = Faults::of(&machine, &dir.path().join("faults.json"));
        Self { dir, clock, machine, faults }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Lets these storms blow, as strong as they can be.
    fn blow(&self, troubles: &[Trouble]) {
        let storms = troubles.iter().map(|trouble| Storm { share: Some(1.0), ..Storm::new(*trouble, 1) }).collect();
        self.tell(&Weather { storms, ..Weather::default() });
    }

    fn tell(&self, weather: &Weather) {
        let part = self.path("faults.part");
        std::fs::write(&part, serde_json::to_vec(weather).unwrap()).unwrap();
        std::fs::rename(part, self.path("faults.json")).unwrap();
        // The file is not looked at all the time.
        self.clock.advance(Duration::from_millis(10));
    }

    fn suffering(&self) -> Sys {
        self.faults.around(self.machine.clone())
    }

    fn store(&self) -> (Arc<dyn Objects>, Arc<dyn Objects>) {
        let inner: Arc<dyn Objects> = Arc::new(Memory::new(&self.machine));
        (self.faults.objects(inner.clone(), Path::new("/store")), inner)
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn write(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs.create_new(path)?;
    file.write_all(bytes)?;
    file.sync()
}

#[tokio::test]
async fn in_calm_weather_a_wrapped_store_keeps_every_promise() {
    let scene = Scene::new();
    let stores = std::sync::Mutex::new(std::collections::HashMap::<String, Arc<dyn Objects>>::new());
    let make = |name: &str| stores.lock().unwrap().entry(name.to_owned()).or_insert_with(|| scene.store().0).clone();
    conformance::suite(&scene.machine, scene.dir.path(), make).await;
}

#[tokio::test]
async fn what_may_have_been_done_is_undecided_and_what_was_not_says_so() {
    let scene = Scene::new();
    let (store, inner) = scene.store();
    scene.blow(&[Trouble::RepliesLost]);
    let mut done = 0;
    for n in 0..40 {
        let name = key(&format!("lost/{n}"));
        assert!(matches!(store.create(&name, "x".into()).await, Err(ObjectsError::Undecided { .. })));
        done += usize::from(inner.get(&name).await.unwrap().is_some());
    }
    assert!((8..=32).contains(&done), "some replies were lost and some requests, not {done} of 40");
    assert!(matches!(store.list("lost/", None, 1).await, Err(ObjectsError::Io { .. })), "to read is never undecided");
    for (trouble, wanted) in
        [(Trouble::StorageThrottled, "Busy"), (Trouble::StorageErrors, "Io"), (Trouble::DiskFull, "NoSpace")]
    {
        scene.blow(&[trouble]);
        let name = key(&format!("not/{wanted}"));
        let error = store.create(&name, "x".into()).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(wanted), "{error:?}");
        assert_eq!(inner.get(&name).await.unwrap(), None, "{wanted}");
    }
    scene.blow(&[]);
    assert_eq!(store.create(&key("after"), "x".into()).await.unwrap(), Created::New);
}

#[tokio::test]
async fn bytes_come_short_once_and_whole_the_next_time() {
    let scene = Scene::new();
    let (store, inner) = scene.store();
    let _new = inner.create(&key("data/a"), "0123456789".into()).await.unwrap();
    scene.blow(&[Trouble::ShortReads]);
    let read = async || {
        let mut text = String::new();
        let mut reader = store.open(&key("data/a")).await.unwrap().unwrap();
        assert_eq!(reader.size(), 10, "how much there is, is known");
        reader.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!((read().await.as_str(), read().await.as_str()), ("01234", "0123456789"));
    let _new = inner.create(&key("record"), "x".into()).await.unwrap();
    assert!(matches!(store.get(&key("record")).await, Err(ObjectsError::Io { .. })), "a record is never half of one");
    assert_eq!(store.get(&key("record")).await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn after_a_failed_sync_no_later_one_succeeds() {
    let scene = Scene::new();
    let (store, _) = scene.store();
    store.sync().await.unwrap();
    scene.blow(&[Trouble::StorageErrors]);
    store.sync().await.unwrap_err();
    scene.blow(&[]);
    store.sync().await.unwrap_err();
}

#[tokio::test]
async fn slow_storage_answers_when_its_time_has_come() {
    let scene = Scene::new();
    let (store, _) = scene.store();
    scene.blow(&[Trouble::StorageSlow]);
    let asked = tokio::spawn(async move { store.create(&key("late"), "x".into()).await });
    scene.clock.until_sleeping(1).await;
    assert_eq!(scene.clock.next_due(), Some(Duration::from_millis(200)));
    scene.clock.advance(Duration::from_millis(200));
    assert_eq!(asked.await.unwrap().unwrap(), Created::New);
}

#[test]
fn a_full_disk_takes_nothing_lets_go_of_everything_and_has_room_again() {
    let scene = Scene::new();
    let fs = scene.suffering().fs;
    let (old, new) = (scene.path("old"), scene.path("new"));
    write(&*fs, &old, b"old").unwrap();
    let mut open = fs.append(&old).unwrap();
    scene.blow(&[Trouble::DiskFull]);
    assert_eq!(write(&*fs, &new, b"new").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(open.write_all(b"more").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(fs.free_space(&old).unwrap(), 0);
    assert!(!fs.create_dir(scene.dir.path()).unwrap(), "what is there takes no room");
    fs.create_dir(&scene.path("dir")).unwrap_err();
    assert_eq!(fs.read(&old).unwrap(), b"old");
    fs.remove_file(&old).unwrap();
    scene.blow(&[]);
    write(&*fs, &new, b"new").unwrap();
    assert!(fs.free_space(&new).unwrap() > 0);
}

#[test]
fn a_failing_disk_does_nothing_and_short_reads_of_files_lose_no_byte() {
    let scene = Scene::new();
    let fs = scene.suffering().fs;
    let (file, bytes) = (scene.path("file"), vec![7; 100_000]);
    scene.blow(&[Trouble::DiskErrors]);
    write(&*fs, &file, b"x").unwrap_err();
    fs.list(scene.dir.path()).unwrap_err();
    assert!(!file.exists());
    scene.blow(&[Trouble::ShortReads]);
    write(&*fs, &file, &bytes).unwrap();
    let (mut reader, mut found) = (fs.open_read(&file).unwrap(), vec![0; 100]);
    assert_eq!(reader.read(&mut found).unwrap(), 50, "fewer than were asked for");
    found.truncate(50);
    reader.read_to_end(&mut found).unwrap();
    assert!(found == bytes && fs.read(&file).unwrap() == bytes);
}

#[test]
fn the_wall_clock_jumps_and_the_monotonic_one_never_does() {
    let scene = Scene::new();
    let clock = scene.suffering().clock;
    for clock_ms in [0, 3_600_000, -3_600_000] {
        scene.tell(&Weather { clock_ms, ..Weather::default() });
        assert_eq!(clock.wall_ms() - scene.clock.wall_ms(), clock_ms);
        assert_eq!(clock.monotonic(), scene.clock.monotonic());
    }
}

#[test]
fn a_seed_hits_the_same_operations_again_and_what_is_not_hit_is_not_counted_for_others() {
    let hits = |seed, between: bool| -> Vec<Option<Blow>> {
        let scene = Scene::new();
        scene.tell(&Weather { seed, storms: vec![Storm::new(Trouble::StorageErrors, 1)], ..Weather::default() });
        let ask = |place, act| scene.faults.meet(&Operation { place, act, what: Path::new("k") }).blow;
        (0..50)
            .map(|_| {
                if between {
                    assert_eq!(ask(Place::Files, Act::Write), None);
                }
                ask(Place::Objects, Act::Create)
            })
            .collect()
    };
    assert_eq!(hits(1, false), hits(1, true));
    assert_ne!(hits(1, false), hits(2, false));
    assert!(hits(1, false).contains(&Some(Blow::Error)) && hits(1, false).contains(&None));
}

#[test]
fn without_a_file_it_is_calm_and_one_that_holds_something_else_is_refused_by_name() {
    let scene = Scene::new();
    let asked = |env: MapEnv| Faults::asked_for(&Sys { env: Arc::new(env), ..scene.machine.clone() });
    assert!(asked(MapEnv::new("/")).unwrap().is_none());
    let file = scene.path("asked.json");
    let named = || MapEnv::new("/").with(VARIABLE, file.display().to_string());
    let faults = asked(named()).unwrap().expect("the variable is set");
    let (objects, create) = (Place::Objects, Act::Create);
    assert_eq!(faults.meet(&Operation { place: objects, act: create, what: Path::new("k") }).blow, None);
    std::fs::write(&file, r#"{"storms":[{"trouble":"rain"}]}"#).unwrap();
    let refused = asked(named()).unwrap_err().to_string();
    assert!(refused.contains("asked.json") && refused.contains("unknown variant `rain`"), "{refused}");
    // While the program runs, what cannot be read changes nothing.
    let meet = || scene.faults.meet(&Operation { place: objects, act: create, what: Path::new("k") }).blow;
    scene.blow(&[Trouble::StorageThrottled]);
    assert_eq!(meet(), Some(Blow::Throttled));
    std::fs::write(scene.path("faults.json"), "{").unwrap();
    scene.clock.advance(Duration::from_millis(10));
    assert_eq!(meet(), Some(Blow::Throttled));
}
