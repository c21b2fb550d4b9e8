//! When two failures are the same failure.

use prunella_model::{Digest, Encoder};

use crate::{Ending, root_cause};

/// Returns the digest of how a program ended and of its root cause lines without what changes from try to try.
///
/// Removed are numbers, times, hexadecimal addresses and digests, and the folders of paths (a workspace has a new one
/// for every epoch). Two failures of one cause have one signature; the converse is only likely.
pub fn signature(stderr_tail: &[String], ended: &Ending) -> Digest {
    let mut encoder = Encoder::new("prunella/failure/1");
    match ended {
        Ending::Exited { code } => encoder.text("exited").integer(i128::from(*code)),
        Ending::Signaled { signal, .. } => encoder.text("signaled").integer(i128::from(*signal)),
        Ending::SpawnFailed { reason } => encoder.text("spawn-failed").text(&normalised(reason)),
        Ending::SupervisorDied => encoder.text("supervisor-died"),
        Ending::NeverStarted => encoder.text("never-started"),
    };
    for line in root_cause(stderr_tail) {
        encoder.text(&normalised(&line));
    }
    encoder.finish()
}

/// Cuts the line into words, drops the folders of paths, and writes `#` for every word or part that is a number.
fn normalised(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | '~');
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, after) = rest.split_at(end);
        rest = after;
        if !is_word(first) {
            // Runs of blanks and of `12:30:01,5` become one.
            let repeats = (first.is_whitespace() && out.ends_with(' '))
                || (matches!(first, ':' | ',') && out.ends_with('#') && rest.starts_with(|c: char| c.is_ascii_digit()));
            if !repeats {
                out.push(if first.is_whitespace() { ' ' } else { first });
            }
            continue;
        }
        let part = number_free(last_segment(word));
        if !(part == "#" && out.ends_with('#')) {
            out.push_str(&part);
        }
    }
    out.trim().to_owned()
}

/// `/tmp/tmpab12/data.csv` → `data.csv`; of a name that a program made up for a temporary file, `tmp#`.
fn last_segment(word: &str) -> &str {
    if !word.contains('/') {
        return word;
    }
    let name = word.trim_end_matches('/').rsplit('/').next().unwrap_or(word);
    let parent = word.trim_end_matches('/').rsplit('/').nth(1).unwrap_or("");
    if name.starts_with("tmp") || matches!(parent, "tmp" | "shm") { "tmp#" } else { name }
}

fn number_free(word: &str) -> String {
    let digest_like = |w: &str| {
        w.len() >= 8 && w.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-') && w.bytes().any(|c| c.is_ascii_digit())
    };
    if word.starts_with("0x") || word.starts_with("0X") || digest_like(word) {
        return "#".to_owned();
    }
    let mut out = String::with_capacity(word.len());
    let mut in_number = false;
    for c in word.chars() {
        // `1.5e-3`, `2024-01-02T03`: what joins digits belongs to the number.
        if c.is_ascii_digit() || (in_number && matches!(c, '.' | '-')) {
            if !in_number {
                out.push('#');
            }
            in_number = true;
        } else {
            in_number = false;
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Digest {
        signature(&[line.to_owned()], &Ending::Exited { code: 1 })
    }

    #[test]
    fn what_changes_from_try_to_try_is_not_part_of_a_signature() {
        for (one, two) in [
            ("KeyError: 17", "KeyError: 23"),
            ("error: at 2024-01-02 03:04:05,678 lost", "error: at 2025-11-30 13:14:15,9 lost"),
            ("error: object at 0x7f3a9c", "error: object at 0x55d0e1aa"),
            ("error: /work/a/1/data.csv is bad", "error: /other/b/2/data.csv is bad"),
            ("error: /tmp/tmpa8s7/x.csv", "error: /tmp/tmpzz91/x.csv"),
            ("error: no /tmp/qwerty", "error: no /tmp/asdf"),
            ("error: run 0193c5aa-0b5e-7bbb-8000-aabbccddeeff", "error: run 0193c5ff-1b5e-7ccc-9000-00bbccddeeff"),
            ("error: loss 1.5 at step 10", "error: loss 0.25 at step 1000"),
        ] {
            assert_eq!(of(one), of(two), "{} | {}", normalised(one), normalised(two));
        }
    }

    #[test]
    fn other_causes_and_other_ends_are_other_signatures() {
        assert_ne!(of("KeyError: 'a'"), of("KeyError: 'b'"));
        assert_ne!(of("error: /a/x.csv"), of("error: /a/y.csv"));
        let tail = ["KeyError: 'a'".to_owned()];
        assert_ne!(of(&tail[0]), signature(&tail, &Ending::Exited { code: 2 }));
        assert_ne!(of(&tail[0]), signature(&tail, &Ending::Signaled { signal: 1, by_us: None }));
    }
}
