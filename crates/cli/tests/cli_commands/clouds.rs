//! Credentials of every cloud: found by its usual chain, and never written.

use prunella_bucketkit::{ACCESS_TOKEN, Access, Conditions, Fault, GcsServer, SUBJECT_TOKEN};

use crate::home::{Answer, Home};

const SMALL: &str = "prunella: v1
name: small
steps:
  first: { run: 'echo words >one', outputs: { one: one } }
";

/// A machine that knows one cloud's credentials.
struct Machine {
    home: Home,
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    fn new(variables: Vec<(&'static str, String)>) -> Self {
        let home = Home::new();
        home.write("pipeline.yaml", SMALL);
        Self { home, variables }
    }

    fn run(&self, words: &[&str]) -> Answer {
        let mut command = self.home.command(words);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.output().expect("the binary starts").into()
    }

    /// Everything that a look at the store says, whether it works or not.
    fn says(&self) -> String {
        let asked = [&["run", "--verbose"][..], &["status"], &["runs"], &["doctor"], &["store", "check"], &["verify"]];
        asked.iter().map(|words| self.run(words)).map(|answer| answer.out + &answer.err).collect()
    }

    /// Returns the files of this machine in which a word stands.
    fn files_with(&self, word: &str) -> Vec<String> {
        let (mut found, mut left) = (Vec::new(), vec![self.home.dir.clone()]);
        left.extend(["cache", "home"].map(|name| self.home.beside(name)));
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).expect("ours").map(|entry| entry.expect("readable").path()));
            } else if std::fs::read(&path).is_ok_and(|bytes| contains(&bytes, word)) {
                found.push(path.display().to_string());
            }
        }
        found
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn i11_quiet_a_workload_identity_of_google_is_used_and_its_tokens_are_nowhere() {
    let server = GcsServer::with("bucket", Conditions::Atomic, Access::Token);
    let secrets = tempfile::tempdir().expect("a directory can be made");
    let (token, identity) = (secrets.path().join("token"), secrets.path().join("identity.json"));
    std::fs::write(&token, SUBJECT_TOKEN).expect("ours");
    std::fs::write(&identity, server.workload_identity(&token)).expect("ours");
    let machine = Machine::new(vec![
        ("GOOGLE_APPLICATION_CREDENTIALS", identity.display().to_string()),
        ("PRUNELLA_STORE", server.url("bucket", "store")),
    ]);
    machine.run(&["run"]).exits(0);
    let mut said = machine.says();
    machine.run(&["get", "first.one", "got"]).exits(0);
    assert_eq!(machine.home.read("got"), "words\n");
    server.faults().plan(|_| Some(Fault::Status { status: 403, code: "forbidden", retry_after: None }));
    said.push_str(&machine.run(&["runs"]).exits(78).err);
    server.faults().none();
    std::fs::write(&token, "another").expect("ours");
    let refused = machine.run(&["runs"]).exits(78).err;
    assert!(refused.contains("refuses access") && refused.contains("credentials come from"), "{refused}");
    said.push_str(&refused);
    for word in [SUBJECT_TOKEN, ACCESS_TOKEN] {
        assert!(!said.contains(word), "{said}");
        assert_eq!(machine.files_with(word), Vec::<String>::new());
        for key in server.objects().keys("bucket") {
            assert!(!contains(&server.objects().get("bucket", &key).expect("listed").bytes, word), "{key}");
        }
    }
}

/// The key is well-formed and opens nothing.
#[test]
fn i11_quiet_a_key_of_azure_is_nowhere_whatever_the_service_says() {
    const KEY: &str = "bG9vcGJhY2stc2VjcmV0LXdvcmQtb2YtYXp1cmUtbm90aGluZy1tb3Jl";
    const SIGNATURE: &str = "loopback-signature-word";
    // It speaks no Azure: every answer is a refusal that is read, and retried or not.
    let server = GcsServer::start("bucket");
    for (status, code) in [(403, "AuthorizationFailure"), (400, "InvalidHeaderValue"), (404, "ContainerNotFound")] {
        server.faults().plan(move |_| Some(Fault::Status { status, code, retry_after: None }));
        for (name, value) in [
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
            ("AZURE_STORAGE_SAS_TOKEN", format!("sv=2024-01-01&sig={SIGNATURE}")),
        ] {
            let machine = Machine::new(vec![
                ("AZURE_STORAGE_ACCOUNT_NAME", "account".to_owned()),
                (name, value),
                ("PRUNELLA_STORE", format!("az://bucket/store?endpoint={}", server.endpoint())),
            ]);
            let said = machine.says();
            assert!(said.contains("az://bucket/store"), "{said}");
            for word in [KEY, SIGNATURE] {
                assert!(!said.contains(word), "{said}");
                assert_eq!(machine.files_with(word), Vec::<String>::new());
            }
        }
    }
}
