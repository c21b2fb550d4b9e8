//! What every backend and wrapper promises, as one suite.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prunella_sys::Sys;
use tokio::task::JoinSet;

use crate::error::ObjectsError;
use crate::key::ObjectKey;
use crate::objects::{Created, CreatedFile, Freshness, Objects, Op, SMALL_BYTES, TakeIn};

/// Opens handles on stores: equal names give handles on one store, a new name an empty one.
pub trait Stores {
    /// Opens a handle on the store `name`.
    fn open(&self, name: &str) -> Arc<dyn Objects>;
}

impl<F: Fn(&str) -> Arc<dyn Objects>> Stores for F {
    fn open(&self, name: &str) -> Arc<dyn Objects> {
        self(name)
    }
}

/// Checks every promise of [`Objects`] on the stores that `make` opens; source files are put into `scratch`.
///
/// # Panics
/// If a promise is broken, naming it by the function that asked.
pub async fn suite(sys: &Sys, scratch: &Path, make: impl Stores) {
    what_was_created_is_there_and_never_changes(&make).await;
    of_many_creators_exactly_one_wins(&make).await;
    listing_is_in_byte_order_and_bounded(&make).await;
    a_create_that_looks_sees_itself_and_what_was_before(&make).await;
    sizes_around_the_border_come_back_whole(&make).await;
    what_was_answered_is_seen_by_other_handles_and_later_ones(&make).await;
    hints_are_replaced_and_created_objects_are_not(&make).await;
    many_prefixes_are_listed_and_read_as_each_by_itself(&make).await;
    the_last_of_a_batch_is_written_after_the_others(&make).await;
    a_deleted_object_is_absent_and_deleting_it_again_says_so(&make).await;
    every_allowed_character_works(&make).await;
    a_range_is_what_the_object_has_of_it(&make).await;
    files_are_taken_in_whole(sys, scratch, &make).await;
    a_file_does_not_replace_what_is_there(sys, scratch, &make).await;
    of_many_files_exactly_one_wins(sys, scratch, &make).await;
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("the suite's keys are valid")
}

fn content(size: usize, seed: u8) -> Bytes {
    (0..size).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed).wrapping_add((i >> 8) as u8)).collect()
}

async fn keys(store: &dyn Objects, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let listed = store.list(prefix, after, limit).await.expect("listing works");
    listed.into_iter().map(|line| line.key.to_string()).collect()
}

async fn what_was_created_is_there_and_never_changes(make: &impl Stores) {
    let store = make.open("create");
    assert!(!store.store_id().is_empty());
    assert_eq!(store.get(&key("a/b")).await.expect("get"), None);
    assert!(store.open(&key("a/b")).await.expect("open").is_none());
    assert_eq!(store.create(&key("a/b"), "one".into()).await.expect("create"), Created::New);
    let again = store.create(&key("a/b"), "two".into()).await.expect("create");
    assert_eq!(again, Created::There("one".into()), "the answer tells what is there");
    assert_eq!(store.get(&key("a/b")).await.expect("get"), Some("one".into()));
    assert_eq!(store.create(&key("empty"), Bytes::new()).await.expect("create"), Created::New);
    assert_eq!(store.get(&key("empty")).await.expect("get"), Some(Bytes::new()), "empty is not absent");
    assert_eq!(store.get(&key("a")).await.expect("get"), None, "a prefix is no object");
}

async fn of_many_creators_exactly_one_wins(make: &impl Stores) {
    let handles = [make.open("race"), make.open("race")];
    for size in [10, SMALL_BYTES + 1] {
        let slot = key(&format!("slot-{size}"));
        let mut writers = JoinSet::new();
        for writer in 0..50_u8 {
            let (store, slot) = (handles[usize::from(writer % 2)].clone(), slot.clone());
            writers.spawn(async move { (writer, store.create(&slot, content(size, writer)).await.expect("create")) });
        }
        let outcomes = writers.join_all().await;
        let winners: Vec<u8> = outcomes.iter().filter(|(_, c)| *c == Created::New).map(|(w, _)| *w).collect();
        assert_eq!(winners.len(), 1, "exactly one of 50 creates is answered New, at {size} bytes");
        let bytes = content(size, winners[0]);
        for (_, outcome) in outcomes {
            assert!(
                outcome == Created::New || outcome == Created::There(bytes.clone()),
                "losers see the winner's bytes"
            );
        }
        assert_eq!(handles[0].get(&slot).await.expect("get"), Some(bytes));
    }
}

