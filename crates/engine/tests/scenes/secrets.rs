//! I11 quiet: no declared secret enters what is written.

use prunella_attempt::Secret;
use prunella_journal::RunStatus;
use prunella_model::EnvName;

use crate::scene::*;

crate::tests![
    i11_quiet_no_secret_enters_store_journal_or_log_raw_base64_or_url_encoded,
    i11_quiet_a_secret_of_many_lines_is_as_secret_as_one_of_one,
];

/// Everything in the store's directory that holds these bytes, workspaces left out: they are the program's own.
fn holding(scene: &Scene, needle: &[u8]) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![scene.store_dir().to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("work") {
                    left.push(path);
                }
            } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

const VALUE: &str = "s3cr3t/Wert+with=odd&signs%";
const BASE64: &str = "czNjcjN0L1dlcnQrd2l0aD1vZGQmc2lnbnMl";
const URL: &str = "s3cr3t%2FWert%2Bwith%3Dodd%26signs%25";

async fn i11_quiet_no_secret_enters_store_journal_or_log_raw_base64_or_url_encoded() {
    let mut scene = Scene::new();
    scene.secrets.insert(EnvName::new("API_KEY").unwrap(), Secret(VALUE.into()));
    let engine = scene.engine().await;
    // Whole, in pieces, encoded, within other text, at the end of a very long line, and in the last words of a failure.
    let graph = scene.graph(
        r#"leak:
  run: |
    test ${#API_KEY} = 27
    if [ $PRUNELLA_ATTEMPT = 2 ]; then echo done > out.txt; exit 0; fi
    echo "key: $API_KEY"
    printf '%.9s' "$API_KEY"; sleep 0.1; echo "${API_KEY#?????????}"
    echo "$API_KEY" | base64
    printf '%s' "$API_KEY" | base64
    printf 'user:%s' "$API_KEY" | base64
    url=$(printf '%s' "$API_KEY" | sed 's|%|%25|g; s|/|%2F|g; s|+|%2B|g; s|=|%3D|g; s|&|%26|g')
    echo "https://x/?k=$url"
    head -c 65530 /dev/zero | tr '\0' x; echo "$API_KEY"
    echo "fatal: $API_KEY was refused, $url, $(printf '%s' "$API_KEY" | base64)" >&2
    exit 3
  outputs: { out: { path: out.txt, check: { command: 'echo "$API_KEY"; test -s $PRUNELLA_CHECK_PATH' } } }
  secrets: [API_KEY]
  retry: { error: { limit: 3, backoff: 1ms } }
bad:
  run: echo x > out.txt
  outputs: { out: { path: out.txt, check: { command: 'echo "no: $API_KEY"; exit 1' } } }
  secrets: [API_KEY]
"#,
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Failed, "`bad` fails its check");
    assert!(engine.result(&outcome.run, "leak", "out").await.is_some(), "{:?}", engine.eye.events());
    let seen = format!("{:?}", engine.eye.events());
    engine.die().await;
    for form in [VALUE, &VALUE[4..], BASE64, URL] {
        assert!(!seen.contains(form), "an event holds `{form}`");
        assert_eq!(holding(&scene, form.as_bytes()), Vec::<String>::new(), "`{form}`");
    }
    // The base64 of a longer text that holds it, from its middle on.
    let inside = "Y3IzdC9XZXJ0K3dpdGg9b2RkJnNpZ25z";
    assert_eq!(holding(&scene, inside.as_bytes()), Vec::<String>::new());
    assert!(!holding(&scene, b"[API_KEY]").is_empty(), "what was written in its place is there, so logs were searched");
}

async fn i11_quiet_a_secret_of_many_lines_is_as_secret_as_one_of_one() {
    let mut scene = Scene::new();
    let value = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAo\n-----END KEY-----\n";
    scene.secrets.insert(EnvName::new("PRIVATE_KEY").unwrap(), Secret(value.into()));
    let engine = scene.engine().await;
    let graph = scene.graph(
        "leak:
  run: |
    echo \"$PRIVATE_KEY\"
    echo \"one line: $(echo $PRIVATE_KEY)\"
    echo x > out.txt
  outputs: { out: out.txt }
  secrets: [PRIVATE_KEY]
",
    );
    assert_eq!(engine.complete("r", &graph).await.status, RunStatus::Succeeded);
    engine.die().await;
    for line in ["MIIEvQIBADANBgkqhkiG9w0", "BAQEFAASCBKcwggSjAgEAAo"] {
        assert_eq!(holding(&scene, line.as_bytes()), Vec::<String>::new(), "`{line}`");
    }
}
