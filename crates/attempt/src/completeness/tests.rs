//! Tests of the formats: on what the frameworks wrote, in every state in which a kill can leave it.
#![allow(clippy::disallowed_methods, reason = "tests play the program that writes checkpoints, and run frameworks")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use proptest::prelude::*;
use prunella_model::{Checkpoint, Span};
use prunella_sys::Sys;

use super::*;
use crate::watcher::Watcher;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints")
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn look_at(format: &CheckpointFormat, path: &Path, ranks: Ranks) -> Look {
    look(format, &*Sys::real().fs, path, ranks)
}

/// Writes a file, later than everything before it.
fn write(path: &Path, bytes: impl AsRef<[u8]>, tick: &mut u64) {
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("writable");
    fs::write(path, bytes).expect("writable");
    *tick += 1;
    let when = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + *tick);
    fs::File::options().write(true).open(path).expect("it is there").set_modified(when).expect("settable");
}

/// Writes the files of a recorded folder in this order; each lies there empty, half, and whole, and only then the next.
fn every_state(format: &CheckpointFormat, recorded: &Path, order: &[&str], entry: &str) {
    let (scratch, mut tick) = (scratch(), 0);
    let folder = scratch.path().join(entry);
    for (n, name) in order.iter().enumerate() {
        let bytes = fs::read(recorded.join(name)).expect("it is recorded");
        for part in [0, bytes.len() / 2, bytes.len() - 2] {
            write(&folder.join(name), &bytes[..part], &mut tick);
            assert_eq!(look_at(format, &folder, Ranks::Unknown), Look::NotYet, "{part} bytes of {name}");
        }
        write(&folder.join(name), &bytes, &mut tick);
        let expected = if n + 1 == order.len() { Look::Complete(1) } else { Look::NotYet };
        assert_eq!(look_at(format, &folder, Ranks::Unknown), expected, "after {name}");
    }
    let recorded = fs::read_dir(recorded).expect("it is recorded").count();
    assert_eq!(recorded, order.len(), "every file has its place in the order");
}

const HF: CheckpointFormat = CheckpointFormat::HfTrainer;
const MODEL: [&str; 4] = ["model.safetensors", "training_args.bin", "optimizer.pt", "scheduler.pt"];

