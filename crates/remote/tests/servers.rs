//! The same promises against real servers, which `cargo xtask check` installs and starts.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use prunella_objects::{Elsewhere, Exhibit, Instead, Objects, ObjectsError, Showcases, conformance};
use prunella_remote::{Depth, Finding, Lakes, Options, Published, Remote, StoreUrl, Verdict, check};
use prunella_sys::{MapEnv, Sys};

/// A server that was started for the tests.
struct Real {
    sys: Sys,
    base: String,
    query: String,
    dir: tempfile::TempDir,
}

impl Real {
    fn s3() -> Option<Self> {
        let endpoint = told("PRUNELLA_TEST_S3")?;
        let env = MapEnv::new("/").with("AWS_ACCESS_KEY_ID", "x").with("AWS_SECRET_ACCESS_KEY", "x");
        Some(Self::new(env, "s3://bucket", format!("?endpoint={endpoint}&region=us-east-1")))
    }

    fn azure() -> Option<Self> {
        let (endpoint, key) = (told("PRUNELLA_TEST_AZURE")?, told("PRUNELLA_TEST_AZURE_KEY")?);
        let account = endpoint.rsplit('/').next().unwrap_or_default().to_owned();
        let env = MapEnv::new("/").with("AZURE_STORAGE_ACCOUNT_NAME", account).with("AZURE_STORAGE_ACCOUNT_KEY", key);
        Some(Self::new(env, "az://bucket", format!("?endpoint={endpoint}")))
    }

    fn new(env: MapEnv, base: &str, query: String) -> Self {
        let sys = Sys { env: Arc::new(env), ..Sys::real() };
        Self { sys, base: base.to_owned(), query, dir: tempfile::tempdir().unwrap() }
    }

    fn url(&self, prefix: &str) -> StoreUrl {
        // The server outlives a test run by hand.
        let unique = self.dir.path().file_name().unwrap().to_string_lossy().replace('.', "t");
        format!("{}/{unique}/{prefix}{}", self.base, self.query).parse().unwrap()
    }

    fn options(&self) -> Options {
        Options { patience: Duration::from_secs(30), ..Options::new(self.dir.path().join("cache")) }
    }

    /// A server that gets conditions wrong; nobody but the test speaks to it.
    fn wrong(variable: &str, base: &str, query: &str) -> Option<Self> {
        let endpoint = told(variable)?;
        let env = MapEnv::new("/").with("AWS_ACCESS_KEY_ID", "S3RVER").with("AWS_SECRET_ACCESS_KEY", "S3RVER");
        Some(Self::new(env, base, format!("?endpoint={endpoint}{query}")))
    }

    async fn is_refused_because(&self, reason: &str) {
        let report = check(&self.sys, &self.url("check"), &self.options(), Depth::Thorough).await.unwrap();
        assert!(report.reason().is_some_and(|said| said.contains(reason)), "{:?}", report.findings);
        let refused = Remote::open(&self.sys, &self.url("store"), &self.options()).await.err();
        assert!(matches!(refused, Some(ObjectsError::Unfit { message, .. }) if message.contains(reason)));
    }

    async fn keeps_every_promise(&self) {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let (url, options) = (self.url(name), self.options());
            let opened = Remote::open(&self.sys, &url, &options);
            let remote = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(opened)).unwrap();
            Arc::new(remote) as Arc<dyn Objects>
        };
        conformance::suite(&self.sys, scratch.path(), make).await;
        let report = check(&self.sys, &self.url("check"), &self.options(), Depth::Thorough).await.unwrap();
        let of_rules = ["life cycle", "unfinished uploads", "versions", "retention"];
        // moto ignores the version that an upload in parts asks for.
        let noted = |finding: &Finding| finding.name == "replacement" && finding.verdict == Verdict::Note;
        let good =
            |finding: &Finding| finding.verdict == Verdict::Good || of_rules.contains(&finding.name) || noted(finding);
        assert!(report.is_fit() && report.findings.iter().all(good), "{:?}", report.findings);
    }
}

