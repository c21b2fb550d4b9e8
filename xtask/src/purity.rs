//! What decides is pure: no clock, no files, no environment, no randomness, no waiting (ARCHITECTURE.md, Crates).

use std::path::Path;

use crate::source::{files, program_lines};

/// The pure parts, and those of their files that stand at the edge.
const PURE: [(&str, &[&str]); 6] = [
    ("crates/interruptions/src", &[]),
    ("crates/model/src", &[]),
    ("crates/condition/src", &[]),
    ("crates/healing/src", &[]),
    ("crates/notices/src/answers", &[]),
    // `log` reads and writes the segments of the journal through `objects`; `segment` makes the operation for it.
    ("crates/journal/src", &["log.rs", "segment.rs"]),
];

/// The pure files of a crate that is not pure as a whole.
const PURE_FILES: [&str; 10] = [
    "crates/engine/src/plan.rs",
    "crates/engine/src/plan_inputs.rs",
    "crates/engine/src/decide.rs",
    "crates/engine/src/admission.rs",
    "crates/engine/src/told.rs",
    "crates/cli/src/drawing/layers.rs",
    "crates/cli/src/drawing/layout.rs",
    "crates/cli/src/drawing/ordering.rs",
    "crates/cli/src/drawing/picture.rs",
    "crates/cli/src/drawing/spread.rs",
];

/// Words that reach out.
const OUTWARD: [&str; 16] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::io",
    "std::os",
    "SystemTime",
    "Instant",
    "tokio",
    "rustix",
    "libc::",
    "rusqlite",
    "prunella_sys",
    "prunella_objects",
    "async fn",
];

/// Lines of `clippy.toml` without which a crate could ask the machine behind the back of `sys`.
const BANS: [&str; 5] =
    ["std::time::SystemTime::now", "std::time::Instant::now", "std::env::var", "std::fs::write", "std::thread::sleep"];

/// Returns every place where something pure reaches out.
pub fn violations(root: &Path) -> Vec<String> {
    let mut pure = Vec::new();
    for (directory, edge) in PURE {
        let all = files(&root.join(directory), &["rs"]);
        pure.extend(all.into_iter().filter(|path| !edge.iter().any(|name| path.ends_with(name))));
    }
    pure.extend(PURE_FILES.iter().map(|file| root.join(file)));
    let mut found = Vec::new();
    for path in pure {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => found.extend(
                outward(&text).into_iter().map(|(line, word)| format!("{shown}:{line}: `{word}` in what must be pure")),
            ),
            Err(error) => found.push(format!("{shown}: {error}; correct the list in xtask/src/purity.rs")),
        }
    }
    let clippy = std::fs::read_to_string(root.join("clippy.toml")).unwrap_or_default();
    let missing = BANS.iter().filter(|ban| !clippy.contains(&format!("\"{ban}\"")));
    found.extend(missing.map(|ban| format!("clippy.toml no longer bans `{ban}`")));
    found
}

fn outward(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in program_lines(text) {
        found.extend(OUTWARD.iter().filter(|word| has_word(line, word)).map(|word| (number, *word)));
    }
    found
}

/// Returns whether `word` stands in `line` and is not a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        !before.is_some_and(name) && (word.ends_with(':') || !after.is_some_and(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_pure() {
        assert_eq!(violations(crate::workspace::root()), Vec::<String>::new());
    }

    #[test]
    fn reaching_out_is_found_and_names_that_only_look_like_it_are_not() {
        assert_eq!(outward("use std::fs::File;\nlet t = Instant::now();\n"), [(1, "std::fs"), (2, "Instant")]);
        assert_eq!(outward("// std::env\nlet x = Instantly;\n#[cfg(test)]\nuse tokio::x;\n"), []);
    }
}
