//! What a YAML scalar is: the core schema of YAML 1.2, so `no` and `on` are text.

/// The meaning of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    /// The number, unless it does not fit.
    Integer(Option<i64>),
    Decimal,
    Text,
}

impl Scalar {
    /// Returns what `text` means without quotes.
    pub fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Self::Decimal,
            _ => {}
        }
        if let Some(digits) = text.strip_prefix("0x")
            && is_all(digits, |b| b.is_ascii_hexdigit())
        {
            return Self::Integer(i64::from_str_radix(digits, 16).ok());
        }
        if let Some(digits) = text.strip_prefix("0o")
            && is_all(digits, |b| (b'0'..=b'7').contains(&b))
        {
            return Self::Integer(i64::from_str_radix(digits, 8).ok());
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if is_all(unsigned, |b| b.is_ascii_digit()) {
            return Self::Integer(text.parse().ok());
        }
        if is_decimal(unsigned) { Self::Decimal } else { Self::Text }
    }

    /// Returns its name for a message.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Decimal => "a decimal number",
            Self::Text => "text",
        }
    }
}

/// Returns a decimal of YAML as a number of JSON, which wants digits on both sides of the point and no `+` before it.
///
/// Nothing for what is no number of JSON: infinity and not-a-number. What is one already stays as it is.
pub(crate) fn json_number(text: &str) -> Option<String> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !is_decimal(unsigned) || unsigned.starts_with(".i") || unsigned.starts_with(".I") {
        return None;
    }
    let at = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(at);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, "")) => (whole, ".0".to_owned()),
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (mantissa, String::new()),
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Some(format!("{sign}{whole}{fraction}{exponent}"))
}

fn is_all(text: &str, test: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(test)
}

fn is_decimal(unsigned: &str) -> bool {
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| is_all(exponent, |b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_means_what_yaml_1_2_says() {
        use Scalar::{Bool, Decimal, Integer, Null, Text};
        let table = [
            ("", Null),
            ("~", Null),
            ("true", Bool(true)),
            ("no", Text),
            ("on", Text),
            ("7", Integer(Some(7))),
            ("-7", Integer(Some(-7))),
            ("+7", Integer(Some(7))),
            ("0x1F", Integer(Some(31))),
            ("0o17", Integer(Some(15))),
            ("99999999999999999999", Integer(None)),
            ("0.5", Decimal),
            (".5", Decimal),
            ("5.", Decimal),
            ("1e-4", Decimal),
            ("-.inf", Decimal),
            (".nan", Decimal),
            (".", Text),
            ("e5", Text),
            ("1e", Text),
            ("-", Text),
            ("1_000", Text),
            ("12:30", Text),
            ("v1", Text),
        ];
        for (text, meaning) in table {
            assert_eq!(Scalar::of_plain(text), meaning, "{text:?}");
        }
    }

    #[test]
    fn decimals_become_numbers_of_json() {
        let table = [
            (".1", Some("0.1")),
            ("-.5", Some("-0.5")),
            ("+.5e3", Some("0.5e3")),
            ("5.", Some("5.0")),
            ("5.e-3", Some("5.0e-3")),
            ("00.50", Some("0.50")),
            ("1E+5", Some("1E+5")),
            ("0.10", Some("0.10")),
            ("-.inf", None),
            (".INF", None),
            (".nan", None),
            ("x", None),
        ];
        for (text, number) in table {
            assert_eq!(json_number(text).as_deref(), number, "{text:?}");
            assert!(number.is_none_or(prunella_model::Json::is_number), "{text:?}");
        }
    }
}