#[test]
fn every_state_before_the_last_file_of_the_trainer_is_incomplete_in_new_and_old_order() {
    let recorded = fixtures().join("hf-trainer/checkpoint-4");
    let with = |last: [&'static str; 2]| [&MODEL[..], &last].concat();
    every_state(&HF, &recorded, &with(["rng_state.pth", "trainer_state.json"]), "checkpoint-4");
    every_state(&HF, &recorded, &with(["trainer_state.json", "rng_state.pth"]), "checkpoint-4");
}

/// A folder of the Trainer with the RNG states of these ranks.
fn trained(folder: &Path, ranks: &[u32], tick: &mut u64) {
    let recorded =
        |name: &str| fs::read(fixtures().join("hf-trainer/checkpoint-4").join(name)).expect("it is recorded");
    for name in MODEL {
        write(&folder.join(name), recorded(name), tick);
    }
    write(&folder.join("trainer_state.json"), recorded("trainer_state.json"), tick);
    for rank in ranks {
        write(&folder.join(format!("rng_state_{rank}.pth")), recorded("rng_state.pth"), tick);
    }
}

#[test]
fn a_folder_of_several_processes_needs_the_rng_state_of_each() {
    let (scratch, mut tick) = (scratch(), 0);
    let folder = scratch.path().join("checkpoint-8");
    trained(&folder, &[0, 2], &mut tick);
    for ranks in [Ranks::Unknown, Ranks::Passed, Ranks::Known(2), Ranks::Known(3)] {
        assert_eq!(look_at(&HF, &folder, ranks), Look::NotYet, "rank 1 is missing, whatever is known: {ranks:?}");
    }
    trained(&folder, &[0, 1, 2], &mut tick);
    assert_eq!(look_at(&HF, &folder, Ranks::Unknown), Look::HowMany);
    assert_eq!(look_at(&HF, &folder, Ranks::Known(4)), Look::NotYet);
    assert_eq!(look_at(&HF, &folder, Ranks::Known(3)), Look::Complete(3));
    assert_eq!(look_at(&HF, &folder, Ranks::Passed), Look::Complete(3));
}

#[test]
fn a_model_in_several_files_is_complete_when_all_that_its_index_names_are_there() {
    let (scratch, mut tick) = (scratch(), 0);
    let folder = scratch.path().join("checkpoint-4");
    let index = r#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    write(&folder.join("model-00001-of-00002.safetensors"), "weights", &mut tick);
    write(&folder.join("model.safetensors.index.json"), index, &mut tick);
    trained(&folder, &[0], &mut tick);
    assert_eq!(look_at(&HF, &folder, Ranks::Known(1)), Look::NotYet);
    write(&folder.join("model-00002-of-00002.safetensors"), "weights", &mut tick);
    trained(&folder, &[0], &mut tick);
    assert_eq!(look_at(&HF, &folder, Ranks::Known(1)), Look::Complete(1));
    for index in [r#"{"weight_map": {"a": "../outside"}}"#, r#"{"weight_map": {"a": 1}}"#, "{}"] {
        write(&folder.join("model.safetensors.index.json"), index, &mut tick);
        assert_eq!(look_at(&HF, &folder, Ranks::Known(1)), Look::NotYet, "{index}");
    }
}

#[test]
fn a_folder_that_is_written_anew_is_incomplete_until_its_state_is_new_too() {
    let (scratch, mut tick) = (scratch(), 0);
    let folder = scratch.path().join("checkpoint-4");
    trained(&folder, &[0, 1], &mut tick);
    let known = Ranks::Known(2);
    assert_eq!(look_at(&HF, &folder, known), Look::Complete(2));
    for name in ["model.safetensors", "optimizer.pt"] {
        write(&folder.join(name), "new", &mut tick);
        assert_eq!(look_at(&HF, &folder, known), Look::NotYet, "{name} is newer than the state");
        trained(&folder, &[], &mut tick);
        assert_eq!(look_at(&HF, &folder, known), Look::Complete(2));
    }
}

#[test]
fn only_folders_that_the_trainer_has_named_at_last_are_checkpoints() {
    for (name, number) in [("checkpoint-500", Some(500)), ("tmp-checkpoint-500", None), ("checkpoint-", None)] {
        assert_eq!(hf_trainer::number(name), number, "{name}");
        assert_eq!(is_entry(&HF, name, FileKind::Dir), number.is_some(), "{name}");
    }
    assert!(!is_entry(&HF, "checkpoint-500", FileKind::File));
    assert!(!is_entry(&CheckpointFormat::Lightning, "version_0", FileKind::Dir));
}

#[test]
fn a_lightning_file_is_complete_with_its_last_byte() {
    let (scratch, mut tick) = (scratch(), 0);
    for name in ["epoch=0-step=2.ckpt", "epoch=3.ckpt"] {
        let bytes = fs::read(fixtures().join("lightning").join(name)).expect("it is recorded");
        let file = scratch.path().join(name);
        for part in (0..bytes.len()).step_by(13).chain([bytes.len() - 1]) {
            write(&file, &bytes[..part], &mut tick);
            let looked = look_at(&CheckpointFormat::Lightning, &file, Ranks::Unknown);
            assert_eq!(looked, Look::NotYet, "{part} bytes of {name}");
        }
        write(&file, &bytes, &mut tick);
        assert_eq!(look_at(&CheckpointFormat::Lightning, &file, Ranks::Unknown), Look::Complete(1), "{name}");
    }
}

const DCP: [&str; 4] = ["__0_0.distcp", "__0_1.distcp", "__0_2.distcp", ".metadata"];

#[test]
fn every_state_before_the_metadata_of_a_distributed_checkpoint_is_incomplete() {
    every_state(&CheckpointFormat::Dcp, &fixtures().join("dcp/step-3"), &DCP, "step-3");
}

#[test]
fn a_distributed_checkpoint_without_a_shard_or_with_a_newer_one_is_incomplete() {
    for spoil in [true, false] {
        let (scratch, mut tick) = (scratch(), 0);
        let folder = scratch.path().join("step-3");
        for name in DCP {
            write(&folder.join(name), fs::read(fixtures().join("dcp/step-3").join(name)).expect("there"), &mut tick);
        }
        assert_eq!(look_at(&CheckpointFormat::Dcp, &folder, Ranks::Unknown), Look::Complete(1));
        let shard = folder.join("__0_1.distcp");
        if spoil {
            write(&shard, "another save has begun", &mut tick);
        } else {
            fs::remove_file(&shard).expect("it was there");
        }
        assert_eq!(look_at(&CheckpointFormat::Dcp, &folder, Ranks::Unknown), Look::NotYet);
    }
}

#[test]
fn a_sharded_folder_of_lightning_needs_the_state_that_is_written_last() {
    let (scratch, mut tick) = (scratch(), 0);
    let folder = scratch.path().join("epoch=0.ckpt");
    let format = CheckpointFormat::Lightning;
    for name in DCP {
        write(&folder.join(name), fs::read(fixtures().join("dcp/step-3").join(name)).expect("there"), &mut tick);
        assert_eq!(look_at(&format, &folder, Ranks::Unknown), Look::NotYet, "after {name}");
    }
    let zip = fs::read(fixtures().join("lightning/epoch=3.ckpt")).expect("there");
    write(&folder.join("meta.pt"), &zip[..zip.len() / 2], &mut tick);
    assert_eq!(look_at(&format, &folder, Ranks::Unknown), Look::NotYet);
    write(&folder.join("meta.pt"), &zip, &mut tick);
    assert_eq!(look_at(&format, &folder, Ranks::Unknown), Look::Complete(1));
}

#[test]
fn a_folder_of_deepspeed_needs_the_share_of_every_process() {
    let (scratch, mut tick) = (scratch(), 0);
    let folder = scratch.path().join("epoch=0.ckpt");
    let format = CheckpointFormat::Lightning;
    let zip = fs::read(fixtures().join("lightning/epoch=3.ckpt")).expect("there");
    let share = |rank: u32| format!("checkpoint/bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt");
    write(&folder.join("checkpoint/mp_rank_00_model_states.pt"), &zip, &mut tick);
    write(&folder.join(share(0)), &zip, &mut tick);
    assert_eq!(look_at(&format, &folder, Ranks::Known(1)), Look::NotYet, "nothing says which folder it is");
    write(&folder.join("latest"), "checkpoint", &mut tick);
    assert_eq!(look_at(&format, &folder, Ranks::Unknown), Look::HowMany);
    assert_eq!(look_at(&format, &folder, Ranks::Known(2)), Look::NotYet);
    write(&folder.join(share(1)), &zip[..99], &mut tick);
    assert_eq!(look_at(&format, &folder, Ranks::Known(2)), Look::NotYet);
    write(&folder.join(share(1)), &zip, &mut tick);
    assert_eq!(look_at(&format, &folder, Ranks::Known(2)), Look::Complete(2));
    for tag in ["../outside", "", "elsewhere"] {
        write(&folder.join("latest"), tag, &mut tick);
        assert_eq!(look_at(&format, &folder, Ranks::Known(2)), Look::NotYet, "{tag}");
    }
}

fn strings(bytes: &[u8]) -> Option<std::collections::BTreeSet<String>> {
    pickle::strings(&mut io::BufReader::new(bytes), bytes.len() as u64, |_| true).expect("memory can be read")
}

#[test]
fn every_prefix_of_a_pickle_is_no_pickle() {
    let bytes = fs::read(fixtures().join("dcp/step-3/.metadata")).expect("it is recorded");
    for end in 0..bytes.len() {
        assert_eq!(strings(&bytes[..end]), None, "{end} bytes");
    }
    assert!(strings(&bytes).expect("a whole pickle").contains("__0_0.distcp"));
}

#[test]
fn a_pickle_is_walked_over_and_never_run() {
    // It would create a file if it were executed.
    let scratch = scratch();
    let victim = scratch.path().join("created");
    let mut bytes = b"\x80\x04cos\nsystem\n\x8c".to_vec();
    let command = format!("touch {}", victim.display());
    bytes.push(u8::try_from(command.len()).expect("short"));
    bytes.extend_from_slice(command.as_bytes());
    bytes.extend_from_slice(b"\x85R.");
    assert_eq!(strings(&bytes).expect("a whole pickle").into_iter().collect::<Vec<_>>(), [command]);
    assert!(!victim.exists());
    // A length that no file has.
    assert_eq!(strings(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), None);
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_for_the_walk(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _no_panic = strings(&bytes);
    }
}

fn checkpoint(format: &CheckpointFormat) -> Checkpoint {
    let (every, grace) = (Span::default(), Span::default());
    Checkpoint { format: format.clone(), every, auto: false, keep: 2, grace, sealed: false, ranks: None }
}

#[test]
fn several_processes_are_counted_once_a_newer_folder_is_begun() {
    let (scratch, sys, mut tick) = (scratch(), Sys::real(), 0);
    let mut watcher = Watcher::new(scratch.path(), &checkpoint(&HF), &*sys.fs);
    trained(&scratch.path().join("checkpoint-10"), &[0, 1], &mut tick);
    assert_eq!(watcher.newest(&*sys.fs), None, "rank 2 may still come");
    assert_eq!(watcher.puzzled().as_deref(), Some("checkpoint-10"));
    assert_eq!(watcher.puzzled(), None, "it is said once");
    trained(&scratch.path().join("checkpoint-20"), &[0], &mut tick);
    assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("checkpoint-10"));
    assert_eq!(watcher.newest(&*sys.fs), None, "rank 1 is missing in the newer one");
    trained(&scratch.path().join("checkpoint-20"), &[0, 1], &mut tick);
    assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("checkpoint-20"), "there are two, as before");
}

