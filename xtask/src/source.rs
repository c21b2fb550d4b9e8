//! The files of the repository.

use std::path::{Path, PathBuf};

/// Returns all files below `directory` with one of these extensions, sorted; hidden folders, `target` and what examples
/// leave behind are passed over.
pub fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(here) = left.pop() {
        for entry in std::fs::read_dir(&here).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|is| extensions.iter().any(|wanted| is == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Returns the lines of a source file that are program, with their numbers: no comments, no tests at its end.
pub fn program_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_are_not_program() {
        let text = "use a; // b\n/// doc\n\nfn f() {}\n#[cfg(test)]\nmod tests {}\n";
        let lines: Vec<_> = program_lines(text).map(|(n, line)| (n, line.trim_end())).collect();
        assert_eq!(lines, [(1, "use a;"), (4, "fn f() {}")]);
    }
}
