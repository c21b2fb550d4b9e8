//! Dependencies point down only (ARCHITECTURE.md, Crates).

use crate::workspace::{Package, Workspace};

/// The places from the top to the bottom. A crate may be built with crates of lower places only.
const PLACES: [&[&str]; 11] = [
    &["prunella"],
    &["prunella-chaos", "prunella-cluster", "prunella-rehearsal", "prunella-telemetry", "prunella-web"],
    &["prunella-engine", "prunella-lineage", "prunella-lint"],
    &["prunella-attempt"],
    &["prunella-environment", "prunella-journal", "prunella-manifest"],
    &[
        "prunella-condition",
        "prunella-healing",
        "prunella-notices",
        "prunella-process",
        "prunella-remote",
        "prunella-store",
    ],
    &["prunella-faults"],
    &["prunella-objects"],
    &["prunella-sys"],
    &["prunella-interruptions", "prunella-model"],
    &[],
];

/// Crates that wrap the traits of others; only tests may be built with them.
const FOR_TESTS: [&str; 3] = ["prunella-bucketkit", "prunella-testkit", "prunella-simulation"];

/// What the innermost crates may be built with: nothing that reaches out.
const PURE: [(&str, &[&str]); 4] = [
    ("prunella-interruptions", &["libm", "serde_json", "thiserror"]),
    ("prunella-model", &["blake3", "indexmap", "serde", "serde_json", "thiserror", "unicode-normalization"]),
    ("prunella-condition", &["prunella-model", "serde_json", "thiserror"]),
    ("prunella-healing", &["prunella-interruptions", "prunella-model", "serde", "serde_json", "thiserror"]),
];

/// Returns every dependency that points up, sideways or out.
pub fn violations(workspace: &Workspace) -> Vec<String> {
    let ours: Vec<&Package> = workspace.ours().filter(|package| package.name != "xtask").collect();
    let mut found = Vec::new();
    for package in ours {
        let tests_only = FOR_TESTS.contains(&package.name.as_str());
        let place = place_of(&package.name);
        if place.is_none() && !tests_only {
            found.push(format!("`{}` has no place: add it to PLACES and to ARCHITECTURE.md", package.name));
        }
        for need in package.needs.iter().filter(|need| need.starts_with("prunella")) {
            match (place, place_of(need)) {
                (Some(from), Some(to)) if to > from => {}
                (None, Some(_)) if tests_only => {}
                (None, None) if tests_only && FOR_TESTS.contains(&need.as_str()) => {}
                (Some(_), Some(_)) => {
                    found.push(format!("`{}` may not be built with `{need}`: not below it", package.name))
                }
                _ => found.push(format!("`{}` may not be built with `{need}`: it is for tests", package.name)),
            }
        }
        for (pure, allowed) in PURE.iter().filter(|(pure, _)| *pure == package.name) {
            let outward = package.needs.iter().filter(|need| !allowed.contains(&need.as_str()));
            found.extend(outward.map(|need| format!("`{pure}` is pure and may not be built with `{need}`")));
        }
    }
    found
}

fn place_of(name: &str) -> Option<usize> {
    PLACES.iter().position(|place| place.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(packages: &[(&str, &[&str])]) -> Workspace {
        let packages = packages.iter().map(|(name, needs)| Package {
            name: (*name).to_owned(),
            version: "0.1.0".to_owned(),
            license: String::new(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            ours: true,
        });
        Workspace { packages: packages.collect() }
    }

    #[test]
    fn dependencies_point_down_only() {
        let workspace = Workspace::read().expect("cargo metadata");
        assert!(workspace.ours().count() >= 13, "all crates are looked at");
        assert_eq!(violations(&workspace), Vec::<String>::new());
    }

    #[test]
    fn up_sideways_tests_and_the_unknown_are_found() {
        let found = |packages: &[(&str, &[&str])]| violations(&workspace(packages)).len();
        assert_eq!(found(&[("prunella-engine", &["prunella-model", "tokio"])]), 0);
        assert_eq!(found(&[("prunella-store", &["prunella-engine"])]), 1, "up");
        assert_eq!(found(&[("prunella-store", &["prunella-process"])]), 1, "sideways");
        assert_eq!(found(&[("prunella-store", &["prunella-testkit"])]), 1, "what is for tests");
        assert_eq!(found(&[("prunella-testkit", &["prunella-objects"])]), 0);
        assert_eq!(
            found(&[("prunella-simulation", &["prunella-testkit"])]),
            0,
            "tests are built with what is for tests"
        );
        assert_eq!(found(&[("prunella-extra", &[])]), 1, "no place");
        assert_eq!(found(&[("prunella-healing", &["prunella-model", "tokio"])]), 1, "out");
    }
}
