//! Data at addresses: by reference nothing of it is copied, and nothing is committed of what it was not; fetched it is like any other.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prunella_bucketkit::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use serde_json::Value;

use crate::home::{Answer, Home};

/// A project, and somebody else's bucket.
struct Site {
    home: Home,
    lake: Arc<S3Server>,
}

impl Site {
    /// One that reads `corpus/` of the lake with this access.
    fn new(access: &str, command: &str) -> Self {
        let site = Self { home: Home::new(), lake: Arc::new(S3Server::start("lake")) };
        site.put("corpus/a.tar", "aaa");
        site.put("corpus/deep/b.tar", "bb");
        site.home.write(
            "pipeline.yaml",
            &format!(
                "prunella: v1
name: referencing
data: {{ corpus: {{ uri: '{}', access: {access} }} }}
steps:
  count:
    run: {command}
    inputs: {{ corpus: data.corpus }}
    outputs: {{ out: out }}
",
                site.url()
            ),
        );
        site
    }

    fn reading() -> Self {
        Self::new("reference", "cp $PRUNELLA_INPUT_CORPUS out")
    }

    fn put(&self, name: &str, text: &str) {
        self.lake.objects().put("lake", name, text.to_owned()).expect("the bucket is there");
    }

    fn url(&self) -> String {
        self.lake.url("lake", "corpus").replacen("/corpus?", "/corpus/?", 1)
    }

    fn run(&self, words: &[&str]) -> Answer {
        let mut command = self.home.command(words);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.output().expect("the binary starts").into()
    }

    fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        self.run(&words).exits(0).json()
    }

    /// Lets somebody write just before a listing is answered: the one with this number from now on, from 0.
    fn overwrite_at_listing(&self, number: u64) {
        let (lists, lake) = (AtomicU64::new(0), Arc::downgrade(&self.lake));
        self.lake.faults().plan(move |asked| {
            if asked.path.contains("list-type") && lists.fetch_add(1, Ordering::Relaxed) == number {
                let lake = lake.upgrade().expect("it answers");
                lake.objects().put("lake", "corpus/a.tar", "overwritten");
            }
            None
        });
    }

    fn got(&self) -> String {
        let _none_yet = std::fs::remove_file(self.home.dir.join("got"));
        self.run(&["get", "count.out", "got"]).exits(0);
        self.home.read("got")
    }
}

fn forbidden() -> Fault {
    Fault::Status { status: 403, code: "AccessDenied", retry_after: None }
}

#[test]
fn data_by_reference_is_pinned_by_version_told_to_the_step_and_traced_and_none_of_it_is_copied() {
    let site = Site::reading();
    let unpinned = site.run(&["run"]).exits(78).err;
    assert!(unpinned.contains("(data.corpus) is not pinned"), "{unpinned}");
    let read = Arc::new(AtomicU64::new(0));
    let counted = read.clone();
    site.lake.faults().plan(move |asked| {
        counted.fetch_add(u64::from(asked.path.contains(".tar")), Ordering::Relaxed);
        None
    });
    let pinned = site.run(&["pin"]).exits(0).out;
    assert!(pinned.contains("2 objects, 5 B by reference"), "{pinned}");
    let lock: Value = serde_json::from_str(&site.home.read("prunella.lock")).expect("a lock file");
    let listing = &lock["data"]["corpus"]["listing"];
    assert_eq!(listing["objects"][1]["name"], "deep/b.tar", "{listing}");
    let planned = site.run(&["plan"]).exits(0).out;
    assert!(planned.contains("data.corpus: is read by reference at `s3://lake/corpus/"), "{planned}");
    site.run(&["run"]).exits(0);
    let told: Value = serde_json::from_str(&site.got()).expect("a listing");
    assert_eq!(&told, listing, "the step was told what is pinned");
    assert_eq!((&told["url"], &told["objects"][0]["size_bytes"]), (&"s3://lake/corpus/".into(), &3.into()));
    let shell = site.run(&["shell", "count", "--", "sh", "-c", "cat $PRUNELLA_INPUT_CORPUS"]).exits(0).out;
    assert_eq!(serde_json::from_str::<Value>(&shell).expect("a listing"), told);
    let run = site.json(&["status"])["run"].as_str().expect("an id").to_owned();
    site.run(&["exec", "--run", &run, "--step", "count"]).exits(0);
    assert_eq!(read.load(Ordering::Relaxed), 0, "no object was asked for");
    // I7: from the commit to what is pinned, by records alone.
    let digest = lock["data"]["corpus"]["digest"].as_str().expect("a digest");
    let ended = crate::lineage::walked(&site.home).data.into_iter().map(|(name, digest)| (name, digest.to_string()));
    assert_eq!(ended.collect::<Vec<_>>(), [("corpus".to_owned(), digest.to_owned())]);
    let explained = site.json(&["explain", "count"]);
    let input = &explained["inputs"][0];
    let said = site.run(&["explain", "count"]).exits(0).out;
    assert!(said.contains("by reference at `s3://lake/corpus/") && said.contains("(2 objects, 5 B)"), "{said}");
    assert!(!input.to_string().contains(SECRET_KEY), "{input}");
    assert_eq!(site.json(&["plan"])["summary"]["reused"], 1);
    site.run(&["run"]).exits(0);
}

