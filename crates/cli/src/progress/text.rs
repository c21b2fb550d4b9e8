//! Text of others on our lines: nothing in it moves the cursor, and it ends where the line ends.

use unicode_width::UnicodeWidthChar;

/// What a driver does that found the log of its run damaged.
pub const AFTER_DAMAGE: &str = "what it told from there on is taken from the store's records";

/// The most that is kept of a line.
const MOST: usize = 400;

/// Returns what a program's line says: without escape sequences and control characters, of a progress bar its last state.
pub fn line(text: &str) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    let text = text.rsplit('\r').next().unwrap_or(text);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // A control sequence ends with its first letter or other final character.
                Some('[') => _ = chars.by_ref().find(|c| ('@'..='~').contains(c)),
                // A title or the like ends with BEL.
                Some(']') => _ = chars.by_ref().find(|c| *c == '\u{7}'),
                _ => {}
            },
            '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
        if out.len() > MOST {
            break;
        }
    }
    out.trim().to_owned()
}

/// Returns a told progress value in words: `{"epoch": 3, "loss": 0.2}` is `epoch 3 · loss 0.2`.
pub fn value(told: &serde_json::Value) -> String {
    use serde_json::Value;
    let text = match told {
        Value::String(text) => text.clone(),
        Value::Number(number) => format!("progress {number}"),
        Value::Object(fields) => {
            let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {}", word(value))).collect();
            fields.join(" · ")
        }
        other => other.to_string(),
    };
    line(&text)
}

/// Returns how many columns the text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Returns as much of the text as fits into `columns`; what was cut ends with `…`.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let needs = c.width().unwrap_or(0);
        if needs > left {
            break;
        }
        left -= needs;
        out.push(c);
    }
    let mut out = out.trim_end().to_owned();
    if columns > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_move_the_cursor() {
        assert_eq!(line("10%\r50%\r\u{1b}[31mepoch\u{1b}[0m\t3\u{7}\r\n"), "epoch 3");
        assert_eq!(line("a\u{1b}[2Jb\u{1b}[1;1Hc\u{1b}]0;title\u{7}d\u{1b}cf\u{9b}2J"), "abcdf2J");
        assert!(line(&"x".repeat(100_000)).len() <= MOST + 4);
        assert!(!line("\u{1b}[\u{1b}[3\u{1b}").contains('\u{1b}'));
    }

    #[test]
    fn told_progress_is_shown_in_words() {
        assert_eq!(value(&serde_json::json!({ "epoch": 3, "of": "30" })), "epoch 3 · of 30");
        assert_eq!(value(&serde_json::json!(7)), "progress 7");
        assert_eq!(value(&serde_json::json!("half\u{1b}[2J way")), "half way");
    }

    #[test]
    fn text_is_cut_where_the_terminal_ends_whatever_its_characters() {
        assert_eq!(fit("epoch 18/30", 11), "epoch 18/30");
        assert_eq!(fit("epoch 18/30", 8), "epoch 1…");
        assert_eq!((fit("学習中です", 5).as_str(), width("学習中です")), ("学習…", 10));
        assert_eq!((fit("abc", 1).as_str(), fit("abc", 0).as_str()), ("…", ""));
    }
}