async fn listing_is_in_byte_order_and_bounded(make: &impl Stores) {
    let store = make.open("list");
    let mut all =
        ["a", "a-b", "a/b", "a/b.c", "a/b/c", "a/bb", "a0", "B", "b", "a/b=d", "a/b@"].map(String::from).to_vec();
    for text in &all {
        assert_eq!(store.create(&key(text), text.clone().into()).await.expect("create"), Created::New);
    }
    all.sort();
    assert_eq!(keys(&*store, "", None, 100).await, all);
    let below: Vec<_> = all.iter().filter(|k| k.starts_with("a/")).cloned().collect();
    assert_eq!(keys(&*store, "a/", None, 100).await, below);
    assert_eq!(keys(&*store, "a/b", None, 2).await, below[..2]);
    assert_eq!(keys(&*store, "a/", Some(&below[1]), 2).await, below[2..4], "`after` itself is not listed");
    assert_eq!(
        keys(&*store, "a/", Some("a/b-not-there"), 100).await,
        below.iter().filter(|k| k.as_str() > "a/b-not-there").cloned().collect::<Vec<_>>()
    );
    assert_eq!(keys(&*store, "a/", Some("A"), 100).await, below, "an `after` below the prefix leaves nothing out");
    assert_eq!(keys(&*store, "a/", Some("b"), 100).await, Vec::<String>::new());
    assert_eq!(keys(&*store, "a/", None, 0).await, Vec::<String>::new());
    assert_eq!(keys(&*store, "zzz", None, 9).await, Vec::<String>::new());
    for prefix in ["a/", "a/b", "", "none"] {
        let mut seen = Vec::new();
        store.see_keys(prefix, &mut |key| seen.push(key.to_owned())).await.expect("keys are shown");
        assert_eq!(seen, keys(&*store, prefix, None, usize::MAX).await, "all keys are shown as they are listed");
    }
    let sizes = store.list("a/b/", None, 9).await.expect("list");
    assert_eq!((sizes.len(), sizes[0].size), (1, 5));
    let read = store.read_prefix("a/", 3).await.expect("read_prefix");
    let expected: Vec<_> = below[..3].iter().map(|k| (key(k), Bytes::from(k.clone()))).collect();
    assert_eq!(read, expected);
}

async fn a_create_that_looks_sees_itself_and_what_was_before(make: &impl Stores) {
    let store = make.open("look");
    for (name, size) in [("k/1", 3), ("k/2", SMALL_BYTES + 1), ("other/1", 4)] {
        assert_eq!(store.create(&key(name), content(size, 1)).await.expect("create"), Created::New);
    }
    for (name, size) in [("k/3", 5), ("k/4", SMALL_BYTES + 1)] {
        let (created, seen) = store.create_and_look(&key(name), content(size, 2), "k/").await.expect("create and look");
        assert_eq!(created, Created::New);
        assert_eq!(seen, store.read_prefix("k/", usize::MAX).await.expect("read"));
        assert!(seen.contains(&(key(name), content(size, 2))));
    }
    let (created, seen) = store.create_and_look(&key("k/1"), content(9, 9), "k/").await.expect("create and look");
    assert_eq!(created, Created::There(content(3, 1)));
    assert_eq!(seen.len(), 4);
    let together = store.read_prefixes(&["k/".into(), "none/".into(), "other/".into()]).await.expect("read");
    assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [4, 0, 1]);
    assert_eq!(together[0], seen);
}

async fn sizes_around_the_border_come_back_whole(make: &impl Stores) {
    let store = make.open("sizes");
    for size in [0, 1, 4096, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, 3 << 20] {
        let (name, bytes) = (key(&format!("size/{size:08}")), content(size, 7));
        assert_eq!(store.create(&name, bytes.clone()).await.expect("create"), Created::New);
        assert_eq!(store.create(&name, "other".into()).await.expect("create"), Created::There(bytes.clone()));
        assert_eq!(store.get(&name).await.expect("get"), Some(bytes.clone()), "{size} bytes");
        let mut reader = store.open(&name).await.expect("open").expect("it is there");
        assert_eq!(reader.size(), size as u64);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("an object can be read");
        assert!(read == bytes, "{size} bytes through open");
        reader.seek(SeekFrom::Start(size as u64 / 2)).expect("an object can be sought in");
        read.clear();
        reader.read_to_end(&mut read).expect("an object can be read");
        assert!(read == bytes[size / 2..]);
    }
    let listed = store.list("size/", None, 100).await.expect("list");
    assert!(listed.iter().all(|line| line.key.as_str().ends_with(&format!("{:08}", line.size))));
    let read = store.read_prefix("size/", 100).await.expect("read_prefix");
    assert!(read.iter().zip(&listed).all(|((name, bytes), line)| *name == line.key && bytes.len() as u64 == line.size));
}

