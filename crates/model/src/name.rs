//! Names of pipelines, steps, ports, parameters and data: one type each, so that they cannot be mixed up.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name may not be empty")]
    Empty,
    /// The text has more than 64 characters.
    #[error("`{0}` is longer than 64 characters")]
    TooLong(String),
    /// The text has a character that names do not have.
    #[error("`{name}` has `{character}` in it; a name is `[a-z][a-z0-9_-]*`")]
    Character {
        /// The text.
        name: String,
        /// The first character that is out of place.
        character: char,
    },
}

fn check(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > 64 {
        return Err(NameError::TooLong(text.to_owned()));
    }
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
    let wrong = if first.is_ascii_lowercase() {
        // Most are right, and there are many.
        let all = text.bytes().all(fits);
        if all { None } else { text.chars().find(|c| !u8::try_from(*c).is_ok_and(fits)) }
    } else {
        Some(first)
    };
    match wrong {
        None => Ok(()),
        Some(character) => Err(NameError::Character { name: text.to_owned(), character }),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name if the text is `[a-z][a-z0-9_-]*`, at most 64 characters.
            ///
            /// # Errors
            /// [`NameError`] names the first thing that is wrong.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(text.into()))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the name as part of an environment variable: upper-case, `-` as `_`.
            pub fn to_variable(&self) -> String {
                self.0.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_uppercase() }).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// The name of a pipeline.
    PipelineName;
    /// The name of a step as written in the pipeline file.
    StepName;
    /// The name of an input or output of a step.
    PortName;
    /// The name of a parameter.
    ParamName;
    /// The name of a data set.
    DataName;
}

/// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EnvName(String);

impl EnvName {
    /// Returns the name if the text can be an environment variable of a shell.
    ///
    /// # Errors
    /// [`NameError`] names the first character that is out of place.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let wrong = if first.is_ascii_digit() { Some(first) } else { text.chars().find(|c| !ok(*c)) };
        match wrong {
            None => Ok(Self(text.to_owned())),
            Some(character) => Err(NameError::Character { name: text.to_owned(), character }),
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for EnvName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_the_door() {
        assert!(StepName::new("train-2_x").is_ok());
        assert_eq!(StepName::new(""), Err(NameError::Empty));
        for bad in ["Train", "2x", "-a", "a.b", "a b", "ä"] {
            assert!(matches!(StepName::new(bad), Err(NameError::Character { .. })), "{bad}");
        }
        assert!(matches!(StepName::new(&"a".repeat(65)), Err(NameError::TooLong(_))));
    }

    #[test]
    fn variables_are_upper_case() {
        assert_eq!(PortName::new("train-set_1").map(|n| n.to_variable()).as_deref(), Ok("TRAIN_SET_1"));
    }
}
