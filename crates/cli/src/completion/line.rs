//! The line that is being typed: its words, and the one that is not ended.

/// What is typed so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// The words that are ended, without the program.
    pub words: Vec<String>,
    /// The word that is being typed; empty behind a blank.
    pub current: String,
}

impl Line {
    /// Reads a line as a shell would split it; a quote that is open goes on to the end.
    pub fn read(text: &str) -> Self {
        let (mut words, mut current) = (Vec::new(), None::<String>);
        let (mut quote, mut escaped) = (None, false);
        for c in text.chars() {
            match (c, quote) {
                (c, _) if escaped => {
                    current.get_or_insert_default().push(c);
                    escaped = false;
                }
                ('\\', None | Some('"')) => {
                    current.get_or_insert_default();
                    escaped = true;
                }
                (c, Some(open)) if c == open => quote = None,
                ('\'' | '"', None) => {
                    current.get_or_insert_default();
                    quote = Some(c);
                }
                (c, None) if c.is_whitespace() => words.extend(current.take()),
                (c, _) => current.get_or_insert_default().push(c),
            }
        }
        if !words.is_empty() {
            words.remove(0);
        }
        Self { words, current: current.unwrap_or_default() }
    }
}

/// Returns the part of a candidate that replaces what bash takes for the current word: it splits words at `:` and `=`, too.
pub fn behind_breaks<'a>(candidate: &'a str, current: &str) -> &'a str {
    let kept = current.rfind([':', '=']).map_or(0, |at| at + 1);
    candidate.get(kept..).unwrap_or(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, String) {
        let Line { words, current } = Line::read(text);
        (words, current)
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(read("prunella logs tr"), (words(&["logs"]), "tr".into()));
        assert_eq!(read("prunella logs "), (words(&["logs"]), String::new()));
        assert_eq!(read("prunella --store 'a b' get x\\ y"), (words(&["--store", "a b", "get"]), "x y".into()));
        assert_eq!(read("prunella get \"a'b"), (words(&["get"]), "a'b".into()));
        assert_eq!(read("prunella"), (words(&[]), "prunella".into()));
        assert_eq!(read(""), (words(&[]), String::new()));
        assert_eq!(read("prunella get '' x\\"), (words(&["get", ""]), "x".into()));
    }

    #[test]
    fn of_a_candidate_only_what_is_behind_the_last_break_is_told() {
        assert_eq!(behind_breaks("train:fold=2", "train:fold="), "2");
        assert_eq!(behind_breaks("train:fold=2", "train:fo"), "fold=2");
        assert_eq!(behind_breaks("train", "tr"), "train");
    }
}
