//! publish: outputs in buckets where others read them.

use prunella_bucketkit::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use serde_json::Value;

use crate::home::{Answer, Home};

/// A project whose store is a directory, and a bucket where it publishes.
struct Site {
    home: Home,
    server: S3Server,
}

impl Site {
    fn new() -> Self {
        let site = Self { home: Home::new(), server: S3Server::start("site") };
        let place = |path: &str| site.server.url("site", path);
        site.home.write(
            "pipeline.yaml",
            &format!(
                "prunella: v1
name: pages
params: {{ n: 1 }}
steps:
  report:
    run: |
      mkdir -p model/deep mirror
      echo ${{{{ params.n }}}} | tee page.html model/deep/w >mirror/index.html
      echo x >mirror/of-${{{{ params.n }}}}
    outputs: {{ page: page.html, model: model/, mirror: mirror/ }}
    publish:
      page: '{}'
      model: '{}'
      mirror: {{ path: '{}', mode: mirror }}
",
                place("latest.html"),
                place("model"),
                place("pages")
            ),
        );
        site
    }

    fn run(&self, words: &[&str]) -> Answer {
        let mut command = self.home.command(words);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.output().expect("the binary starts").into()
    }

    fn text(&self, name: &str) -> String {
        let stored = self.server.objects().get("site", name).unwrap_or_else(|| panic!("`{name}` is not there"));
        String::from_utf8(stored.bytes.to_vec()).expect("it is text")
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        self.server.objects().keys("site").into_iter().filter(|name| name.starts_with(prefix)).collect()
    }

    /// What a reader of the model finds.
    fn model(&self) -> String {
        let heads = self.names("model/heads/");
        let head: Value = serde_json::from_str(&self.text(&heads[0])).expect("a head");
        let tree = head["tree"].as_str().expect("it names a tree");
        let tree = tree.split_once(':').map_or(tree, |(_, hex)| hex);
        self.text(&format!("model/{tree}/deep/w"))
    }
}

#[test]
fn what_is_published_in_a_bucket_is_found_by_its_readers_and_told_of() {
    let site = Site::new();
    let told = site.run(&["run"]).exits(0).out;
    assert!(told.contains("published report.page → s3://site/latest.html"), "{told}");
    assert_eq!(
        (site.text("latest.html"), site.model(), site.text("pages/index.html")),
        ("1\n".into(), "1\n".into(), "1\n".into())
    );
    site.run(&["run", "--set", "n=2"]).exits(0);
    assert_eq!(
        (site.text("latest.html"), site.model(), site.text("pages/index.html")),
        ("2\n".into(), "2\n".into(), "2\n".into())
    );
    assert_eq!(site.names("pages/of-"), ["pages/of-2"], "a mirror keeps nothing of what was");
    let mirror: Value = serde_json::from_str(&site.text("pages/.prunella-mirror.json")).expect("a record");
    assert_eq!(mirror["whole"], true);
    // By hand: what was deleted comes back, what is there stays.
    assert!(site.server.objects().lose("site", "latest.html"));
    let again = site.run(&["publish"]).exits(0).out;
    assert!(again.contains("(created)") && again.contains("(unchanged)"), "{again}");
    assert_eq!(site.text("latest.html"), "2\n");
    let target = site.server.url("site", "copy.html");
    site.run(&["publish", "report.page", &target]).exits(0);
    assert_eq!(site.text("copy.html"), "2\n");
}

#[test]
fn a_bucket_that_refuses_leaves_the_result_and_the_run_goes_on_when_it_is_allowed() {
    let site = Site::new();
    site.home.write("prunella.toml", "");
    site.server.faults().plan(|asked| {
        (asked.method == "PUT").then_some(Fault::Status { status: 403, code: "AccessDenied", retry_after: None })
    });
    let refused = site.run(&["run"]).exits(78);
    assert!(
        refused.out.contains("could not be published") || refused.err.contains("could not be published"),
        "{}{}",
        refused.out,
        refused.err
    );
    assert!(!refused.out.contains(SECRET_KEY) && !refused.err.contains(SECRET_KEY));
    site.server.faults().none();
    site.run(&["resume"]).exits(0);
    assert_eq!(site.text("latest.html"), "1\n");
}
