//! A store in a bucket: runs that any machine goes on with, and what is refused.

use std::process::{Child, Stdio};

use prunella_bucketkit::{ACCESS_KEY, Conditions, Fault, S3Server, SECRET_KEY};
use serde_json::Value;

use crate::home::{Answer, Home, SMALL, hear};

/// A machine of its own: nothing is shared with another but the bucket.
pub struct Machine<'a> {
    pub home: Home,
    server: &'a S3Server,
}

impl<'a> Machine<'a> {
    pub fn new(server: &'a S3Server) -> Self {
        Self { home: Home::new(), server }
    }

    pub fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.home.command(words);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("PRUNELLA_STORE", self.server.url("bucket", "team/store"));
        command
    }

    pub fn run(&self, words: &[&str]) -> Answer {
        self.command(words).output().expect("the binary starts").into()
    }

    fn start(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    pub fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        self.run(&words).exits(0).json()
    }
}

fn small(machine: &Machine<'_>) {
    machine.home.write("pipeline.yaml", SMALL);
}

#[test]
fn a_run_that_was_killed_goes_on_on_another_machine_from_the_bucket_alone() {
    let server = S3Server::start("bucket");
    let one = Machine::new(&server);
    let begun = one.home.pipe("begun");
    // It writes a checkpoint, says so, and never ends by itself; restored, it ends at once.
    one.home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1
name: patient
steps:
  first: {{ run: 'echo 1 >one', outputs: {{ one: one }} }}
  wait:
    run: |
      if [ $PRUNELLA_RESTORED = 1 ]; then cat $PRUNELLA_CHECKPOINT_DIR/p >out; exit; fi
      echo saved >$PRUNELLA_CHECKPOINT_DIR/.p; mv $PRUNELLA_CHECKPOINT_DIR/.p $PRUNELLA_CHECKPOINT_DIR/p
      echo begun >{}
      sleep 1000
    inputs: {{ one: first.one }}
    outputs: {{ out: out }}
    checkpoint: {{ format: files }}
",
            begun.display()
        ),
    );
    let mut engine = one.start(&["run"]);
    assert_eq!(hear(&begun), "begun\n");
    // The snapshot is taken and stored beside the program; durable is what is in the bucket.
    let begun = std::time::Instant::now();
    while !server.objects().keys("bucket").iter().any(|key| key.contains("/checkpoints/")) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "no checkpoint became durable");
        std::thread::yield_now();
    }
    engine.kill().expect("it runs");
    let _killed = engine.wait();
    let run = one.json(&["runs"])["runs"][0]["run"].as_str().expect("there is one").to_owned();
    let other = Machine::new(&server);
    let resumed = other.run(&["resume", &run]).exits(0);
    assert!(resumed.out.contains("back at checkpoint"), "{}", resumed.out);
    other.run(&["get", "wait.out", "got"]).exits(0);
    assert_eq!(other.home.read("got"), "saved\n");
    other.run(&["verify"]).exits(0);
    let status = one.json(&["status"]);
    assert_eq!(status["status"], "succeeded", "the first machine sees it, too");
    assert!(!one.home.dir.join(".prunella/store.db").exists(), "no store is made beside the pipeline");
}

#[test]
fn what_one_machine_made_another_reuses() {
    let server = S3Server::start("bucket");
    let (one, other) = (Machine::new(&server), Machine::new(&server));
    small(&one);
    small(&other);
    one.run(&["run"]).exits(0);
    let reused = other.run(&["run"]).exits(0);
    assert!(reused.out.contains("reused 2 of 2 steps"), "{}", reused.out);
    other.run(&["get", "second.tree", "got"]).exits(0);
    assert_eq!(other.home.read("got/b"), "200006\n");
}

