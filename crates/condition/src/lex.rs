//! From a text to words and signs, each with its place.

use std::sync::Arc;

use crate::{MAX_SOURCE_BYTES, MAX_TOKENS, parse::Mistake};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A name; `quoted` if it stood in backticks.
    Name {
        name: Arc<str>,
        quoted: bool,
    },
    /// A number without sign; it may be one more than the largest, for `-9223372036854775808`.
    Whole(u64),
    Decimal(f64),
    Text(Arc<str>),
    Sign(&'static str),
    End,
}

impl Token {
    /// Returns what a message calls it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Name { name, .. } => format!("`{name}`"),
            Self::Whole(_) | Self::Decimal(_) => "a number".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "its end".to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")", "[", "]", ",", ".",
    "{", "}",
];

/// Returns the words and signs of `source`, the last of which is its end.
pub(crate) fn lex(source: &str) -> Result<Vec<Placed>, Mistake> {
    if source.len() > MAX_SOURCE_BYTES {
        let problem = format!("a condition is longer than {MAX_SOURCE_BYTES} bytes");
        return Err(Mistake::new(0, source.len(), problem, "let a step decide, and read its output here"));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += source[at..].len() - source[at..].trim_start().len();
        if source[at..].starts_with("//") {
            at += source[at..].find('\n').unwrap_or(source.len() - at);
            continue;
        }
        if tokens.len() >= MAX_TOKENS {
            let problem = format!("a condition has more than {MAX_TOKENS} words and signs");
            return Err(Mistake::new(0, source.len(), problem, "let a step decide, and read its output here"));
        }
        let Some(first) = source[at..].chars().next() else {
            tokens.push(Placed { token: Token::End, start: source.len(), end: source.len() });
            return Ok(tokens);
        };
        let (token, end) = one(source, at, first)?;
        tokens.push(Placed { token, start: at, end });
        at = end;
    }
}

fn one(source: &str, at: usize, first: char) -> Result<(Token, usize), Mistake> {
    let rest = &source[at..];
    let raw = rest.strip_prefix(['r', 'R']).filter(|rest| rest.starts_with(['"', '\'']));
    if let Some(rest) = raw {
        return text(rest, at + 1, false);
    }
    match first {
        'a'..='z' | 'A'..='Z' | '_' => {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            Ok((Token::Name { name: rest[..length].into(), quoted: false }, at + length))
        }
        '`' => match rest[1..].find('`') {
            Some(0) | None => {
                Err(Mistake::new(at, at + 1, "a name in backticks is never closed, or empty".to_owned(), ""))
            }
            Some(length) => Ok((Token::Name { name: rest[1..=length].into(), quoted: true }, at + length + 2)),
        },
        '0'..='9' => number(rest, at),
        '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest, at),
        '"' | '\'' => text(rest, at, true),
        _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Ok((Token::Sign(sign), at + sign.len())),
            None => {
                let help = match first {
                    '=' => "two values are compared with `==`",
                    '&' => "both must hold: `&&`",
                    '|' => "one must hold: `||`",
                    '$' => "names stand here without `${{ }}`: `params.NAME`, `STEP.OUTPUT`",
                    _ => "",
                };
                let end = at + first.len_utf8();
                Err(Mistake::new(at, end, format!("`{first}` has no meaning in a condition"), help))
            }
        },
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Mistake> {
    let bytes = rest.as_bytes();
    let digits = |mut i: usize| {
        while bytes.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let wrong = |end: usize, help: &str| {
        let shown: String = rest[..end].chars().take(40).collect();
        Mistake::new(at, at + end, format!("`{shown}` is not a number that a condition can use"), help)
    };
    let mut end = digits(0);
    let mut whole = true;
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
        whole = false;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1 + sign);
            whole = false;
        }
    }
    if bytes.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len()).max(end + 1);
        return Err(wrong(length, "numbers are written in decimal, such as 30, 0.95 or 1e-3"));
    }
    let text = &rest[..end];
    if whole {
        let value = text.parse().ok().filter(|value| *value <= i64::MAX as u64 + 1);
        return value.map(|value| (Token::Whole(value), at + end)).ok_or_else(|| wrong(end, "it is too large"));
    }
    let value = text.parse().ok().filter(|value: &f64| value.is_finite());
    value.map(|value| (Token::Decimal(value), at + end)).ok_or_else(|| wrong(end, "it is too large"))
}

/// Reads a text in quotes that begins `rest`; `at` is where the quote stands.
fn text(rest: &str, at: usize, escapes: bool) -> Result<(Token, usize), Mistake> {
    let quote = rest.chars().next().unwrap_or('"');
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Token::Text(value.into()), at + i + 1)),
            '\n' => break,
            '\\' if escapes => {
                let escaped = chars.next().map(|(_, c)| c);
                let meant = match escaped {
                    Some('n') => Some('\n'),
                    Some('t') => Some('\t'),
                    Some('r') => Some('\r'),
                    Some(c @ ('\\' | '"' | '\'' | '`' | '?')) => Some(c),
                    Some('u') => unicode(&mut chars, 4),
                    Some('x') => unicode(&mut chars, 2),
                    _ => None,
                };
                let help = "escapes are \\n, \\t, \\r, \\\\, \\\", \\', \\xHH and \\uHHHH; r\"…\" has none";
                let problem = "an escape in a text is not understood".to_owned();
                value.push(meant.ok_or_else(|| Mistake::new(at + i, at + i + 1, problem, help))?);
            }
            c => value.push(c),
        }
    }
    Err(Mistake::new(at, at + 1, format!("a text that begins with {quote} is never closed"), ""))
}

fn unicode(chars: &mut impl Iterator<Item = (usize, char)>, digits: u32) -> Option<char> {
    let mut code = 0;
    for _ in 0..digits {
        code = code * 16 + chars.next()?.1.to_digit(16)?;
    }
    char::from_u32(code)
}
