//! What needs which right: a producer deletes nothing, and a reader writes nothing (docs/rights.md).

use prunella_bucketkit::{Asked, Fault, S3Server};

use crate::buckets::Machine;
use crate::home::SMALL;

const REFUSED: Fault = Fault::Status { status: 403, code: "AccessDenied", retry_after: None };

/// Also many objects at once.
fn deletes(asked: &Asked) -> bool {
    asked.method == "DELETE" || (asked.method == "POST" && asked.path.contains("?delete"))
}

fn writes(asked: &Asked) -> bool {
    matches!(asked.method.as_str(), "PUT" | "POST" | "DELETE")
}

/// Changes a byte of the largest object.
fn damage(server: &S3Server) {
    let size = |key: &String| server.objects().get("bucket", key).map(|stored| stored.bytes.len());
    let data = server.objects().keys("bucket").into_iter().filter(|key| key.contains("/data/"));
    let largest = data.max_by_key(size).expect("there is an object");
    server.objects().damage("bucket", &largest, |bytes| bytes[100_000] ^= 1).expect("it is there");
}

#[test]
fn a_producer_without_the_right_to_delete_runs_heals_and_publishes_to_the_end() {
    let server = S3Server::start("bucket");
    server.faults().plan(|asked| deletes(asked).then_some(REFUSED));
    let machine = Machine::new(&server);
    let target = server.url("bucket", "out/page");
    let pipeline = |word: &str| {
        let small = SMALL.replace("echo words", &format!("echo {word}"));
        small.replace("outputs: { one: one } }", &format!("outputs: {{ one: one }}, publish: {{ one: '{target}' }} }}"))
    };
    machine.home.write("pipeline.yaml", &pipeline("words"));
    let ran = machine.run(&["run"]).exits(0);
    assert!(!ran.err.contains("AccessDenied") && !ran.out.contains("refuses"), "{}{}", ran.out, ran.err);
    machine.home.write("pipeline.yaml", &pipeline("other"));
    machine.run(&["run"]).exits(0);
    damage(&server);
    assert_ne!(machine.run(&["verify"]).code, 0);
    // Of the objects of the same size, of either run, one was damaged.
    for run in machine.json(&["runs"])["runs"].as_array().expect("a list") {
        machine.run(&["heal", run["run"].as_str().expect("an id")]).exits(0);
    }
    machine.run(&["verify"]).exits(0);
    assert_eq!(machine.json(&["status"])["status"], "succeeded");
    machine.run(&["get", "second.tree", "got"]).exits(0);
    // What would delete says that it may not, and deletes nothing.
    let before = server.objects().keys("bucket").into_iter().filter(|key| key.contains("/data/")).count();
    let refused = machine.run(&["gc", "--keep-runs", "1", "--apply"]).exits(78).err;
    assert!(refused.contains("refuses access"), "{refused}");
    let after = server.objects().keys("bucket").into_iter().filter(|key| key.contains("/data/")).count();
    assert_eq!(after, before);
    machine.run(&["verify"]).exits(0);
    // Whoever may goes on with it.
    server.faults().none();
    machine.run(&["gc", "--keep-runs", "1", "--apply"]).exits(0);
    machine.run(&["verify"]).exits(0);
}

#[test]
fn a_reader_without_the_right_to_write_sees_gets_and_verifies_all_of_it() {
    let server = S3Server::start("bucket");
    let producer = Machine::new(&server);
    producer.home.write("pipeline.yaml", SMALL);
    producer.run(&["run"]).exits(0);
    let there = server.objects().keys("bucket");
    server.faults().plan(|asked| writes(asked).then_some(REFUSED));
    // A machine that has never been there.
    let reader = Machine::new(&server);
    reader.home.write("pipeline.yaml", SMALL);
    assert_eq!(reader.json(&["status"])["status"], "succeeded");
    for words in [
        &["runs"][..],
        &["logs", "first"],
        &["explain", "first"],
        &["get", "second.tree", "got"],
        &["plan"],
        &["gc"],
        &["index", "rebuild"],
        &["verify"],
    ] {
        let answer = reader.run(words);
        assert_eq!(answer.code, 0, "{words:?}: {}{}", answer.out, answer.err);
    }
    assert_eq!(reader.home.read("got/b"), "200006\n");
    assert_eq!(server.objects().keys("bucket"), there, "nothing was written");
    // What is damaged is told, though it cannot be marked.
    damage(&server);
    let found = reader.run(&["verify"]);
    assert!(![0, 78].contains(&found.code), "{}: {}{}", found.code, found.out, found.err);
    assert!(found.out.contains("first") || found.out.contains("second"), "{}{}", found.out, found.err);
    // What writes says that it may not.
    let refused = reader.run(&["run", "--new"]).exits(78).err;
    assert!(refused.contains("refuses access"), "{refused}");
    assert_eq!(server.objects().keys("bucket"), there);
}
