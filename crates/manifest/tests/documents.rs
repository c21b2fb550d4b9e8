//! Whole pipelines in the documents are pipelines: whoever copies one gets no mistakes.

mod support;

use std::path::Path;

use prunella_manifest::{FileKind, Files, Overrides, Source, read, render};

/// A directory in which everything is there; what has an extension is a file.
struct Everything;

impl Files for Everything {
    fn kind(&self, relative: &str) -> Option<FileKind> {
        let name = relative.rsplit('/').next().unwrap_or(relative);
        Some(if name.contains('.') { FileKind::File } else { FileKind::Directory })
    }

    fn read(&self, relative: &str) -> Option<Vec<u8>> {
        support::Listed.read(relative)
    }

    fn glob_matches(&self, _pattern: &str) -> usize {
        1
    }
}

/// Returns the YAML blocks of a document that begin as a pipeline does, with the line where each begins.
fn pipelines(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut block) = (Vec::new(), None::<(usize, String)>);
    for (number, line) in text.lines().enumerate() {
        match (&mut block, line) {
            (None, "```yaml") => block = Some((number + 2, String::new())),
            (Some((begins, inside)), "```") => {
                if inside.starts_with("prunella: v1\n") {
                    found.push((*begins, std::mem::take(inside)));
                }
                block = None;
            }
            (Some((_, inside)), line) => {
                inside.push_str(line);
                inside.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

#[test]
fn every_whole_pipeline_in_the_documents_has_no_mistakes() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let entries = std::fs::read_dir(docs).expect("the documents are in the repository");
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in
        entries.map(|entry| entry.expect("readable").path()).filter(|path| path.extension().is_some_and(|e| e == "md"))
    {
        let file = path.file_name().and_then(|name| name.to_str()).expect("plain names").to_owned();
        for (line, text) in pipelines(&std::fs::read_to_string(&path).expect("readable")) {
            let source = Source { name: format!("docs/{file}, block at line {line}"), text };
            seen += 1;
            if let Err(diagnostics) = read(&source, &Overrides::default(), &Everything) {
                wrong.push(render(&source, &diagnostics, false, 100));
            }
        }
    }
    assert!(seen > 4, "only {seen} pipelines were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