#[test]
fn an_index_spares_a_machine_the_reading_of_what_others_made() {
    let server = S3Server::start("bucket");
    let (one, other) = (Machine::new(&server), Machine::new(&server));
    let steps: String =
        (0..12).map(|n| format!("  s{n}: {{ run: 'echo {n} >out', outputs: {{ out: out }} }}\n")).collect();
    let pipeline = format!("prunella: v1\nname: many\nsteps:\n{steps}");
    one.home.write("pipeline.yaml", &pipeline);
    other.home.write("pipeline.yaml", &pipeline);
    one.run(&["run"]).exits(0);
    let rebuilt = other.json(&["index", "rebuild"]);
    assert_eq!(rebuilt["attempts"], 12);
    // From now on the end of an attempt is read from nowhere: its name in the bucket is enough.
    server.faults().plan(|asked| {
        let of_an_end = asked.method == "GET" && asked.path.contains(".end.json") && !asked.path.contains("list-type");
        of_an_end.then_some(Fault::Status { status: 403, code: "AccessDenied", retry_after: None })
    });
    let reused = other.run(&["run"]).exits(0);
    assert!(reused.out.contains("reused 12 of 12 steps"), "{}", reused.out);
    // What was committed is told by the bucket, not by the index.
    server.faults().none();
    for key in server.objects().keys("bucket").iter().filter(|key| key.contains("/attempts/")) {
        assert!(server.objects().lose("bucket", key));
    }
    let made = other.run(&["run", "--new"]).exits(0);
    assert!(!made.out.contains("reused"), "{}", made.out);
    let dir = Home::new();
    let refused = dir.run(&["index", "rebuild"]).exits(2);
    assert!(refused.err.contains("needs no index"), "{}", refused.err);
}

#[test]
fn i11_quiet_no_credential_is_in_the_bucket_on_the_disk_or_on_the_screen() {
    let server = S3Server::start("bucket");
    let machine = Machine::new(&server);
    small(&machine);
    let mut said = String::new();
    for words in
        [&["run", "--verbose"][..], &["status"], &["explain", "first"], &["runs"], &["doctor"], &["store", "check"]]
    {
        let answer = machine.run(words);
        said.push_str(&answer.out);
        said.push_str(&answer.err);
    }
    server.faults().plan(|_| Some(Fault::Status { status: 403, code: "AccessDenied", retry_after: None }));
    let refused = machine.run(&["runs"]).exits(78);
    said.push_str(&refused.err);
    server.faults().none();
    let mut wrong = machine.command(&["runs"]);
    wrong.env("PRUNELLA_STORE", format!("s3://{ACCESS_KEY}:{SECRET_KEY}@bucket/x?secret_key={SECRET_KEY}"));
    let wrong: Answer = wrong.output().expect("the binary starts").into();
    said.push_str(&wrong.exits(2).err);
    assert!(!said.contains(SECRET_KEY), "{said}");
    for key in server.objects().keys("bucket") {
        let bytes = server.objects().get("bucket", &key).expect("listed").bytes;
        assert!(!contains(&bytes, SECRET_KEY.as_bytes()), "{key}");
    }
    let mut left = vec![machine.home.dir.clone(), machine.home.beside("cache"), machine.home.beside("home")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("ours").map(|entry| entry.expect("readable").path()));
        } else if let Ok(bytes) = std::fs::read(&path) {
            assert!(!contains(&bytes, SECRET_KEY.as_bytes()), "{}", path.display());
        }
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[test]
fn what_rots_in_a_bucket_is_noticed_named_and_made_anew() {
    let server = S3Server::start("bucket");
    let machine = Machine::new(&server);
    small(&machine);
    machine.run(&["run"]).exits(0);
    let data = |key: &String| key.contains("/data/");
    let large = server
        .objects()
        .keys("bucket")
        .into_iter()
        .filter(data)
        .max_by_key(|key| server.objects().get("bucket", key).map(|stored| stored.bytes.len()));
    let large = large.expect("there is an object");
    server.objects().damage("bucket", &large, |bytes| bytes[100_000] ^= 1).expect("it is there");
    let found = machine.run(&["verify"]);
    assert_ne!(found.code, 0, "{}", found.out);
    assert!(found.out.contains("first") || found.out.contains("second"), "{}", found.out);
    machine.run(&["heal"]).exits(0);
    machine.run(&["verify"]).exits(0);
    // Lost altogether.
    let again = server
        .objects()
        .keys("bucket")
        .into_iter()
        .filter(data)
        .max_by_key(|key| server.objects().get("bucket", key).map(|stored| (stored.bytes.len(), stored.version)));
    assert!(server.objects().lose("bucket", &again.expect("there is one")));
    assert_ne!(machine.run(&["verify"]).code, 0);
    machine.run(&["heal"]).exits(0);
    machine.run(&["verify"]).exits(0);
}