async fn what_was_answered_is_seen_by_other_handles_and_later_ones(make: &impl Stores) {
    let (first, second) = (make.open("handles"), make.open("handles"));
    assert_eq!(first.store_id(), second.store_id());
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let name = key(&format!("n/{n:02}"));
        assert_eq!(writer.create(&name, content(n, 1)).await.expect("create"), Created::New);
        assert_eq!(reader.get(&name).await.expect("get"), Some(content(n, 1)), "seen at once by the other handle");
        assert_eq!(keys(&**reader, "n/", None, 100).await.len(), n + 1);
    }
    drop((first, second));
    let later = make.open("handles");
    assert_eq!(keys(&*later, "n/", None, 100).await.len(), 20, "seen by a handle that is opened later");
}

async fn hints_are_replaced_and_created_objects_are_not(make: &impl Stores) {
    let store = make.open("hints");
    for beat in ["1", "2", "a longer one", "3"] {
        store.overwrite(&key("x.alive.json"), beat.into()).await.expect("overwrite");
        assert_eq!(store.get(&key("x.alive.json")).await.expect("get"), Some(beat.into()));
    }
    let there = store.create(&key("x.alive.json"), "new".into()).await.expect("create");
    assert_eq!(there, Created::There("3".into()), "a hint keeps its key");
    assert_eq!(store.create(&key("record"), "one".into()).await.expect("create"), Created::New);
    let refused = store.overwrite(&key("record"), "two".into()).await;
    assert!(matches!(refused, Err(ObjectsError::Immutable { .. })), "{refused:?}");
    assert_eq!(store.get(&key("record")).await.expect("get"), Some("one".into()));
    let large = store.overwrite(&key("large"), content(SMALL_BYTES + 1, 0)).await;
    assert!(matches!(large, Err(ObjectsError::TooLarge { .. })), "{large:?}");
}

async fn many_prefixes_are_listed_and_read_as_each_by_itself(make: &impl Stores) {
    let store = make.open("many");
    let mut asked = Vec::new();
    // Near each other, and far apart: some have nothing, some much.
    for n in 0..120 {
        let prefix = format!("attempts/{:03}/", n * if n < 60 { 1 } else { 7 });
        let each = match n % 5 {
            0 => 0,
            1 => 12,
            _ => 2,
        };
        for i in 0..each {
            let name = key(&format!("{prefix}{i:02}"));
            assert_eq!(store.create(&name, content(8, i as u8)).await.expect("create"), Created::New);
        }
        asked.push(prefix);
    }
    asked.reverse();
    asked.push("attempts/none/".to_owned());
    // One that is asked for twice, one that holds others, and one that ends within a name.
    for again in [asked[0].clone(), "attempts/".to_owned()] {
        asked.push(again);
    }
    let mut within = asked.clone();
    within.push("attempts/00".to_owned());
    for few in [&asked[..3], &asked[..], &within[..], &[]] {
        let listed = store.list_prefixes(few).await.expect("list");
        assert_eq!(listed.len(), few.len());
        for (prefix, listed) in few.iter().zip(&listed) {
            assert_eq!(*listed, store.list(prefix, None, usize::MAX).await.expect("list"), "{prefix}");
        }
        let mut names: Vec<ObjectKey> = listed.into_iter().flatten().map(|listed| listed.key).collect();
        names.push(key("attempts/absent"));
        for _ in 0..2 {
            let read = store.read_listed(&names).await.expect("read");
            assert_eq!(read.len(), names.len());
            for (name, read) in names.iter().zip(read) {
                assert_eq!(read, store.get(name).await.expect("get"), "{name}");
            }
        }
    }
}

