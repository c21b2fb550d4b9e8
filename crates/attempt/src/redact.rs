//! Keeping secrets out of what is written (I11).

/// Replaces the values of secrets, raw, base64 and URL-encoded, in captured output.
#[derive(Debug, Default)]
pub struct Redactor {
    patterns: Vec<(Vec<u8>, String)>,
}

/// Values shorter than this would blacken ordinary text.
const SHORTEST: usize = 4;
/// The same for a line of a value of many lines: output is looked through line by line.
const SHORTEST_LINE: usize = 8;
/// How wide the usual tools write base64.
const WIDTHS: [usize; 2] = [76, 64];

impl Redactor {
    /// Returns the redactor of these secrets: name and value.
    pub fn new<'a>(secrets: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut patterns = Vec::new();
        for (name, value) in secrets {
            let value = value.trim_end_matches('\n');
            if value.len() < SHORTEST {
                continue;
            }
            for form in [value.as_bytes().to_vec(), percent(value), percent(value).to_ascii_lowercase()] {
                patterns.push((form, format!("[{name}]")));
            }
            if value.contains('\n') {
                let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
                patterns.extend(lines.map(|line| (line.as_bytes().to_vec(), format!("[{name}]"))));
            }
            // Base64 of a secret inside a longer text starts at one of three offsets.
            for skip in 0..3 {
                patterns.push((base64_core(value.as_bytes(), skip), format!("[{name}]")));
            }
            let whole = base64_core(value.as_bytes(), 0);
            for width in WIDTHS.into_iter().filter(|width| whole.len() > *width) {
                let pieces = whole.chunks(width).filter(|piece| piece.len() >= SHORTEST_LINE);
                patterns.extend(pieces.map(|piece| (piece.to_vec(), format!("[{name}]"))));
            }
        }
        patterns.retain(|(pattern, _)| pattern.len() >= SHORTEST);
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        patterns.dedup();
        Self { patterns }
    }

    /// Returns whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the length of the longest form of any secret.
    pub fn longest(&self) -> usize {
        self.patterns.first().map_or(0, |(pattern, _)| pattern.len())
    }

    /// Returns the bytes without any of the secrets.
    pub fn redact<'a>(&self, bytes: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        let mut out = std::borrow::Cow::Borrowed(bytes);
        for (pattern, name) in &self.patterns {
            if let Some(replaced) = replace(&out, pattern, name.as_bytes()) {
                out = std::borrow::Cow::Owned(replaced);
            }
        }
        out
    }

    /// Returns the text without any of the secrets.
    pub fn redact_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.redact(text.as_bytes())).into_owned()
    }
}

fn replace(bytes: &[u8], pattern: &[u8], with: &[u8]) -> Option<Vec<u8>> {
    let first = bytes.windows(pattern.len()).position(|window| window == pattern)?;
    let mut out = bytes[..first].to_vec();
    let mut at = first;
    while at < bytes.len() {
        if bytes[at..].starts_with(pattern) {
            out.extend_from_slice(with);
            at += pattern.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

fn percent(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// Returns the base64 characters that depend on `value` alone when `skip` other bytes stand before it.
fn base64_core(value: &[u8], skip: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut padded = vec![0; skip];
    padded.extend_from_slice(value);
    let bits: usize = padded.len() * 8;
    let bit = |i: usize| padded.get(i / 8).is_some_and(|byte| byte >> (7 - i % 8) & 1 == 1);
    let (from, to) = ((skip * 8).div_ceil(6), bits / 6);
    (from..to).map(|c| ALPHABET[(0..6).fold(0, |n, i| n << 1 | usize::from(bit(c * 6 + i)))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_usual_dress() {
        let redactor = Redactor::new([("TOKEN", "s3cr=t/value!")].into_iter());
        // base64("user:s3cr=t/value!") and base64("ab" + secret)
        for text in ["x s3cr=t/value! y", "a=s3cr%3Dt%2Fvalue%21&b", "dXNlcjpzM2NyPXQvdmFsdWUh", "YWJzM2NyPXQvdmFsdWUh"]
        {
            let out = redactor.redact_text(text);
            assert!(out.contains("[TOKEN]"), "{text} → {out}");
        }
        assert_eq!(redactor.redact_text("nothing here"), "nothing here");
    }

    #[test]
    fn a_secret_of_many_lines_is_found_line_by_line() {
        let value = format!("-----BEGIN KEY-----\n{}\n{}\n-----END KEY-----\n", "Aa1+".repeat(16), "Zz9/".repeat(10));
        let redactor = Redactor::new([("KEY", value.as_str())].into_iter());
        assert_eq!(redactor.redact_text(&"Aa1+".repeat(16)), "[KEY]");
        assert_eq!(redactor.redact_text(&format!("x {} y", "Zz9/".repeat(10))), "x [KEY] y");
        let base64 = base64_core(value.trim_end().as_bytes(), 0);
        for width in WIDTHS {
            for line in base64.chunks(width) {
                assert_eq!(redactor.redact(line), b"[KEY]".as_slice(), "{width}");
            }
        }
    }

    #[test]
    fn a_word_of_three_letters_is_not_blackened() {
        assert!(Redactor::new([("N", "abc")].into_iter()).is_empty());
    }
}
