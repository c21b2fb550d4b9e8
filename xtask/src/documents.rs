//! What the documents say is there: links, paths and commands.

use std::path::{Path, PathBuf};

use crate::source::files;

/// Top-level names by which a word in backticks is known as a path of this repository.
const TOP: [&str; 6] = ["crates/", "docs/", "examples/", "xtask/", "bench/", ".ci/"];

/// Returns every link, path and command that leads nowhere.
pub fn violations(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let commands = commands(root);
    for path in files(root, &["md"]) {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let (prose, code) = split(&text);
        let of_prose = links(&path, &prose).into_iter().chain(paths(root, &prose));
        for (line, problem) in of_prose.chain(uses(&commands, &prose, &code)).chain(json(&text)) {
            found.push(format!("{shown}:{line}: {problem}"));
        }
    }
    for path in files(&root.join("crates"), &["rs"]) {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let comments: Vec<_> = numbered(&text).filter(|(_, line)| line.trim_start().starts_with("//")).collect();
        found.extend(cited(root, &comments).into_iter().map(|(line, problem)| format!("{shown}:{line}: {problem}")));
    }
    found
}

type Lines<'a> = Vec<(usize, &'a str)>;

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Separates prose from fenced code that a shell would run.
fn split(text: &str) -> (Lines<'_>, Lines<'_>) {
    let (mut prose, mut code, mut fence) = (Vec::new(), Vec::new(), None::<bool>);
    for (number, line) in numbered(text) {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(matches!(language.trim(), "sh" | "bash" | "console")) };
        } else if fence == Some(true) {
            code.push((number, line));
        } else if fence.is_none() {
            prose.push((number, line));
        }
    }
    (prose, code)
}

/// Finds examples that say they are JSON and are not: neither the block as a whole nor each of its lines.
fn json(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut block) = (Vec::new(), None::<(usize, String)>);
    for (number, line) in numbered(text) {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut block, fence) {
            (None, Some(language)) if language.split_whitespace().next() == Some("json") => {
                block = Some((number, String::new()));
            }
            (Some((begun, inside)), Some(_)) => {
                let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
                if !is_json(inside) && !inside.lines().all(is_json) {
                    found.push((*begun, "the example is not JSON".to_owned()));
                }
                block = None;
            }
            (Some((_, inside)), None) => {
                inside.push_str(line);
                inside.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

fn links(from: &Path, prose: &Lines) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let path = if file.is_empty() { from.to_owned() } else { from.parent().unwrap_or(from).join(file) };
            if !path.exists() {
                found.push((*number, format!("the link `{target}` leads nowhere")));
            } else if anchor.is_some_and(|anchor| !anchors(&path).iter().any(|is| is == anchor)) {
                found.push((*number, format!("`{file}` has no heading `#{}`", anchor.unwrap_or_default())));
            }
        }
    }
    found
}

/// Returns the anchors that a forge gives to the headings of a document.
fn anchors(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Returns the words of a line that stand in backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Finds paths in backticks that do not exist; `NAME` and `NNNN` stand for what the reader chooses.
fn paths(root: &Path, prose: &Lines) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose {
        for word in quoted(line) {
            if word.contains("NAME") || word.contains("NNNN") {
                continue;
            }
            let plain = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            if plain && TOP.iter().any(|top| word.starts_with(top)) && !root.join(word).exists() {
                found.push((*number, format!("there is no `{word}`")));
            }
        }
    }
    found
}

/// Finds `docs/….md` in comments.
fn cited(root: &Path, comments: &Lines) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in comments {
        for (at, _) in line.match_indices("docs/") {
            let rest = &line[at..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "/._-".contains(c))).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches('.');
            let inside = at > 0 && line[..at].ends_with(|c: char| c.is_alphanumeric() || "/.".contains(c));
            if path.ends_with(".md") && !inside && !root.join(path).exists() {
                found.push((*number, format!("there is no `{path}`")));
            }
        }
    }
    found
}

/// Returns the names of all commands of the program: one command, one file.
fn commands(root: &Path) -> Vec<String> {
    let all = files(&root.join("crates/cli/src/commands"), &["rs"]);
    all.iter().filter_map(|path: &PathBuf| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

/// Finds `prunella VERB` and `cargo xtask VERB` that do not exist.
fn uses(commands: &[String], prose: &Lines, code: &Lines) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let words = prose.iter().flat_map(|(number, line)| quoted(line).map(move |word| (*number, word)));
    for (number, text) in words.chain(code.iter().copied()) {
        let text = text.split(" #").next().unwrap_or_default();
        let all: Vec<&str> = text.split_whitespace().collect();
        for (at, word) in all.iter().enumerate() {
            let next = all.get(at + 1).copied().unwrap_or_default();
            let verb =
                !next.is_empty() && next.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !next.starts_with('-');
            let command =
                *word == "prunella" && (at == 0 || matches!(all[at - 1], "$" | "&&" | ";" | "&" | "|" | "time"));
            if command && verb && next != "help" && !commands.iter().any(|is| is.replace('_', "-") == next) {
                found.push((number, format!("there is no command `prunella {next}`")));
            }
            let tool = *word == "xtask" && at > 0 && all[at - 1] == "cargo";
            if tool && verb && !crate::USAGE.contains(&format!("  {next} ")) {
                found.push((number, format!("there is no command `cargo xtask {next}`")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_documents_say_is_there() {
        assert_eq!(violations(crate::workspace::root()), Vec::<String>::new());
    }

    #[test]
    fn dead_links_paths_and_commands_are_found() {
        let root = crate::workspace::root();
        let prose = vec![(
            1,
            "see [this](no/such.md) and [that](README.md#no-such-heading), `crates/none/` and `crates/model`",
        )];
        assert_eq!(links(&root.join("README.md"), &prose).len(), 2);
        assert_eq!(paths(root, &prose).len(), 1);
        assert_eq!(cited(root, &vec![(1, "// see docs/none.md, docs/pipeline.md.")]).len(), 1);
        let code = vec![(1, "$ prunella fly --high && prunella run # prunella swim")];
        assert_eq!(uses(&commands(root), &Vec::new(), &code), [(1, "there is no command `prunella fly`".to_owned())]);
        assert_eq!(uses(&[], &vec![(3, "`cargo xtask fly`, `cargo xtask check`")], &Vec::new()).len(), 1);
        assert_eq!(anchor("When `x` fails, 2nd"), "when-x-fails-2nd");
    }

    #[test]
    fn examples_of_json_are_json() {
        assert_eq!(json("```json\n{\"a\":\n1}\n```\n```json start\n{}\n{}\n```\n```yaml\n{\n```\n"), []);
        assert_eq!(json("a\n```json\n{\n```\n").len(), 1);
    }

    #[test]
    fn only_what_a_shell_would_run_is_a_command() {
        let (prose, code) = split("a\n```sh\nb\n```\nc\n```yaml\nd\n```\n");
        assert_eq!((prose, code), (vec![(1, "a"), (5, "c")], vec![(3, "b")]));
    }
}