/// Runs a framework in the directory while it is watched, and returns what was found; nothing where it is not installed.
fn written(what: &str, format: &CheckpointFormat) -> Option<(tempfile::TempDir, String)> {
    let (scratch, sys) = (scratch(), Sys::real());
    let mut watcher = Watcher::new(scratch.path(), &checkpoint(format), &*sys.fs);
    let python = std::env::var("PRUNELLA_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg(fixtures().join("write.py")).arg(what).arg(scratch.path()).stdout(Stdio::null());
    let output = command.output();
    match &output {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() != Some(3) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        _ => {
            println!("skipped: {what} is not installed for python3 (or PRUNELLA_TEST_PYTHON)");
            return None;
        }
    }
    let found = watcher.newest(&*sys.fs);
    Some((scratch, found.expect("what the framework wrote is complete")))
}

#[test]
fn what_the_frameworks_write_today_is_complete_and_without_any_of_its_last_files_is_not() {
    for (what, format, last) in [
        ("hf-trainer", HF, &["trainer_state.json", "rng_state.pth"][..]),
        ("dcp", CheckpointFormat::Dcp, &[".metadata", "__0_0.distcp"]),
        ("lightning", CheckpointFormat::Lightning, &[]),
        ("torch", CheckpointFormat::Lightning, &[]),
    ] {
        let Some((scratch, entry)) = written(what, &format) else { continue };
        let path = scratch.path().join(entry);
        for name in last {
            let aside = scratch.path().join("aside");
            fs::rename(path.join(name), &aside).expect("the framework wrote it");
            assert_eq!(look_at(&format, &path, Ranks::Unknown), Look::NotYet, "{what} without {name}");
            fs::rename(&aside, path.join(name)).expect("back");
        }
        assert!(matches!(look_at(&format, &path, Ranks::Unknown), Look::Complete(_)), "{what}");
        if path.is_file() {
            let bytes = fs::read(&path).expect("readable");
            fs::write(&path, &bytes[..bytes.len() - 1]).expect("writable");
            assert_eq!(look_at(&format, &path, Ranks::Unknown), Look::NotYet, "{what} without its last byte");
        }
    }
}