async fn the_last_of_a_batch_is_written_after_the_others(make: &impl Stores) {
    let store = make.open("batch");
    let create = |name: &str, bytes: Bytes| Op::Create { key: key(name), bytes };
    let large = content(SMALL_BYTES + 1, 3);
    let outcomes = store
        .batch(vec![
            create("a", "first".into()),
            create("a", "second".into()),
            Op::Overwrite { key: key("h"), bytes: "1".into() },
            Op::Overwrite { key: key("h"), bytes: "2".into() },
            create("large", large.clone()),
            create("large", content(SMALL_BYTES + 2, 4)),
        ])
        .await
        .expect("batch");
    let there = |bytes: &Bytes| Created::There(bytes.clone());
    let (new, first) = (Created::New, "first".into());
    assert_eq!(outcomes, [new.clone(), there(&first), new.clone(), new.clone(), new, there(&large)]);
    assert_eq!(store.get(&key("h")).await.expect("get"), Some("2".into()));
    assert_eq!(store.get(&key("large")).await.expect("get"), Some(large));
    assert_eq!(store.batch(Vec::new()).await.expect("batch"), []);
    let refused = store.batch(vec![Op::Overwrite { key: key("a"), bytes: "x".into() }]).await;
    assert!(matches!(refused, Err(ObjectsError::Immutable { .. })), "{refused:?}");
    assert_eq!(store.get(&key("a")).await.expect("get"), Some(first));
}

async fn a_deleted_object_is_absent_and_deleting_it_again_says_so(make: &impl Stores) {
    let store = make.open("delete");
    for size in [3, SMALL_BYTES + 1] {
        let name = key(&format!("d/{size}"));
        assert!(!store.delete(&name).await.expect("delete"));
        assert_eq!(store.create(&name, content(size, 0)).await.expect("create"), Created::New);
        assert!(store.delete(&name).await.expect("delete"));
        assert_eq!(store.get(&name).await.expect("get"), None);
        assert_eq!(store.local_path(&name).await.expect("local_path"), None);
        assert!(store.list("d/", None, 9).await.expect("list").is_empty());
        assert!(!store.delete(&name).await.expect("delete"));
    }
}

async fn a_range_is_what_the_object_has_of_it(make: &impl Stores) {
    let store = make.open("ranges");
    let bytes = content(3 * SMALL_BYTES, 5);
    let created = store.create_and_keep(&key("data/aa/object"), bytes.clone()).await.expect("it is created");
    assert_eq!(created, Created::New);
    let len = bytes.len();
    for freshness in [Freshness::CopyWillDo, Freshness::Fresh, Freshness::CopyWillDo] {
        for (offset, size) in
            [(0, len), (0, 1), (7, 1000), (len - 3, 3), (len - 3, 4), (0, len + 1), (len, 5), (len + 9, 5)]
        {
            let read =
                store.read_range(&key("data/aa/object"), offset as u64, size, freshness).await.expect("it is read");
            let wanted = bytes.slice(offset.min(len)..(offset + size).min(len).max(offset.min(len)));
            assert_eq!(read.expect("it is there").into_bytes(), wanted, "{size} bytes from {offset} on, {freshness:?}");
        }
        let absent = store.read_range(&key("data/aa/absent"), 0, 5, freshness).await.expect("it is asked for");
        assert!(absent.is_none());
    }
}

async fn every_allowed_character_works(make: &impl Stores) {
    let store = make.open("characters");
    let segment: String = ('!'..='~').filter(|c| c.is_ascii_alphanumeric() || "._=@+-".contains(*c)).collect();
    let longest = format!("{segment}/{}", "x".repeat(ObjectKey::MAX_BYTES - segment.len() - 1));
    for (text, size) in [
        (segment.as_str(), 5),
        (longest.as_str(), 5),
        (&segment[1..], SMALL_BYTES + 1),
        (&longest[1..], SMALL_BYTES + 1),
    ] {
        assert_eq!(store.create(&key(text), content(size, 9)).await.expect("create"), Created::New);
        assert_eq!(store.get(&key(text)).await.expect("get"), Some(content(size, 9)));
    }
    assert_eq!(keys(&*store, "", None, 9).await.len(), 4);
}

fn source(sys: &Sys, path: &Path, bytes: &[u8]) {
    let mut file = sys.fs.create_new(path).expect("the scratch directory takes files");
    file.write_all(bytes).expect("the scratch directory takes files");
}

