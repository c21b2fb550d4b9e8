//! complete: names that only the store knows, as shells ask for them.

use std::{fs, path::Path, process::Command};

use crate::home::{Home, PRUNELLA};

const PIPELINE: &str = "prunella: v1
name: typed
steps:
  list: { run: 'echo [3, 5] >all.json', outputs: { all: all.json } }
  train:
    for_each: { fold: [0, 1, 10] }
    run: echo 1 >model; echo 2 >log
    outputs: { model: model, log: log }
  each:
    for_each: list.all
    run: echo ${{ item }} >out
    outputs: { out: out }
  tidy: { run: 'true' }
";

fn finished() -> (Home, String) {
    let home = Home::with(PIPELINE);
    home.run(&["run"]).exits(0);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    (home, run)
}

fn offered(home: &Home, line: &str) -> Vec<String> {
    let answer = home.run(&["complete", "--", line]).exits(0);
    assert_eq!(answer.err, "", "nothing is printed into a prompt");
    answer.out.lines().map(str::to_owned).collect()
}

#[test]
fn runs_steps_items_and_outputs_are_offered_where_they_fit() {
    let (home, run) = finished();
    let line = |line: &str| offered(&home, line);
    assert_eq!(line("prunella logs t"), ["train", "tidy"]);
    assert_eq!(line(&format!("prunella explain {} l", &run[..13])), ["list"]);
    assert_eq!(line("prunella logs "), [&run, "list", "train", "each", "tidy"]);
    assert_eq!(line(&format!("prunella resume {}", &run[..5])), [run.as_str()]);
    assert_eq!(line("prunella shell train:fold=1"), ["train:fold=1", "train:fold=10"]);
    assert_eq!(line("prunella get tr"), ["train.log", "train.model"]);
    assert_eq!(line("prunella publish tr"), line("prunella get tr"));
    assert_eq!(line("prunella get train:fold=0"), ["train:fold=0.log", "train:fold=0.model"]);
    // These items stand in no graph, only in what a step made.
    assert_eq!(line("prunella explain each:"), ["each:3", "each:5"]);
    assert_eq!(line("prunella run --from ti"), ["tidy"]);
    assert_eq!(line(&format!("prunella exec --run {run} --step ea")), ["each"]);
    assert_eq!(line("prunella run tr"), ["train"]);
    assert_eq!(line("prunella run train ti"), ["tidy"]);
}

#[test]
fn where_there_is_nothing_to_say_nothing_is_said() {
    let (home, _) = finished();
    for line in [
        "",
        "prunella",
        "prunella log",
        "prunella logs --fol",
        "prunella logs no-such-run t",
        "prunella logs train:nothing",
        "prunella get nothing:fold=",
        "prunella shell train -- c",
        "prunella --store nowhere logs ",
        "prunella --config nowhere logs ",
        "prunella run --set ",
        "prunella explain 'un",
    ] {
        assert_eq!(offered(&home, line), Vec::<String>::new(), "{line}");
    }
    home.write("prunella.toml", "[wrong");
    assert_eq!(offered(&home, "prunella logs "), Vec::<String>::new(), "a mistake is told by commands, not here");
    let empty = Home::new();
    assert_eq!(offered(&empty, "prunella logs "), Vec::<String>::new());
    assert_eq!(empty.names(), Vec::<String>::new(), "no store is made");
}

#[test]
fn a_store_that_is_named_on_the_line_or_in_the_project_file_is_asked() {
    let (home, _) = finished();
    fs::rename(home.dir.join(".prunella"), home.dir.join("kept")).expect("ours");
    assert_eq!(offered(&home, "prunella logs t"), Vec::<String>::new());
    assert_eq!(offered(&home, "prunella logs --store kept t"), ["train", "tidy"]);
    assert_eq!(offered(&home, "prunella --store=kept logs t"), ["train", "tidy"]);
    home.write("prunella.toml", "[defaults]\nstore = \"kept\"\n");
    assert_eq!(offered(&home, "prunella logs t"), ["train", "tidy"]);
}

#[test]
fn bash_offers_names_beside_options() {
    let (home, run) = finished();
    let script = home.beside("prunella.bash");
    fs::write(&script, home.run(&["completions", "bash"]).exits(0).out).expect("ours");
    let bin = Path::new(PRUNELLA).parent().expect("it lies somewhere").display().to_string();
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    // What bash itself would set: it splits words at `:` and `=`, too.
    let offers = |line: &str, words: &[&str]| {
        let program = format!(
            "PATH='{bin}':$PATH; source '{}'; COMP_LINE='{line}'; COMP_POINT={}; COMP_WORDS=({}); COMP_CWORD={};
             $(complete -p prunella | sed 's/.*-F \\([^ ]*\\).*/\\1/') prunella '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            line.len(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let mut bash = Command::new("bash");
        let told =
            bash.args(["--norc", "-c", &program]).current_dir(&home.dir).output().expect("it was there a moment ago");
        assert!(told.stderr.is_empty(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let logs = offers("prunella logs t", &["prunella", "logs", "t"]);
    assert!(logs.contains(&"train".to_owned()) && logs.contains(&"tidy".to_owned()), "{logs:?}");
    let resume = offers("prunella resume ", &["prunella", "resume", ""]);
    assert!(resume.contains(&run) && resume.contains(&"--jobs".to_owned()), "{resume:?}");
    let items = offers("prunella get train:fold=1", &["prunella", "get", "train", ":", "fold", "=", "1"]);
    assert!(items.contains(&"1.model".to_owned()) && items.contains(&"10.log".to_owned()), "{items:?}");
    let all = offers("prunella ", &["prunella", ""]);
    assert!(all.contains(&"completions".to_owned()) && !all.contains(&"complete".to_owned()), "{all:?}");
    let nothing = offers("prunella resume zz", &["prunella", "resume", "zz"]);
    assert!(nothing.iter().all(|word| word.is_empty()), "{nothing:?}");
}
