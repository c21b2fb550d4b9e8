//! The last words of an installer: without credentials, short, and sorted by what they mean.

const MOST_LINES: usize = 12;
const MOST_CHARS: usize = 2000;

/// What an installer's failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Network,
    Hash,
    DiskFull,
    Requirement,
    Other,
}

/// Returns `text` with the user information of every URL replaced by `***`.
pub(crate) fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let authority = after.find(|c: char| c.is_whitespace() || "/'\"<>`?#".contains(c)).unwrap_or(after.len());
        let host = match after[..authority].rfind('@') {
            Some(sign) => {
                clean.push_str("***@");
                sign + 1
            }
            None => 0,
        };
        clean.push_str(&after[host..authority]);
        rest = &after[authority..];
    }
    clean.push_str(rest);
    clean
}

/// Returns whether a URL in `text` carries a password or token; a bare user as in `ssh://git@host` is none, and neither
/// is a reference to a variable, which stays one in the lock.
pub(crate) fn carries_credentials(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let ssh = rest[..at].ends_with("ssh");
        let after = &rest[at + 3..];
        let authority = after.find(|c: char| c.is_whitespace() || "/'\"?#".contains(c)).unwrap_or(after.len());
        if let Some(sign) = after[..authority].rfind('@') {
            let user = &after[..sign];
            let secret = user.split(':').any(|part| !part.is_empty() && !is_variable(part));
            if secret && (!ssh || user.contains(':')) {
                return true;
            }
        }
        rest = after;
    }
    false
}

fn is_variable(text: &str) -> bool {
    text.strip_prefix("${").and_then(|text| text.strip_suffix('}')).is_some_and(|name| !name.contains(['$', '{', '}']))
}

/// Returns the last lines of `text` that say something, without credentials; `(no message)` if there are none.
pub(crate) fn last_words(text: &str) -> String {
    let clean = redact(text);
    let mut lines: Vec<&str> = clean
        .lines()
        .map(str::trim_end)
        .filter(|line| {
            !line.trim().is_empty() && !line.starts_with("[notice]") && !line.starts_with("WARNING: Retrying")
        })
        .collect();
    if lines.is_empty() {
        // Nothing but retries: the last of them says why.
        lines = clean.lines().map(str::trim_end).rfind(|line| !line.trim().is_empty()).into_iter().collect();
    }
    let tail = lines[lines.len().saturating_sub(MOST_LINES)..].join("\n");
    match tail.char_indices().nth_back(MOST_CHARS) {
        _ if tail.is_empty() => "(no message)".to_owned(),
        Some((at, _)) => format!("…{}", &tail[at..]),
        None => tail,
    }
}

/// Returns what the messages of `pip` or `uv` say is wrong.
///
/// The network comes first: pip ends with "no matching distribution" when it could not reach the index at all.
pub(crate) fn cause(text: &str) -> Cause {
    const SIGNS: [(Cause, &[&str]); 4] = [
        (Cause::DiskFull, &["No space left on device", "os error 28", "[Errno 28]", "Disk quota exceeded"]),
        (
            Cause::Network,
            &[
                "NewConnectionError",
                "ConnectTimeoutError",
                "ReadTimeoutError",
                "Max retries exceeded",
                "Temporary failure in name resolution",
                "Name or service not known",
                "ProxyError",
                "SSLError",
                "CERTIFICATE_VERIFY_FAILED",
                "invalid peer certificate",
                "error sending request",
                "Connection refused",
                "Connection reset",
                "operation timed out",
                "dns error",
                "407 Proxy Authentication Required",
                "503 Service Unavailable",
                "503 Server Error",
                "429 Too Many Requests",
                "Network connectivity is disabled",
            ],
        ),
        (Cause::Hash, &["DO NOT MATCH THE HASHES", "Hash mismatch"]),
        (
            Cause::Requirement,
            &[
                "No matching distribution found",
                "Could not find a version that satisfies",
                "ResolutionImpossible",
                "conflicting dependencies",
                "No solution found when resolving",
                "Invalid requirement",
                "Couldn't parse requirement",
                "was not found in the package registry",
            ],
        ),
    ];
    SIGNS
        .iter()
        .find(|(_, signs)| signs.iter().any(|sign| text.contains(sign)))
        .map_or(Cause::Other, |(cause, _)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_index_urls_are_never_shown() {
        for (text, clean) in [
            ("see https://me:s3cret@host/simple now", "see https://***@host/simple now"),
            ("a://t@h b://x:y@z:8/p@q", "a://***@h b://***@z:8/p@q"),
            ("'https://p%40ss:w@rd@host'", "'https://***@host'"),
            ("https://host/a@b", "https://host/a@b"),
            ("nothing", "nothing"),
            ("https://me:s3cret@", "https://***@"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn a_variable_or_a_bare_ssh_user_is_no_credential() {
        for (text, secret) in [
            ("--index-url https://me:pw@host/simple", true),
            ("--index-url https://token@host/simple", true),
            ("--index-url https://${USER}:${TOKEN}@host/simple", false),
            ("--index-url https://${USER}:pw@host/simple", true),
            ("x @ git+ssh://git@host/repo@0123", false),
            ("x @ git+ssh://git:pw@host/repo@0123", true),
            ("--index-url https://host/simple", false),
            ("a://h b://u:p@h", true),
        ] {
            assert_eq!(carries_credentials(text), secret, "{text}");
        }
    }

    #[test]
    fn last_words_are_the_end_and_bounded() {
        let text = (0..100).map(|n| format!("line {n}\n\n")).collect::<String>();
        let words = last_words(&text);
        assert!(words.starts_with("line 88\n") && words.ends_with("line 99"), "{words}");
        assert_eq!(last_words(" \n"), "(no message)");
        assert!(last_words(&"ä".repeat(10_000)).chars().count() <= MOST_CHARS + 2);
        assert_eq!(last_words("WARNING: Retrying x\nERROR: no"), "ERROR: no");
        assert_eq!(last_words("WARNING: Retrying x"), "WARNING: Retrying x");
    }

    #[test]
    fn a_network_failure_is_not_taken_for_a_wrong_requirement() {
        let pip = "WARNING: Retrying after connection broken by 'NewConnectionError('\n\
                   ERROR: No matching distribution found for six";
        assert_eq!(cause(pip), Cause::Network);
        assert_eq!(cause("ERROR: No matching distribution found for six==99"), Cause::Requirement);
        assert_eq!(cause("error: Failed to fetch\n  cause: dns error"), Cause::Network);
        assert_eq!(cause("error: No solution found when resolving dependencies"), Cause::Requirement);
        assert_eq!(cause("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM"), Cause::Hash);
        assert_eq!(cause("OSError: [Errno 28] No space left on device"), Cause::DiskFull);
        assert_eq!(cause("gcc failed"), Cause::Other);
    }
}
