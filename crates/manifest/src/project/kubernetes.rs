//! What Kubernetes takes for names and labels, so that a mistake is found here and not by a cluster.

/// Returns what is wrong with a name of an object that is a DNS label (a namespace), or of one that may have dots.
pub(super) fn bad_name(name: &str, dots: bool) -> Option<&'static str> {
    let most = if dots { 253 } else { 63 };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let fine = name.len() <= most && if dots { name.split('.').all(label) } else { label(name) };
    (!fine).then_some(match dots {
        true => "at most 253 of a–z, 0–9, `-` and `.`, with a letter or digit at both ends of every part",
        false => "at most 63 of a–z, 0–9 and `-`, with a letter or digit at both ends",
    })
}

/// Returns what is wrong with the key of a label: `[PREFIX/]NAME`.
pub(super) fn bad_label_key(key: &str) -> Option<&'static str> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let fine = is_label(name) && !name.is_empty() && prefix.is_none_or(|prefix| bad_name(prefix, true).is_none());
    (!fine).then_some("`[DOMAIN/]NAME`; the name is at most 63 of letters, digits, `-`, `_` and `.`")
}

/// Returns what is wrong with the value of a label.
pub(super) fn bad_label_value(value: &str) -> Option<&'static str> {
    (!is_label(value)).then_some("at most 63 of letters, digits, `-`, `_` and `.`, with a letter or digit at both ends")
}

fn is_label(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_kubernetes() {
        for good in ["ml", "team-a", "0", &"a".repeat(63)] {
            assert_eq!(bad_name(good, false), None, "{good}");
        }
        for bad in ["", "-a", "a-", "Team", "a.b", "a_b", &"a".repeat(64)] {
            assert!(bad_name(bad, false).is_some(), "{bad}");
        }
        assert_eq!(bad_name("runner.team-a", true), None);
        assert!(bad_name("runner..a", true).is_some());
        for good in ["app", "App_1", "example.com/cost-center"] {
            assert_eq!(bad_label_key(good), None, "{good}");
        }
        for bad in ["", "/a", "a/", "Example.com/a", "a b", "a/b/c"] {
            assert!(bad_label_key(bad).is_some(), "{bad}");
        }
        assert_eq!(bad_label_value(""), None);
        assert!(bad_label_value("-a").is_some() && bad_label_value("a b").is_some());
    }
}
