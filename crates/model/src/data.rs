//! Patterns that stand for data.

/// Returns the folder that a pattern begins with, and the pattern below it; nothing for text without a pattern in it.
///
/// The folder is empty if the first segment is a pattern already.
pub fn pattern_root(text: &str) -> Option<(&str, &str)> {
    let is_pattern = |segment: &str| segment.contains(['*', '?', '[', '{']);
    let mut at = 0;
    for segment in text.split('/') {
        if is_pattern(segment) {
            return Some((text[..at].trim_end_matches('/'), &text[at..]));
        }
        at += segment.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_pattern_is_what_stands_before_its_first_wildcard() {
        assert_eq!(pattern_root("images/**/*.png"), Some(("images", "**/*.png")));
        assert_eq!(pattern_root("a/b/x{1,2}/c"), Some(("a/b", "x{1,2}/c")));
        assert_eq!(pattern_root("*.csv"), Some(("", "*.csv")));
        assert_eq!(pattern_root("data/digits.csv.gz"), None);
    }
}
