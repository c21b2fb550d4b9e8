//! Licences, bans and duplicates of all dependencies, by the lists in `deny.toml`.
//!
//! A small subset of what cargo-deny does with the same file, without building it first.

use std::collections::BTreeMap;

use crate::workspace::Workspace;

/// The lists of `deny.toml` that are looked at.
#[derive(Debug, Default, PartialEq)]
pub struct Rules {
    /// SPDX identifiers that are fine.
    allow: Vec<String>,
    /// Packages that may not be used, but by those that are named with them.
    deny: Vec<(String, Vec<String>)>,
    /// Packages that may be there in several versions.
    skip: Vec<String>,
}

impl Rules {
    /// Reads `[licenses] allow`, `[bans] deny` and `[bans] skip`: lists of strings or of `{ name = "…", wrappers = ["…"] }`.
    pub fn read(text: &str) -> Self {
        let (mut rules, mut section, mut list) = (Self::default(), String::new(), String::new());
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'))
                && !name.contains('"')
            {
                section = name.to_owned();
                list.clear();
                continue;
            }
            if let Some((name, _)) = line.split_once('=')
                && !line.starts_with('{')
            {
                list = name.trim().to_owned();
            }
            let mut words = line.split('"').skip(1).step_by(2).map(str::to_owned);
            match (section.as_str(), list.as_str()) {
                ("licenses", "allow") => rules.allow.extend(words),
                // One package a line: its name, then who may use it.
                ("bans", "deny") => rules.deny.extend(words.next().map(|name| (name, words.collect()))),
                ("bans", "skip") => rules.skip.extend(words),
                _ => {}
            }
        }
        rules
    }
}

/// Returns every package that breaks a rule.
pub fn violations(workspace: &Workspace, rules: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &workspace.packages {
        versions.entry(&package.name).or_default().push(&package.version);
        if package.license.is_empty() {
            found.push(format!("`{}` declares no licence", package.name));
        } else if !allowed(&package.license, &rules.allow) {
            found.push(format!(
                "`{}` has the licence `{}`, which deny.toml does not allow",
                package.name, package.license
            ));
        }
        for need in &package.needs {
            let banned = rules.deny.iter().find(|(name, by)| name == need && !by.contains(&package.name));
            if banned.is_some() {
                found.push(format!("`{need}` is banned in deny.toml, and `{}` uses it", package.name));
            }
        }
    }
    for (name, versions) in versions {
        if versions.len() > 1 && !rules.skip.iter().any(|skip| skip == name) {
            found.push(format!("`{name}` is there in the versions {}", versions.join(", ")));
        }
    }
    found
}

/// Returns whether an SPDX expression can be satisfied with these licences; the old `A/B` means `A OR B`.
fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace("+WITH+", " WITH ")).collect();
    let (ok, rest) = alternatives(&words, allow);
    ok && rest.is_empty()
}

fn alternatives<'a>(words: &'a [String], allow: &[String]) -> (bool, &'a [String]) {
    let (mut ok, mut rest) = all_of(words, allow);
    while rest.first().is_some_and(|word| word == "OR") {
        let (other, after) = all_of(&rest[1..], allow);
        (ok, rest) = (ok || other, after);
    }
    (ok, rest)
}

fn all_of<'a>(words: &'a [String], allow: &[String]) -> (bool, &'a [String]) {
    let (mut ok, mut rest) = one(words, allow);
    while rest.first().is_some_and(|word| word == "AND") {
        let (other, after) = one(&rest[1..], allow);
        (ok, rest) = (ok && other, after);
    }
    (ok, rest)
}

fn one<'a>(words: &'a [String], allow: &[String]) -> (bool, &'a [String]) {
    match words {
        [open, inside @ ..] if open == "(" => {
            let (ok, rest) = alternatives(inside, allow);
            (ok, rest.get(1..).unwrap_or_default())
        }
        [name, rest @ ..] => (allow.contains(name), rest),
        [] => (false, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let path = crate::workspace::root().join("deny.toml");
        Rules::read(&std::fs::read_to_string(path).expect("deny.toml"))
    }

    #[test]
    fn every_dependency_may_be_used() {
        let workspace = Workspace::read().expect("cargo metadata");
        assert!(workspace.packages.len() > 50, "dependencies are looked at");
        assert_eq!(violations(&workspace, &rules()), Vec::<String>::new());
    }

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let allow = ["MIT".to_owned(), "Unicode-3.0".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for yes in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR MIT) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allowed(yes, &allow), "{yes}");
        }
        for no in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND BSD-2-Clause", "Apache-2.0", "MIT MIT", ""] {
            assert!(!allowed(no, &allow), "{no}");
        }
    }

    #[test]
    fn the_lists_of_deny_toml_are_found() {
        let text = "[licenses]\nallow = [\n  \"MIT\", # fine\n]\n[bans]\nmultiple-versions = \"deny\"\ndeny = [{ name = \"openssl\" }]\n";
        let expected = Rules { allow: vec!["MIT".into()], deny: vec![("openssl".into(), vec![])], skip: vec![] };
        assert_eq!(Rules::read(text), expected);
        assert!(rules().deny.len() > 2 && rules().allow.len() > 2);
    }
}
