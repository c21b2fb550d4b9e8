//! One file, one idea: long files are reported, very long ones refused.

use std::path::Path;

use crate::source::files;

/// Above this a file is reported.
const LONG: usize = 500;
/// Above this it is refused; tests in the file count.
const TOO_LONG: usize = 800;

/// What stands out.
#[derive(Debug, Default, PartialEq)]
pub struct Lengths {
    pub warnings: Vec<String>,
    pub violations: Vec<String>,
}

/// Measures all sources.
pub fn measure(root: &Path) -> Lengths {
    let mut lengths = Lengths::default();
    for path in files(root, &["rs", "py", "sh"]) {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let lines = std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        judge(&shown, lines, &mut lengths);
    }
    lengths
}

fn judge(shown: &str, lines: usize, lengths: &mut Lengths) {
    if lines > TOO_LONG {
        lengths.violations.push(format!("{shown} has {lines} lines; {TOO_LONG} is the most: split it by idea"));
    } else if lines > LONG {
        lengths.warnings.push(format!("{shown} has {lines} lines; aim under {LONG}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_named_and_very_long_ones_refused() {
        let mut lengths = Lengths::default();
        for (name, lines) in [("a", 500), ("b", 501), ("c", 800), ("d", 801)] {
            judge(name, lines, &mut lengths);
        }
        assert_eq!((lengths.warnings.len(), lengths.violations.len()), (2, 1));
    }

    #[test]
    fn no_file_is_too_long() {
        assert_eq!(measure(crate::workspace::root()).violations, Vec::<String>::new());
    }
}
