//! read_from: what others have computed is copied from their stores, which are only read.

use std::{
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use prunella_bucketkit::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use serde_json::Value;

use crate::home::{Answer, Home, SMALL};

/// A team with a project, and perhaps a store of others that it reads from.
struct Team {
    home: Home,
    variables: Vec<(&'static str, String)>,
}

impl Team {
    fn new(pipeline: &str, variables: Vec<(&'static str, String)>) -> Self {
        Self { home: Home::with(pipeline), variables }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.home.command(words);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, words: &[&str]) -> Answer {
        self.command(words).output().expect("the binary starts").into()
    }

    fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        self.run(&words).exits(0).json()
    }
}

/// A bucket in which another team has run the pipeline, and its address.
fn theirs(pipeline: &str) -> (S3Server, String) {
    let server = S3Server::start("bucket");
    let url = server.url("bucket", "their/store");
    let them = Team::new(pipeline, vec![("PRUNELLA_STORE", url.clone())]);
    them.run(&["run"]).exits(0);
    (server, url)
}

fn forbidden() -> Fault {
    Fault::Status { status: 403, code: "AccessDenied", retry_after: None }
}

#[test]
fn a_reader_of_a_bucket_copies_what_is_there_and_then_needs_it_no_more() {
    let (server, url) = theirs(SMALL);
    let keys = server.objects().keys("bucket");
    // The rights of a reader: whatever else is asked for is refused.
    server.faults().plan(|asked| (!matches!(asked.method.as_str(), "GET" | "HEAD")).then(forbidden));
    let us = Team::new(SMALL, vec![("PRUNELLA_READ_FROM", url)]);
    let planned = us.run(&["plan"]).exits(0).out;
    assert!(planned.contains("2 reused") && planned.contains("copied from s3://bucket/their/store"), "{planned}");
    let ran = us.run(&["run"]).exits(0).out;
    assert!(ran.contains("of 2 steps from s3://bucket/their/store") && ran.contains("everything reused"), "{ran}");
    assert!(!ran.contains("nothing is copied"), "{ran}");
    assert_eq!(server.objects().keys("bucket"), keys, "nothing was written there");
    us.run(&["get", "second.tree", "got"]).exits(0);
    assert_eq!(us.home.read("got/b"), "200006\n");
    let explained = us.run(&["explain", "second"]).exits(0).out;
    assert!(explained.contains("copied from s3://bucket/their/store"), "{explained}");
    let from = &us.json(&["explain", "second"])["commit"]["provenance"]["copied_from"];
    assert!(from["store"].as_str().is_some_and(|store| store.starts_with("s3://bucket/their/store")), "{from}");
    let status = us.run(&["status"]).exits(0).out;
    assert!(status.contains("copied from s3://bucket/their/store"), "{status}");
    // Their store is gone: everything is here.
    server.objects().remove_bucket("bucket");
    let alone = us.home.run(&["run", "--new"]).exits(0).out;
    assert!(alone.contains("reused 2 of 2 steps"), "{alone}");
    us.home.run(&["verify"]).exits(0);
    us.home.run(&["gc", "--keep-runs", "1", "--apply"]).exits(0);
    us.home.run(&["verify"]).exits(0);
}

#[test]
fn a_store_that_may_not_be_read_or_is_not_there_is_said_once_and_the_steps_run() {
    let (server, url) = theirs(SMALL);
    server.faults().plan(|_| Some(forbidden()));
    let us = Team::new(SMALL, Vec::new());
    us.home.write("prunella.toml", &format!("[defaults]\nread_from = [\"{url}\", \"../nothing\"]\n"));
    let ran = us.run(&["run"]).exits(0);
    assert_eq!(ran.err.matches("nothing is copied from s3://bucket/their/store").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("AccessDenied") && ran.err.contains("nothing is copied from ../nothing"), "{}", ran.err);
    assert!(!ran.out.contains("reused") && !ran.err.contains(SECRET_KEY), "{}", ran.out);
    // Opened, and refused later: it is asked once more, not for every step.
    let (server, url) = theirs(SMALL);
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    server.faults().plan(move |request| {
        let of_a_key = request.path.contains("attempts");
        counted.fetch_add(u64::from(of_a_key), Ordering::Relaxed);
        of_a_key.then(forbidden)
    });
    let us = Team::new(SMALL, Vec::new());
    let ran = us.run(&["run", "--read-from", &url]).exits(0);
    let said = format!("{}{}", ran.out, ran.err);
    assert_eq!(said.matches("nothing is copied from").count(), 1, "{said}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "{said}");
}

#[test]
fn many_steps_are_looked_up_together() {
    let steps: String =
        (0..40).map(|n| format!("  s{n}: {{ run: 'echo {n} >out', outputs: {{ out: out }} }}\n")).collect();
    let pipeline = format!("prunella: v1\nname: many\nsteps:\n{steps}");
    let (server, url) = theirs(&pipeline);
    let lists = Arc::new(AtomicU64::new(0));
    let counted = lists.clone();
    server.faults().plan(move |request| {
        counted.fetch_add(u64::from(request.path.contains("list-type")), Ordering::Relaxed);
        None
    });
    let us = Team::new(&pipeline, Vec::new());
    let ran = us.run(&["run", "--read-from", &url]).exits(0).out;
    assert!(ran.contains("of 40 steps from s3://bucket/their/store") && ran.contains("everything reused"), "{ran}");
    let lists = lists.load(Ordering::Relaxed);
    assert!(lists <= 8, "{lists} listings for 40 steps");
}

#[test]
fn a_store_in_a_directory_will_do_and_doctor_names_it() {
    let them = Home::with(SMALL);
    them.run(&["run"]).exits(0);
    let us = Home::with(SMALL);
    us.run(&["run", "first"]).exits(0);
    let store = them.dir.join(".prunella").display().to_string();
    // What the others made is another `first`: what is here comes first, and `second` is of the same bytes.
    let run = us.run(&["run", "--read-from", &store]).exits(0).out;
    assert!(run.contains("copied 1 of 2 steps from ") && run.contains(": second"), "{run}");
    let told = us.run(&["doctor", "--read-from", &store, "--output", "json"]).out;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let settings = told["settings"].as_array().expect("a list");
    let setting = settings.iter().find(|setting| setting["name"] == "read_from").expect("it is there");
    assert_eq!((setting["value"].as_str(), setting["from"].as_str()), (Some(store.as_str()), Some("flag")));
}

#[test]
fn ones_own_store_under_read_from_is_no_other() {
    let us = Home::with(SMALL);
    us.run(&["run"]).exits(0);
    let again = us.run(&["run", "--new", "--read-from", ".prunella"]).exits(0);
    assert!(again.out.contains("reused 2 of 2 steps: first, second"), "{}", again.out);
}

#[test]
fn whoever_is_killed_or_told_to_stop_while_copying_leaves_a_run_that_goes_on() {
    for (signal, code) in [("KILL", -1), ("INT", 75)] {
        let (server, url) = theirs(SMALL);
        let (tell, told) = mpsc::channel::<u32>();
        let told = Mutex::new(Some(told));
        // The first byte of a copy is the moment.
        server.faults().plan(move |asked| {
            let of_an_object = asked.method == "GET" && asked.path.contains("/data/");
            let told = told.lock().expect("nobody panics").take_if(|_| of_an_object)?;
            let pid = told.recv().expect("it was started").to_string();
            let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status();
            assert!(sent.expect("kill is everywhere").success());
            Some(Fault::Lost)
        });
        let us = Team::new(SMALL, vec![("PRUNELLA_READ_FROM", url)]);
        let mut command = us.command(&["run"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        tell.send(child.id()).expect("the server listens");
        let ended: Answer = child.wait_with_output().expect("it ends").into();
        assert_eq!(ended.code, code, "{signal}: {}{}", ended.out, ended.err);
        let before = us.json(&["status"])["run"].clone();
        let ran = us.run(&["run"]).exits(0).out;
        assert!(ran.contains("copied 2 of 2 steps") || ran.matches("copied 1 of 2 steps").count() == 2, "{ran}");
        assert_eq!(us.json(&["status"])["run"], before, "the same run goes on");
        us.run(&["verify"]).exits(0);
        us.run(&["get", "second.tree", "got"]).exits(0);
        assert_eq!(us.home.read("got/b"), "200006\n");
    }
}
