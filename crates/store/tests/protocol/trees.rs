//! Trees of many files: what they may hold, how they lie in the store, and that every file comes back as it was.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use prunella_model::{Artifact, ArtifactKind, Digest, TreeNode};
use prunella_objects::ObjectKey;
use prunella_store::records::{Place, StoredArtifact, TreeManifest};
use prunella_store::{Remembered, Store, StoreError, Taken, measure};
use prunella_sys::Sys;

use crate::bench::*;

/// Names that a careless program would trip over.
const ODD: [&str; 8] = ["with space", "-rf", "line\nbreak", "schön", "日本", "\"quoted\" 'too'", "*?[a]", "a.b,c;d&e"];

/// Puts small and large files, links, executables, empty ones and odd names below `tree`.
fn make(bench: &Bench) {
    for n in 0..300 {
        bench.file(&format!("tree/{}/file-{n}", ODD[n % 8]), &vec![n as u8; n * 37 % 5000]);
    }
    bench.file("tree/large", &vec![7; 700_000]);
    bench.file("tree/run.sh", b"#!/bin/sh\n");
    let tree = bench.scratch.path().join("tree");
    std::fs::set_permissions(tree.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(tree.join("nothing in it")).unwrap();
    symlink("../run.sh", tree.join("schön/link")).unwrap();
    symlink("not there", tree.join("-l")).unwrap();
}

async fn taken(bench: &Bench, store: &Store) -> Taken {
    let slot = claim(store, &request(bench.owner(1), "a")).await;
    let taken = store.take_output(&slot, &bench.scratch.path().join("tree"), ArtifactKind::Tree).await.unwrap();
    store.put_small(taken.objects.clone()).await.unwrap();
    taken
}

/// Says all that a tree is: paths, kinds, executable bits, bytes, links.
fn describe(root: &Path) -> Vec<String> {
    let (mut all, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(here) = left.pop() {
        for entry in std::fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            all.push(if meta.is_dir() {
                left.push(path);
                format!("{name}/")
            } else if meta.is_symlink() {
                format!("{name} -> {}", std::fs::read_link(&path).unwrap().display())
            } else {
                let digest = Digest::of(&std::fs::read(&path).unwrap());
                format!("{name} {:o} {digest}", meta.permissions().mode() & 0o111)
            });
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn every_file_comes_back_as_it_was_and_few_objects_hold_them() {
    for bench in Bench::each() {
        let store = bench.member();
        make(&bench);
        let before = describe(&bench.scratch.path().join("tree"));
        let taken = taken(&bench, &store).await;
        let manifest = store.manifest(&taken.stored).await.unwrap();
        assert_eq!(manifest.objects.len(), 2, "{}: a pack, and the large file by itself", bench.name);
        assert_eq!(store.verify(&taken.stored).await.unwrap(), taken.stored.artifact.size_bytes);
        let to = bench.scratch.path().join("laid");
        store.lay_out(&taken.stored, &to).await.unwrap();
        let after = describe(&to);
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            // What was taken over is executable as it was; the mode is ours.
            assert_eq!(before.replace(" 111 ", " 100 "), after.replace(" 111 ", " 100 "), "{}", bench.name);
        }
    }
}

/// What `bench/entries.py` does with a million.
#[tokio::test]
async fn ten_thousand_entries_lie_in_a_few_objects_and_are_the_same_tree_again() {
    let bench = Bench::embedded();
    let store = bench.member();
    // What was written within the last two seconds is not remembered.
    let behind = Sys::real().clock.wall_ms() - bench.sys.clock.wall_ms();
    bench.clock.advance(Duration::from_millis(u64::try_from(behind).unwrap() + 3_600_000));
    for n in 0..10_000_u32 {
        bench.file(&format!("tree/{}/{n:05}", n / 1000), &n.to_le_bytes().repeat(64));
    }
    let taken = taken(&bench, &store).await;
    let manifest = store.manifest(&taken.stored).await.unwrap();
    assert_eq!((manifest.entries.len(), manifest.objects.len()), (10_010, 3), "4096 files an object");
    assert_eq!(store.verify(&taken.stored).await.unwrap(), 10_000 * 256);

    let (to, cache) = (bench.scratch.path().join("laid"), bench.scratch.path().join("cache"));
    store.lay_out(&taken.stored, &to).await.unwrap();
    for bytes in [10_000 * 256, 0] {
        let measured = measure(&bench.sys, &to, &cache, Remembered::Kept).unwrap();
        assert_eq!(measured.artifact, taken.stored.artifact, "it is the same tree");
        assert_eq!(measured.read_bytes, bytes, "and nothing is read twice");
    }
}

#[tokio::test]
async fn the_digest_of_a_tree_does_not_know_how_it_is_packed() {
    let bench = Bench::memory();
    let store = bench.member();
    make(&bench);
    let packed = taken(&bench, &store).await;
    let mut manifest = store.manifest(&packed.stored).await.unwrap();
    // The same tree as format 1 stored it: every file by itself.
    let (mut objects, files) = (Vec::new(), bench.scratch.path().join("laid"));
    store.lay_out(&packed.stored, &files).await.unwrap();
    for stored in &mut manifest.entries {
        if matches!(stored.entry.node, TreeNode::File { .. }) {
            let name = format!("data/aa/own-{}", objects.len());
            let bytes = std::fs::read(files.join(&stored.entry.path)).unwrap();
            let _new = bench.objects.create(&ObjectKey::new(&name).unwrap(), bytes.into()).await.unwrap();
            stored.place = Some(Place { object: objects.len() as u32, offset: 0 });
            objects.push(name);
        }
    }
    let old = TreeManifest { format: 1, objects, entries: manifest.entries, chunks: Default::default() };
    let stored = put(&bench, "data/aa/old", &serde_json::to_vec(&old).unwrap(), &packed.stored.artifact).await;
    store.verify(&stored).await.unwrap();
    let to = bench.scratch.path().join("laid again");
    store.lay_out(&stored, &to).await.unwrap();
    assert_eq!(describe(&to), describe(&files));
}

async fn put(bench: &Bench, name: &str, bytes: &[u8], artifact: &Artifact) -> StoredArtifact {
    let _new = bench.objects.create(&ObjectKey::new(name).unwrap(), bytes.to_vec().into()).await.unwrap();
    StoredArtifact { artifact: *artifact, object: name.to_owned(), executable: false, in_chunks: false }
}

#[tokio::test]
async fn a_manifest_of_a_newer_program_is_refused_and_no_damage() {
    let bench = Bench::memory();
    let store = bench.member();
    make(&bench);
    let artifact = taken(&bench, &store).await.stored.artifact;
    for (name, text) in [("a", r#"{"format":4,"entries":"elsewhere"}"#), ("b", r#"{"format":4,"entries":[]}"#)] {
        let stored = put(&bench, &format!("data/aa/{name}"), text.as_bytes(), &artifact).await;
        let read = store.manifest(&stored).await;
        assert!(matches!(&read, Err(StoreError::Record { problem, .. }) if problem.contains("update")), "{read:?}");
    }
    let stored = put(&bench, "data/aa/c", br#"{"format":2,"objects":[],"entries":[["f","a"]]}"#, &artifact).await;
    assert!(matches!(store.manifest(&stored).await, Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn i1_visible_one_wrong_byte_in_a_pack_is_damage_of_one_file() {
    let bench = Bench::embedded();
    let store = bench.member();
    make(&bench);
    let stored = taken(&bench, &store).await.stored;
    let manifest = store.manifest(&stored).await.unwrap();
    let (path, place) = manifest
        .files()
        .filter_map(|(path, size, _, place)| Some((path, place?)).filter(|_| size > 100 && path != "large"))
        .nth(99)
        .unwrap();
    let object = ObjectKey::new(manifest.object(place)).unwrap();
    let file = bench.objects.local_path(&object).await.unwrap().expect("a pack of this size is a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[place.offset as usize + 50] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    for promised in store.promised_objects(&stored).await.unwrap() {
        let wrong = store.verify_promised(&promised.object, &promised.files).await.unwrap();
        let wrong: Vec<&str> = wrong.iter().map(|(at, _)| &*promised.files[*at].path).collect();
        let wanted: &[&str] = if promised.object == object.as_str() { &[path] } else { &[] };
        assert_eq!(wrong, wanted);
    }
    let laid = store.lay_out(&stored, &bench.scratch.path().join("laid")).await.unwrap_err();
    let StoreError::Damaged { object: named, problem } = laid else { panic!("{laid}") };
    assert!(named == object.as_str() && problem.contains("its bytes are"), "{problem}");
}

#[tokio::test]
async fn all_that_no_tree_may_hold_is_told_at_once_before_a_byte_is_read() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::memory();
    let store = bench.member();
    let slot = claim(&store, &request(bench.owner(1), "a")).await;
    let tree = bench.scratch.path().join("tree");
    let refused = async |wanted: &[&str]| {
        let error = store.take_output(&slot, &tree, ArtifactKind::Tree).await.unwrap_err();
        let StoreError::Tree { refusals, .. } = &error else { panic!("{error}") };
        assert_eq!(refusals.problems.len(), wanted.len(), "{refusals}");
        for wanted in wanted {
            assert!(refusals.problems.iter().any(|problem| problem.contains(wanted)), "no `{wanted}` in {refusals}");
        }
        assert!(!error.to_string().contains('\n'), "it is one line: {error}");
    };
    bench.file("tree/fine", b"");
    std::fs::write(tree.join(std::ffi::OsStr::from_bytes(b"not\xfftext")), b"").unwrap();
    make_pipe(&tree.join("pipe\n"));
    let socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    refused(&["`not\\xfftext`: its name is not UTF-8", "`pipe\\n`: it is a socket", "`socket`: it is a socket"]).await;
    drop(socket);
    std::fs::remove_dir_all(&tree).unwrap();
    for name in ["Readme", "README", "caf\u{e9}", "cafe\u{301}", "x/y"] {
        bench.file(&format!("tree/{name}"), b"");
    }
    symlink("/etc/passwd", tree.join("absolute")).unwrap();
    symlink("../..", tree.join("x/out")).unwrap();
    symlink("..", tree.join("x/up")).unwrap();
    symlink("x/up/../up/..", tree.join("around")).unwrap();
    refused(&["`README` and `Readme`", "Unicode form", "`absolute` → `/etc/passwd`", "`x/out`", "`around`"]).await;
    // Up to a bound.
    for n in 0..50 {
        symlink("/", tree.join(format!("l{n}"))).unwrap();
    }
    let error = store.take_output(&slot, &tree, ArtifactKind::Tree).await.unwrap_err();
    assert!(matches!(&error, StoreError::Tree { refusals, .. } if refusals.problems.len() == 20 && refusals.more));
}

fn make_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn i1_visible_a_manifest_of_another_tree_is_damage_though_every_byte_of_it_is_right() {
    let bench = Bench::memory();
    let store = bench.member();
    let mut stored = Vec::new();
    for word in ["one", "two"] {
        bench.file(&format!("{word}/file"), word.as_bytes());
        let path = bench.scratch.path().join(word);
        let taken = store.take_brought(&run("r"), &path, ArtifactKind::Tree).await.unwrap();
        store.put_small(taken.objects).await.unwrap();
        stored.push(taken.stored);
    }
    let keys: Vec<_> = stored.iter().map(|one| ObjectKey::new(&one.object).unwrap()).collect();
    let other = bench.objects.get(&keys[1]).await.unwrap().unwrap();
    assert!(bench.objects.delete(&keys[0]).await.unwrap());
    assert_eq!(bench.objects.create(&keys[0], other).await.unwrap(), prunella_objects::Created::New);
    assert!(matches!(store.verify(&stored[0]).await, Err(StoreError::Damaged { .. })));
    store.verify(&stored[1]).await.unwrap();
}
