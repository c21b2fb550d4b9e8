//! Every mistake of a project file as its user reads it: `golden/project/NAME.toml` gives `golden/project/NAME.txt`.

mod support;

use std::path::Path;

use prunella_manifest::{project_source, read_project, render};
use support::matches_golden;

const WIDTH: usize = 100;

#[test]
fn every_mistake_of_a_project_file_reads_as_promised() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/project");
    let entries = std::fs::read_dir(&directory).expect("the golden files are in the repository");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let (mut differing, mut seen) = (Vec::new(), 0);
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("golden names are plain");
        let file = format!("golden/project/{name}.toml");
        let source = project_source(&file, std::fs::read(path).expect("readable")).expect("it is text");
        let text = match read_project(&source) {
            Ok(project) => {
                assert_eq!(name, "valid", "`{name}` shows no mistake");
                format!("{project:#?}\n")
            }
            Err(found) => {
                // A file named for a code holds that mistake.
                let codes: Vec<_> = found.iter().map(|diagnostic| diagnostic.code).collect();
                if !codes.contains(&name) {
                    differing.push(format!("{file} does not show `{name}`, but {codes:?}"));
                }
                render(&source, &found, false, WIDTH)
            }
        };
        differing.extend(matches_golden(&path.with_extension("txt"), &text).err());
        seen += 1;
    }
    assert!(seen > 10, "only {seen} golden files were found");
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