#[test]
fn what_changed_since_the_pin_is_refused_object_by_object_until_it_is_pinned() {
    let site = Site::reading();
    site.run(&["pin"]).exits(0);
    site.run(&["run"]).exits(0);
    let before = site.got();
    site.put("corpus/a.tar", "aaa");
    site.put("corpus/new.tar", "n");
    assert!(site.lake.objects().lose("lake", "corpus/deep/b.tar"));
    let refused = site.run(&["run"]).exits(78).err;
    assert!(refused.contains("`a.tar` changed, `new.tar` added, `deep/b.tar` removed"), "{refused}");
    assert!(refused.contains("prunella pin"), "{refused}");
    let planned = site.run(&["plan"]).exits(0).out;
    assert!(planned.contains("data.corpus is not as prunella.lock says"), "{planned}");
    site.run(&["pin", "--check"]).exits(78);
    let verified = site.run(&["verify"]).exits(0).err;
    assert!(verified.contains("data.corpus is at") && verified.contains("it has changed since"), "{verified}");
    assert_eq!(site.json(&["verify"])["referenced"][0]["state"], "changed");
    let pinned = site.run(&["pin"]).exits(0).out;
    assert!(pinned.contains("`new.tar` added"), "{pinned}");
    site.run(&["run"]).exits(0);
    assert_ne!(site.got(), before, "it ran again");
    // Taken on trust, it is written down.
    site.put("corpus/a.tar", "again");
    site.run(&["run", "--allow-unpinned"]).exits(0);
    let said = site.run(&["explain", "count"]).exits(0).out;
    assert!(said.contains("data.corpus was not pinned"), "{said}");
}

#[test]
fn what_is_overwritten_before_the_step_runs_stops_it_before_its_program() {
    let site = Site::new("reference", "'touch ../../../../began && cp $PRUNELLA_INPUT_CORPUS out'");
    site.run(&["pin"]).exits(0);
    site.overwrite_at_listing(1);
    let failed = site.run(&["run"]);
    assert_eq!(failed.code, 1, "{}{}", failed.out, failed.err);
    let said = format!("{}{}", failed.out, failed.err);
    assert!(said.contains("has changed since the run began: `a.tar` changed"), "{said}");
    assert!(!site.home.dir.join("began").exists());
    site.lake.faults().none();
    site.run(&["pin"]).exits(0);
    site.run(&["run"]).exits(0);
    assert!(site.home.dir.join("began").exists(), "or this test would notice nothing");
}

#[test]
fn what_is_overwritten_while_the_step_runs_is_not_committed() {
    let site = Site::reading();
    site.run(&["pin"]).exits(0);
    // The run lists it, and so does the attempt before its program; then somebody writes.
    site.overwrite_at_listing(2);
    let failed = site.run(&["run"]);
    assert_eq!(failed.code, 1, "{}{}", failed.out, failed.err);
    let said = format!("{}{}", failed.out, failed.err);
    assert!(said.contains("was changed while the step ran: `a.tar` changed"), "{said}");
    let status = site.json(&["status"]);
    assert_ne!(status["status"], "succeeded", "{status}");
    let explained = site.json(&["explain", "count"]);
    assert!(explained.to_string().contains("contract"), "{explained}");
    site.lake.faults().none();
    // The run is of the old objects, and goes on only with them.
    let again = site.run(&["resume"]);
    assert!(again.code != 0, "{}", again.out);
    site.run(&["pin"]).exits(0);
    site.run(&["run"]).exits(0);
}

#[test]
fn without_the_right_to_list_or_without_the_bucket_it_is_said_at_once_and_nothing_is_tried_again() {
    let site = Site::reading();
    site.lake.faults().plan(|_| Some(forbidden()));
    let refused = site.run(&["pin"]).exits(78).err;
    assert!(refused.contains("AccessDenied"), "{refused}");
    assert!(!site.home.dir.join("prunella.lock").exists());
    site.lake.faults().none();
    site.run(&["pin"]).exits(0);
    // Only the attempt is refused: the run has listed it.
    let lists = Arc::new(AtomicU64::new(0));
    site.lake.faults().plan(move |asked| {
        (asked.path.contains("list-type") && lists.fetch_add(1, Ordering::Relaxed) > 0).then(forbidden)
    });
    let failed = site.run(&["run"]);
    assert_eq!(failed.code, 1, "{}{}", failed.out, failed.err);
    let said = format!("{}{}", failed.out, failed.err);
    assert!(said.contains("`data.corpus`, by reference at") && said.contains("cannot be listed"), "{said}");
    assert!(!said.contains(SECRET_KEY));
    site.lake.faults().none();
    site.run(&["retry"]).exits(0);
    site.lake.objects().remove_bucket("lake");
    let said = site.run(&["run"]).exits(78).err;
    assert!(said.contains("lake"), "{said}");
    assert_eq!(site.json(&["verify"])["referenced"][0]["state"], "unknown");
}

