//! The name that was probably meant.

/// Finds near names, with a bound on all comparisons together: a file of unknown names must not take minutes.
pub(crate) struct Nearest {
    comparisons_left: usize,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { comparisons_left: 300_000 }
    }
}

impl Nearest {
    /// Returns the candidate nearest to `text`, if one is near enough to be a slip of the keyboard.
    pub fn of<'a>(&mut self, text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let length = text.chars().count();
        if length > 64 {
            return None;
        }
        let most = 1 + length / 4;
        let mut best: Option<(usize, &'a str)> = None;
        for candidate in candidates {
            if self.comparisons_left == 0 {
                break;
            }
            if candidate.len().abs_diff(text.len()) > most + 3 {
                continue;
            }
            self.comparisons_left -= 1;
            let distance = strsim::damerau_levenshtein(text, candidate);
            let swapped = text.len() == candidate.len() && text.replace('-', "_") == candidate.replace('-', "_");
            let distance = if swapped { 0 } else { distance };
            if distance <= most && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// Returns "did you mean …" for the nearest candidate, or else the candidates themselves if they are few.
    pub fn help<'a>(&mut self, text: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
        if let Some(near) = self.of(text, candidates.clone()) {
            return Some(format!("did you mean `{near}`?"));
        }
        let few: Vec<String> = candidates.into_iter().take(25).map(|name| format!("`{name}`")).collect();
        (!few.is_empty() && few.len() < 25).then(|| format!("there {}", listed(&few)))
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [only] => format!("is only {only}"),
        [init @ .., last] => format!("are {} and {last}", init.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_finds_none() {
        let mut nearest = Nearest::default();
        let keys = ["inputs", "outputs", "resources", "pass_env"];
        assert_eq!(nearest.of("intputs", keys), Some("inputs"));
        assert_eq!(nearest.of("pass-env", keys), Some("pass_env"));
        assert_eq!(nearest.of("zebra", keys), None);
        assert_eq!(nearest.help("zebra", ["a", "b"]).as_deref(), Some("there are `a` and `b`"));
    }

    #[test]
    fn the_work_of_a_whole_file_is_bounded() {
        let mut nearest = Nearest { comparisons_left: 3 };
        assert_eq!(nearest.of("dd", ["aaa", "bbb", "ccc", "ddd"]), None);
    }
}
