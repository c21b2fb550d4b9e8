//! Every mistake as its user reads it: `golden/NAME.yaml` gives `golden/NAME.txt`.

mod support;

use std::path::Path;

use prunella_manifest::{Overrides, Source, read, read_source, render};
use support::{Listed, matches_golden};

const WIDTH: usize = 100;

/// Returns what a user sees: the mistakes, or the warnings and the pipeline.
fn shown(file: &str, bytes: Vec<u8>) -> (String, Vec<&'static str>) {
    let name = format!("golden/{file}");
    let source = match read_source(&name, bytes) {
        Ok(source) => source,
        Err(diagnostics) => {
            let nothing = Source { name, text: String::new() };
            let codes = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
            return (render(&nothing, &diagnostics, false, WIDTH), codes);
        }
    };
    match read(&source, &Overrides::default(), &Listed) {
        Ok(read) => {
            let pipeline = serde_json::to_string_pretty(&read.pipeline).expect("a pipeline has only string keys");
            let codes = read.warnings.iter().map(|diagnostic| diagnostic.code).collect();
            (format!("{}\n{pipeline}\n", render(&source, &read.warnings, false, WIDTH)), codes)
        }
        Err(diagnostics) => {
            let codes = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
            (render(&source, &diagnostics, false, WIDTH), codes)
        }
    }
}

#[test]
fn every_mistake_reads_as_promised() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (mut differing, mut seen) = (Vec::new(), 0);
    let entries = std::fs::read_dir(&directory).expect("the golden files are in the repository");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        let file = path.file_name().and_then(|name| name.to_str()).expect("golden names are plain");
        let (text, codes) = shown(file, std::fs::read(path).expect("readable"));
        // A file named for a code holds that mistake.
        let code = file.trim_end_matches(".yaml").split("--").next().unwrap_or_default();
        if code != "valid" && !codes.contains(&code) {
            differing.push(format!("{file} does not show `{code}`, but {codes:?}"));
        }
        differing.extend(matches_golden(&path.with_extension("txt"), &text).err());
        seen += 1;
    }
    assert!(seen > 40, "only {seen} golden files were found");
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