#[test]
fn a_lost_result_is_made_anew_only_from_what_it_was_made_of() {
    let site = Site::reading();
    site.run(&["pin"]).exits(0);
    site.run(&["run"]).exits(0);
    let run = site.json(&["status"])["run"].as_str().expect("an id").to_owned();
    assert_eq!(crate::mounting::mark_lost(&site.home), "count");
    site.put("corpus/a.tar", "other");
    let refused = site.run(&["heal", &run]).exits(78).err;
    assert!(refused.contains("`count` needs `data.corpus`") && refused.contains("has changed"), "{refused}");
}

#[test]
fn fetched_data_is_content_like_any_other_and_fetched_once() {
    let site = Site::new("fetch", "'(cd \"$PRUNELLA_INPUT_CORPUS\" && cat a.tar deep/b.tar) > out'");
    let reads = Arc::new(AtomicU64::new(0));
    let counted = reads.clone();
    site.lake.faults().plan(move |asked| {
        counted.fetch_add(u64::from(asked.method == "GET" && asked.path.contains(".tar")), Ordering::Relaxed);
        None
    });
    site.run(&["pin"]).exits(0);
    assert_eq!(reads.load(Ordering::Relaxed), 2);
    site.run(&["run"]).exits(0);
    site.run(&["run", "--new"]).exits(0);
    assert_eq!(site.got(), "aaabb");
    assert_eq!(reads.load(Ordering::Relaxed), 2, "it is here already");
    // The same bytes, written anew, are the same data.
    site.put("corpus/a.tar", "aaa");
    assert_eq!(site.json(&["plan"])["summary"]["reused"], 1);
    assert_eq!(reads.load(Ordering::Relaxed), 4);
    // And so are they beside the pipeline file.
    let file = site.home.read("pipeline.yaml");
    site.home.write("corpus/a.tar", "aaa");
    site.home.write("corpus/deep/b.tar", "bb");
    let here = file.replace(&format!("uri: '{}', access: fetch", site.url()), "path: corpus/");
    site.home.write("pipeline.yaml", &here);
    assert_eq!(site.json(&["plan"])["summary"]["reused"], 1);
    site.home.write("pipeline.yaml", &file);
    site.put("corpus/a.tar", "AAA");
    let refused = site.run(&["run"]).exits(78).err;
    assert!(refused.contains("(data.corpus) has changed: it is"), "{refused}");
    site.run(&["pin"]).exits(0);
    site.run(&["run"]).exits(0);
    assert_eq!(site.got(), "AAAbb");
    let fetched = site.home.beside("cache/prunella/fetched");
    let addresses: Vec<_> = std::fs::read_dir(&fetched).expect("there").collect();
    assert_eq!(addresses.len(), 1);
    let states = std::fs::read_dir(addresses[0].as_ref().expect("readable").path()).expect("there").count();
    assert_eq!(states, 2, "the newest, and the one before");
}

#[test]
fn an_address_at_which_nothing_lies_is_refused_by_name() {
    let site = Site::reading();
    let file = site.home.read("pipeline.yaml");
    site.home.write("pipeline.yaml", &file.replace("/corpus/?", "/corpus?"));
    let refused = site.run(&["pin"]).exits(78).err;
    assert!(refused.contains("data.corpus: nothing lies at") && refused.contains("end it with `/`"), "{refused}");
    site.home.write("pipeline.yaml", &file.replace("/corpus/?", "/corpus/a.tar?"));
    site.run(&["pin"]).exits(0);
    site.run(&["run"]).exits(0);
    let told: Value = serde_json::from_str(&site.got()).expect("a listing");
    assert_eq!((told["url"].as_str(), told["objects"][0]["name"].as_str()), (Some("s3://lake/corpus/a.tar"), Some("")));
}

#[test]
fn a_folder_of_this_machine_has_an_address_too() {
    let home = Home::new();
    let data = home.beside("data");
    std::fs::create_dir_all(&data).expect("ours");
    std::fs::write(data.join("words"), "one\n").expect("ours");
    for access in ["fetch", "mount"] {
        home.write(
            "pipeline.yaml",
            &format!(
                "prunella: v1
name: folder
data: {{ words: {{ uri: 'dir://{}', access: {access} }} }}
steps:
  copy: {{ run: 'cat $PRUNELLA_INPUT_WORDS/words >out', inputs: {{ words: data.words }}, outputs: {{ out: out }} }}
",
                data.display()
            ),
        );
        home.run(&["pin"]).exits(0);
        home.run(&["run"]).exits(0);
    }
    home.run(&["get", "copy.out", "got"]).exits(0);
    assert_eq!(home.read("got"), "one\n");
}
