//! Words while an environment is made.

use prunella_environment::Progress;

use crate::{answer::note, args::Output, context::Context, present::count};

/// Tells people that making the environment takes a while, and why.
pub fn environment(context: &Context, told: &Progress) {
    if context.output == Output::Text {
        note(&words(told));
    }
}

fn words(told: &Progress) -> String {
    match told {
        Progress::Resolving { with } => {
            format!("environment: looking for exact versions with {with}; prunella.lock keeps them")
        }
        Progress::Waiting => "environment: another process makes the same one; waiting for it".to_owned(),
        Progress::Installing { packages, with } => {
            format!("environment: installing {} with {with}; the cache keeps them", count(*packages, "package"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_said_in_words() {
        assert_eq!(
            words(&Progress::Installing { packages: 1, with: "uv" }),
            "environment: installing 1 package with uv; the cache keeps them"
        );
        assert!(words(&Progress::Resolving { with: "pip" }).contains("exact versions with pip"));
        assert!(words(&Progress::Waiting).contains("another process"));
    }
}