async fn files_are_taken_in_whole(sys: &Sys, scratch: &Path, make: &impl Stores) {
    let store = make.open("files");
    for size in [0, 10, SMALL_BYTES, SMALL_BYTES + 1, 3 << 20] {
        for (how, stays) in
            [(TakeIn::Copy, true), (TakeIn::Move { synced: false }, false), (TakeIn::Move { synced: true }, false)]
        {
            let name = key(&format!(
                "data/ab/{size}-{}",
                if how == TakeIn::Copy { "copy".into() } else { format!("{}", how == TakeIn::Move { synced: true }) }
            ));
            let path = scratch.join("source");
            source(sys, &path, &content(size, 5));
            sys.fs.sync_file(&path).expect("a file can be synced");
            let created = store.create_from_file(&name, &path, how).await.expect("create_from_file");
            assert_eq!(created, CreatedFile::New { size_bytes: size as u64 });
            assert_eq!(
                sys.fs.metadata(&path).expect("metadata").is_some(),
                stays,
                "a moved source is gone, a copied one stays"
            );
            assert!(store.get(&name).await.expect("get").expect("it is there") == content(size, 5));
            if let Some(local) = store.local_path(&name).await.expect("local_path") {
                assert!(sys.fs.read(&local).expect("a local path can be read") == content(size, 5));
            }
            if stays {
                sys.fs.remove_file(&path).expect("the source can be removed");
            }
        }
    }
    // Written through its second name, a moved file must not change the object.
    let (path, other) = (scratch.join("linked"), scratch.join("other-name"));
    source(sys, &path, &content(SMALL_BYTES + 1, 6));
    sys.fs.hard_link(&path, &other).expect("the scratch directory takes links");
    let created = store.create_from_file(&key("linked"), &path, TakeIn::Move { synced: false }).await.expect("create");
    assert_eq!(created, CreatedFile::New { size_bytes: SMALL_BYTES as u64 + 1 });
    sys.fs.append(&other).expect("the other name can be written").write_all(b"more").expect("it can be written");
    assert!(store.get(&key("linked")).await.expect("get").expect("it is there") == content(SMALL_BYTES + 1, 6));
    sys.fs.remove_file(&other).expect("the other name can be removed");
    let absent = store.create_from_file(&key("absent"), &scratch.join("absent"), TakeIn::Copy).await;
    assert!(matches!(absent, Err(ObjectsError::Io { .. })), "{absent:?}");
    assert_eq!(store.get(&key("absent")).await.expect("get"), None);
}

async fn a_file_does_not_replace_what_is_there(sys: &Sys, scratch: &Path, make: &impl Stores) {
    let store = make.open("files-there");
    for (there, size) in [(3, 3), (3, SMALL_BYTES + 1), (SMALL_BYTES + 1, 3), (SMALL_BYTES + 1, SMALL_BYTES + 2)] {
        for how in [TakeIn::Copy, TakeIn::Move { synced: false }] {
            let name = key(&format!("{there}-{size}-{}", how == TakeIn::Copy));
            assert_eq!(store.create(&name, content(there, 1)).await.expect("create"), Created::New);
            let path = scratch.join("loser");
            source(sys, &path, &content(size, 2));
            let created = store.create_from_file(&name, &path, how).await.expect("create_from_file");
            assert_eq!(created, CreatedFile::There { size_bytes: there as u64 });
            assert!(sys.fs.read(&path).expect("the source is left alone") == content(size, 2));
            sys.fs.remove_file(&path).expect("the source can be removed");
            assert!(store.get(&name).await.expect("get").expect("it is there") == content(there, 1));
        }
    }
}

async fn of_many_files_exactly_one_wins(sys: &Sys, scratch: &Path, make: &impl Stores) {
    let handles = [make.open("file-race"), make.open("file-race")];
    let slot = key("slot");
    let mut writers = JoinSet::new();
    for writer in 0..20_u8 {
        let path = scratch.join(format!("racer-{writer}"));
        source(sys, &path, &content(SMALL_BYTES + 1, writer));
        let (store, slot) = (handles[usize::from(writer % 2)].clone(), slot.clone());
        writers.spawn(async move {
            (writer, store.create_from_file(&slot, &path, TakeIn::Move { synced: false }).await.expect("create"))
        });
    }
    let outcomes = writers.join_all().await;
    let winners: Vec<u8> =
        outcomes.iter().filter(|(_, c)| matches!(c, CreatedFile::New { .. })).map(|(w, _)| *w).collect();
    assert_eq!(winners.len(), 1);
    assert!(handles[1].get(&slot).await.expect("get").expect("it is there") == content(SMALL_BYTES + 1, winners[0]));
    for writer in 0..20_u8 {
        let left = sys.fs.metadata(&scratch.join(format!("racer-{writer}"))).expect("metadata").is_some();
        assert_eq!(left, writer != winners[0], "a loser's source is left alone");
    }
}
