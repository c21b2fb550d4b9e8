//! Output: all of it, in order, with bounded memory.

use prunella_attempt::decode_log;
use prunella_journal::RunStatus;
use prunella_model::Digest;
use prunella_process::Stream;
use prunella_store::Layout;

use crate::scene::*;

crate::tests![a_hundred_megabytes_of_output_are_stored_without_loss, lines_of_any_length_and_any_bytes_come_back];

/// What a stream of an attempt wrote, put together again from the store; a line's end is added where it was one.
async fn written(engine: &Engine, wanted: Stream) -> Vec<u8> {
    let slot = first_slot(&engine.eye);
    let start = engine.host.store.start_of(&slot).await.unwrap().unwrap();
    let prefix = Layout::logs(&start.run, &start.step, slot.epoch);
    let mut bytes = Vec::new();
    for (_, piece) in engine.host.store.objects().read_prefix(&prefix, usize::MAX).await.unwrap() {
        for line in decode_log(&piece) {
            if line.stream == wanted {
                bytes.extend_from_slice(&line.bytes);
                if !line.goes_on {
                    bytes.push(b'\n');
                }
            }
        }
    }
    bytes
}

async fn a_hundred_megabytes_of_output_are_stored_without_loss() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let line = "0123456789 the quick brown fox jumps over the lazy dog";
    let graph = scene.graph(&format!(
        "talk: {{ run: 'yes \"{line}\" | head -c 100000000; echo x > out.txt', outputs: {{ out: out.txt }} }}"
    ));
    assert_eq!(engine.complete("r", &graph).await.status, RunStatus::Succeeded);
    let found = written(&engine, Stream::Stdout).await;
    assert_eq!(found.len(), 100_000_000);
    let mut expected = format!("{line}\n").repeat(100_000_000 / (line.len() + 1) + 1).into_bytes();
    expected.truncate(100_000_000);
    assert!(Digest::of(&found) == Digest::of(&expected), "the bytes are others");
}

async fn lines_of_any_length_and_any_bytes_come_back() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let bytes: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(scene.outside("bytes"), &bytes).unwrap();
    let graph = scene.graph(
        "talk:
  run: cat $OUT/bytes; head -c 300000 /dev/zero >&2; echo x > out.txt
  outputs: { out: out.txt }
",
    );
    assert_eq!(engine.complete("r", &graph).await.status, RunStatus::Succeeded);
    assert!(written(&engine, Stream::Stdout).await == bytes);
    assert_eq!(written(&engine, Stream::Stderr).await, vec![0; 300_000]);
}