fn told(name: &str) -> Option<String> {
    let told = std::env::var(name).ok();
    if told.is_none() {
        println!("skipped: {name} is not set; `cargo xtask check` starts the server and sets it");
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_every_promise() {
    if let Some(real) = Real::s3() {
        real.keeps_every_promise().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn azurite_keeps_every_promise() {
    if let Some(real) = Real::azure() {
        real.keeps_every_promise().await;
    }
}

/// Azure cannot begin a listing in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_of_azurite_costs_a_request_for_each_thousand() {
    let Some(real) = Real::azure() else { return };
    let remote = Remote::open(&real.sys, &real.url("long"), &real.options()).await.unwrap();
    let key = |n: usize| prunella_objects::ObjectKey::new(format!("n/{n:05}")).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..3200 {
        let remote = remote.clone();
        writers.spawn(async move { remote.create(&key(n), "x".into()).await.map(drop) });
    }
    assert!(writers.join_all().await.into_iter().all(|created| created.is_ok()));
    let before = remote.traffic().requests();
    assert_eq!(remote.list("n/", None, usize::MAX).await.unwrap().len(), 3200);
    let asked = remote.traffic().requests() - before;
    assert!(asked <= 5, "{asked} requests for 3200 names");
}

#[tokio::test]
async fn s3rver_is_refused_because_it_ignores_the_condition() {
    if let Some(real) = Real::wrong("PRUNELLA_TEST_S3RVER", "s3://bucket", "&region=us-east-1") {
        real.is_refused_because("ignores the condition of a create (`If-None-Match: *`)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn radosgw_is_refused_because_it_ignores_the_condition_of_uploads_in_parts() {
    if let Some(real) = Real::wrong("PRUNELLA_TEST_RADOSGW", "s3://bucket", "&region=us-east-1") {
        real.is_refused_because("it ignores the condition of an upload in parts: a second one replaced the first")
            .await;
    }
}

/// It knows a version without quotes only.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_over_another_file_of_radosgw_ends() {
    let Some(real) = Real::wrong("PRUNELLA_TEST_RADOSGW", "s3://bucket", "&region=us-east-1") else { return };
    let place =
        Published::new(&real.sys, real.options(), None).open(&real.address("bucket", "data", "")).await.unwrap();
    let put = async |text: &'static str, instead: Instead| {
        place.put("a.txt", Exhibit::Bytes(text.as_bytes().into()), text, &instead).await.unwrap()
    };
    assert!(put("one", Instead::OfNothing).await);
    let first = place.look("a.txt").await.unwrap().unwrap();
    assert!(put("two", Instead::Of(first.version.clone())).await);
    assert!(!put("three", Instead::Of(first.version)).await, "another put something there meanwhile");
    assert_eq!(place.look("a.txt").await.unwrap().unwrap().digest.as_deref(), Some("two"));
}

/// A race may show it or not; those of one probe together do, on each machine that is new to it.
#[tokio::test(flavor = "multi_thread")]
async fn s3s_fs_is_refused_because_it_looks_first_and_writes_then() {
    let Some(mut real) = Real::wrong("PRUNELLA_TEST_S3S_FS", "s3://bucket", "&region=us-east-1") else { return };
    for _ in 0..4 {
        real.is_refused_because("it checks the condition of a create beside the write: of 50 at once").await;
        real.dir = tempfile::tempdir().unwrap();
    }
}

#[tokio::test]
async fn gcp_storage_emulator_is_refused_because_it_ignores_the_condition() {
    if let Some(real) = Real::wrong("PRUNELLA_TEST_GCP_EMULATOR", "gs://bucket", "&anonymous=true") {
        real.is_refused_because("ignores the condition of a create (`ifGenerationMatch=0`)").await;
    }
}

/// The server's start gave the bucket `ruled` a rule that expires objects, versions, and a rule for uploads.
#[tokio::test]
async fn rules_of_moto_are_read() {
    let Some(mut real) = Real::s3() else { return };
    real.base = "s3://ruled".to_owned();
    let report = check(&real.sys, &real.url("check"), &real.options(), Depth::Thorough).await.unwrap();
    let said = |name: &str| report.findings.iter().find(|finding| finding.name == name).unwrap();
    assert!(
        said("life cycle").text.contains("rule `tidy` deletes objects under this prefix after 30 days"),
        "{report:?}"
    );
    assert_eq!(said("life cycle").verdict, Verdict::Unfit);
    assert_eq!(said("unfinished uploads").verdict, Verdict::Good);
    assert!(said("versions").text.contains("old versions are kept"), "{report:?}");
    assert_eq!(said("retention").verdict, Verdict::Good);
}

impl Real {
    fn address(&self, bucket: &str, path: &str, more: &str) -> String {
        let unique = self.dir.path().file_name().unwrap().to_string_lossy().replace('.', "t");
        let base = self.base.replace("bucket", bucket);
        format!("{base}/{unique}/{path}{}{more}", self.query)
    }

    async fn put(&self, bucket: &str, name: &str, text: &'static str) {
        let published = Published::new(&self.sys, self.options(), None);
        let place = published.open(&self.address(bucket, "data", "")).await.unwrap();
        let exhibit = Exhibit::Bytes(bytes::Bytes::from_static(text.as_bytes()));
        assert!(place.put(name, exhibit, "x", &Instead::OfAnything).await.unwrap());
    }

    async fn lists_and_fetches(&self) {
        for (name, text) in [("a.txt", "one"), ("deep/b c.txt", "two"), ("empty", "")] {
            self.put("bucket", name, text).await;
        }
        let (lakes, at) = (Lakes::new(&self.sys, self.options()), self.address("bucket", "data/", ""));
        let listing = lakes.list(&at).await.unwrap();
        let names: Vec<&str> = listing.objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["a.txt", "deep/b c.txt", "empty"]);
        let to = self.dir.path().join("fetched");
        lakes.fetch(&at, &listing, &to).await.unwrap();
        assert_eq!(std::fs::read_to_string(to.join("deep/b c.txt")).unwrap(), "two");
        self.put("bucket", "a.txt", "ONE").await;
        let changed = lakes.list(&at).await.unwrap();
        assert_eq!(listing.changes(&changed).as_deref(), Some("`a.txt` changed"));
        assert!(lakes.fetch(&at, &listing, &self.dir.path().join("again")).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_on_moto_is_listed_and_fetched_and_its_versions_are_there_where_they_are_asked_for() {
    let Some(real) = Real::s3() else { return };
    real.lists_and_fetches().await;
    // Its owner keeps versions.
    real.put("ruled", "a.txt", "one").await;
    real.put("ruled", "b.txt", "two").await;
    let lakes = Lakes::new(&real.sys, real.options());
    let plain = lakes.list(&real.address("ruled", "data/", "")).await.unwrap();
    assert!(plain.objects.iter().all(|object| object.version.is_none()), "{plain:?}");
    let at = real.address("ruled", "data/", "&versions=true");
    let first = lakes.list(&at).await.unwrap();
    assert_eq!(first.objects.len(), 2);
    assert!(first.objects.iter().all(|object| object.version.is_some()), "{first:?}");
    // The same bytes have the same ETag, and another version.
    real.put("ruled", "a.txt", "one").await;
    assert_eq!(plain.changes(&lakes.list(&real.address("ruled", "data/", "")).await.unwrap()), None);
    let again = lakes.list(&at).await.unwrap();
    assert_eq!(first.changes(&again).as_deref(), Some("`a.txt` changed"));
    assert_eq!(again.objects.len(), 2, "old versions are not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_on_azurite_is_listed_and_fetched() {
    if let Some(real) = Real::azure() {
        real.lists_and_fetches().await;
    }
}
