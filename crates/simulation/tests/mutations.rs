//! Every deliberate bug of the list is noticed: here those that few schedules show, with `PRUNELLA_MUTATIONS=all` all that
//! schedules show. The tests that notice the others are run with the bug by `PRUNELLA_MUTATION=N`.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use prunella_simulation::{By, MUTATIONS};

const PAGE: &str = include_str!("../../../docs/design/0026-mutations.md");

/// What so few schedules show is looked for in every check.
const QUICK: u64 = 200;
/// The same of whole runs.
const QUICK_WHOLE: u64 = 10;

#[test]
fn deliberate_bugs_are_noticed_by_schedules() {
    let all = std::env::var("PRUNELLA_MUTATIONS").is_ok_and(|value| value == "all");
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    // A bug that is noticed by a panic is noticed; what it says is of no interest here.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut missed, mut tried) = (Vec::new(), 0);
    for mutation in MUTATIONS {
        let Some((most, hunt)) = mutation.schedules() else { continue };
        // Whole runs take longer, and show more of what they show.
        if all || most <= if matches!(mutation.by, By::Whole(_)) { QUICK_WHOLE } else { QUICK } {
            tried += 1;
            match hunt(mutation.number, most, threads) {
                Some(caught) => println!("{}: seed {} {}", mutation.number, caught.seed, caught.what),
                None => missed.push(mutation.number),
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "nothing shows {missed:?}");
    assert!(tried >= 15, "only {tried} were looked for");
}

#[test]
fn the_list_is_the_one_of_the_page_and_no_number_is_used_twice() {
    let numbers: BTreeSet<u32> = MUTATIONS.iter().map(|mutation| mutation.number).collect();
    assert_eq!(numbers.len(), MUTATIONS.len(), "a number is used twice");
    assert!(numbers.len() >= 40);
    let missing: Vec<String> =
        MUTATIONS.iter().map(|mutation| mutation.row()).filter(|row| !PAGE.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn each_deliberate_bug_is_where_the_list_says() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for mutation in MUTATIONS {
        let text = std::fs::read_to_string(crates.join(mutation.file)).unwrap();
        assert!(text.contains(&format!("mutated({})", mutation.number)), "{} is not there", mutation.number);
    }
}

#[test]
fn only_the_simulation_is_built_with_deliberate_bugs() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for entry in std::fs::read_dir(crates).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        let allowed = ["simulation", "sys"].iter().any(|name| manifest.ends_with(format!("{name}/Cargo.toml")));
        assert!(allowed || !text.contains("mutations"), "{} switches them on", manifest.display());
    }
    // What `cargo build --release` builds is the default member, with the features of what it needs.
    let tree = ["tree", "--locked", "--offline", "--package", "prunella", "--edges", "normal,build,features"];
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let shown = std::process::Command::new(cargo).args(tree).current_dir(crates).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("prunella-sys") && !shown.contains("mutations"), "the program has deliberate bugs");
}
