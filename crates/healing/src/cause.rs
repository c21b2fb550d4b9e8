//! The lines that say why a program failed.

/// Returns the line without colour codes, and of a progress bar only its last state.
pub(crate) fn clean(line: &str) -> String {
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
        } else if chars.next_if_eq(&'[').is_some() {
            // A control sequence ends with its first letter.
            while chars.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            chars.next();
        }
    }
    out
}

const TRACEBACK: &str = "Traceback (most recent call last)";
const MOST: usize = 8;

/// Words of lines that often say what is wrong, for programs that are neither Python nor Rust.
const SIGNS: [&str; 12] = [
    "error:",
    "error ",
    "fatal",
    "exception",
    "assert",
    "no such file",
    "permission denied",
    "not found",
    "killed",
    "segmentation fault",
    "core dumped",
    "cannot ",
];

/// Returns the exceptions and panics among the lines: what ended the program, if it says so.
pub(crate) fn exceptions(stderr_tail: &[String]) -> Vec<String> {
    found(stderr_tail).into_iter().map(|(_, line)| line).collect()
}

/// Each exception or panic with the frame it came from.
fn found(stderr_tail: &[String]) -> Vec<(Option<String>, String)> {
    let lines: Vec<String> = stderr_tail.iter().map(|line| clean(line)).collect();
    let mut all = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        if let Some(at) = line.find(TRACEBACK) {
            // Launchers put `[rank0]: ` before every line.
            let prefix = &line[..at];
            let mut frame = None;
            for later in &lines[i + 1..] {
                let text = later.strip_prefix(prefix).unwrap_or(later);
                if text.trim_start().starts_with("File \"") {
                    frame = Some(text.trim().to_owned());
                } else if !text.is_empty() && !text.starts_with([' ', '\t', '+', '|']) {
                    all.push((frame, text.trim_end().to_owned()));
                    break;
                }
            }
        } else if let Some(at) = line.find("panicked at") {
            // Since Rust 1.73 the message stands on the next line.
            let message = lines.get(i + 1).filter(|_| line.ends_with(':')).map_or("", |next| next.trim());
            all.push((None, format!("{} {message}", line[at..].trim_end()).trim_end().to_owned()));
        }
    }
    all
}

/// Returns the lines to show a person: exceptions with the frame they came from, or panics, else what looks like an
/// error, else the last lines; at most eight.
pub fn root_cause(stderr_tail: &[String]) -> Vec<String> {
    let mut lines: Vec<String> =
        found(stderr_tail).into_iter().flat_map(|(frame, line)| frame.into_iter().chain([line])).collect();
    if lines.is_empty() {
        let spoken: Vec<String> =
            stderr_tail.iter().map(|line| clean(line).trim().to_owned()).filter(|line| !line.is_empty()).collect();
        let looks_wrong = |line: &&String| {
            let line = line.to_lowercase();
            SIGNS.iter().any(|sign| line.contains(sign))
        };
        lines = spoken.iter().filter(looks_wrong).cloned().collect();
        if lines.is_empty() {
            lines = spoken;
        }
        lines.drain(..lines.len().saturating_sub(3));
    }
    lines.drain(..lines.len().saturating_sub(MOST));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> Vec<String> {
        root_cause(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_python_exception_is_shown_with_its_frame() {
        let text = "epoch 3\nTraceback (most recent call last):\n  File \"train.py\", line 9, in <module>\n    main()\n  \
                    File \"train.py\", line 5, in main\n    x[9]\nIndexError: list index out of range\nException ignored in: x";
        assert_eq!(cause(text), ["File \"train.py\", line 5, in main", "IndexError: list index out of range"]);
    }

    #[test]
    fn a_chain_shows_the_first_exception_too_and_ranks_are_no_obstacle() {
        let text = "[rank0]: Traceback (most recent call last):\n[rank0]:   File \"a.py\", line 1, in f\n[rank0]: KeyError: 'lr'\n\
                    \n[rank0]: The above exception was the direct cause of the following exception:\n\n\
                    [rank0]: Traceback (most recent call last):\n[rank0]:   File \"b.py\", line 2, in g\n[rank0]: ConfigError: bad";
        let lines = cause(text);
        assert_eq!(lines[1], "KeyError: 'lr'");
        assert_eq!(lines[3], "ConfigError: bad");
    }

    #[test]
    fn a_panic_is_shown_with_its_message() {
        let lines =
            cause("thread 'main' panicked at src/main.rs:3:5:\nindex out of bounds\nnote: run with RUST_BACKTRACE=1");
        assert_eq!(lines, ["panicked at src/main.rs:3:5: index out of bounds"]);
    }

    #[test]
    fn colours_and_progress_bars_are_not_part_of_a_cause() {
        assert_eq!(cause("10%\r50%\r\u{1b}[31merror: no disk\u{1b}[0m"), ["error: no disk"]);
        assert_eq!(cause("one\ntwo\n\nthree\nfour"), ["two", "three", "four"]);
        assert!(cause("").is_empty());
    }
}