#[test]
fn a_run_gets_over_a_store_that_stumbles() {
    let server = S3Server::start("bucket");
    let machine = Machine::new(&server);
    small(&machine);
    server.faults().plan(|asked| match asked.number % 7 {
        1 => Some(Fault::Status { status: 503, code: "SlowDown", retry_after: None }),
        3 => Some(Fault::LostReply),
        5 => Some(Fault::Lost),
        _ => None,
    });
    let ran = machine.run(&["run"]).exits(0);
    assert!(ran.out.contains("0 corrupt"), "{}", ran.out);
    server.faults().none();
    machine.run(&["verify"]).exits(0);
    assert_eq!(machine.json(&["status"])["status"], "succeeded");
}

#[test]
fn a_bucket_that_would_break_the_protocol_is_refused_before_anything_is_written() {
    for (conditions, reason) in [
        (Conditions::Ignored, "it ignores the condition of a create (`If-None-Match: *`)"),
        (Conditions::Racing, "it checks the condition of a create beside the write: of 50 at once"),
        (Conditions::Radosgw, "it ignores the condition of an upload in parts: a second one replaced the first"),
    ] {
        let server = S3Server::with_conditions("bucket", conditions);
        let machine = Machine::new(&server);
        small(&machine);
        let refused = machine.run(&["run"]).exits(78).err;
        assert!(refused.contains(reason), "{refused}");
        assert_eq!(server.objects().keys("bucket"), Vec::<String>::new());
        let checked = machine.run(&["store", "check"]).exits(78).out;
        assert!(checked.contains(reason) && checked.contains("no store can be here"), "{checked}");
        assert_eq!(machine.run(&["store", "check", "--output", "json"]).exits(78).json()["fit"], false);
    }
    let good = S3Server::start("bucket");
    let machine = Machine::new(&good);
    let checked = machine.run(&["store", "check"]).exits(0).out;
    assert!(checked.contains("a store is safe here"), "{checked}");
    assert_eq!(good.objects().keys("bucket"), Vec::<String>::new());
}

#[test]
fn mistakes_about_a_bucket_are_named_with_what_to_do() {
    let server = S3Server::start("bucket");
    let machine = Machine::new(&server);
    let asked = |store: &str, secret: &str| -> Answer {
        let mut command = machine.command(&["runs"]);
        command.env("PRUNELLA_STORE", store).env("AWS_SECRET_ACCESS_KEY", secret);
        command.output().expect("the binary starts").into()
    };
    let nobody = asked(&server.url("bucket", "nothing/here"), SECRET_KEY).exits(2).err;
    assert!(nobody.contains("holds no store") && nobody.contains("help:"), "{nobody}");
    let bucket = asked(&server.url("no-such-bucket", "x"), SECRET_KEY).exits(78).err;
    assert!(bucket.contains("there is no bucket") && bucket.contains("make the bucket first"), "{bucket}");
    let secret = asked(&server.url("bucket", "x"), "another").exits(78).err;
    assert!(secret.contains("refuses access") && secret.contains("credentials come from"), "{secret}");
    let address = asked("s3://bucket/a?regoin=x&style=odd", SECRET_KEY).exits(2).err;
    assert!(
        address.contains("`regoin` is not known") && address.contains("`style` is `path` or `virtual`"),
        "{address}"
    );
    machine.home.write("prunella.toml", "[defaults]\nstore = \"s3://bucket/a?regoin=x\"\n");
    let mut in_file = machine.command(&["runs"]);
    let in_file: Answer = in_file.env_remove("PRUNELLA_STORE").output().expect("the binary starts").into();
    let in_file = in_file.exits(2).err;
    assert!(in_file.contains("prunella.toml:2"), "{in_file}");
}

#[test]
fn i8_gc_on_a_bucket_spares_what_is_needed_and_takes_the_rest() {
    let server = S3Server::start("bucket");
    let machine = Machine::new(&server);
    small(&machine);
    machine.run(&["run"]).exits(0);
    machine.home.write("pipeline.yaml", &SMALL.replace("echo words", "echo other"));
    machine.run(&["run"]).exits(0);
    let data = || server.objects().keys("bucket").into_iter().filter(|key| key.contains("/data/")).count();
    let both = data();
    machine.run(&["gc", "--keep-runs", "1"]).exits(0);
    assert_eq!(data(), both, "without `--apply` nothing goes");
    machine.run(&["gc", "--keep-runs", "1", "--apply"]).exits(0);
    assert_eq!(data() * 2, both, "what only the older run needs is gone");
    machine.run(&["verify"]).exits(0);
    machine.run(&["get", "second.tree", "got"]).exits(0);
}
