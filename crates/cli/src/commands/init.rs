//! `prunella init`: a small pipeline to begin with.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use prunella_model::PipelineName;
use serde_json::json;

use super::pin::pin;
use crate::{
    answer::{say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{self, count},
    project::Place,
};

/// Write a small pipeline that works, to begin with.
///
/// With scripts and data, pinned: `prunella run` runs it at once. Nothing that is there is overwritten. A .gitignore that is there learns of `.prunella/`.
#[derive(Debug, Args)]
pub struct Init {
    /// Where to [default: here]; made if it is not there.
    dir: Option<PathBuf>,

    /// What the steps are written in.
    #[arg(long, value_enum, default_value_t = Template::Shell)]
    template: Template,
}

/// What the steps are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// Scripts for /bin/sh, and the tools of every system.
    Shell,
    /// Python, standard library only.
    Python,
}

impl Template {
    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Shell => &[
                ("pipeline.yaml", include_str!("../../templates/shell/pipeline.yaml")),
                ("count.sh", include_str!("../../templates/shell/count.sh")),
                ("report.sh", include_str!("../../templates/shell/report.sh")),
                ("data/text.txt", include_str!("../../templates/shell/data/text.txt")),
            ],
            Self::Python => &[
                ("pipeline.yaml", include_str!("../../templates/python/pipeline.yaml")),
                ("train.py", include_str!("../../templates/python/train.py")),
                ("report.py", include_str!("../../templates/python/report.py")),
                ("data/points.csv", include_str!("../../templates/python/data/points.csv")),
            ],
        }
    }
}

impl Init {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError::Usage`] names everything that is in the way; nothing is written then.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let base = self.dir.clone().unwrap_or_else(|| PathBuf::from("."));
        let fs = &*context.sys.fs;
        let files = self.template.files();
        let mut in_the_way = Vec::new();
        for path in files.iter().map(|(path, _)| *path).chain(["prunella.lock"]) {
            let full = base.join(path);
            if fs.metadata(&full).map_err(CliError::io(&full))?.is_some() {
                in_the_way.push(format!("`{}`", full.display()));
            }
        }
        if !in_the_way.is_empty() {
            let hint = "begin in another directory: `prunella init DIR`".to_owned();
            let problem = format!("nothing is overwritten, and there is already {}", in_the_way.join(", "));
            return Err(CliError::Usage(problem, Some(hint)));
        }
        let name = name_of(context, &base);
        let mut written = Vec::new();
        for (path, text) in files {
            let full = base.join(path);
            if let Some(parent) = full.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                fs.create_dir_all(parent).map_err(CliError::io(parent))?;
            }
            let text = if *path == "pipeline.yaml" { text.replace("NAME", name.as_str()) } else { (*text).to_owned() };
            let created = fs.create_new(&full).and_then(|mut file| file.write_all(text.as_bytes()));
            created.map_err(CliError::io(&full))?;
            if path.ends_with(".sh") {
                fs.set_executable(&full, true).map_err(CliError::io(&full))?;
            }
            written.push(full);
        }
        let place = Place::of(context, &base.join("pipeline.yaml"));
        pin(context, &place).await?;
        written.push(place.lock());
        let ignored = ignore(context, &base)?;
        match context.output {
            Output::Json => say_json(&json!({ "pipeline": name, "written": written, "gitignore": ignored }))?,
            Output::Text => {
                let mut out = String::new();
                for path in &written {
                    out.push_str(&format!("wrote {}\n", present::path(path)));
                }
                if ignored {
                    out.push_str(&format!("added .prunella/ to {}\n", present::path(&base.join(".gitignore"))));
                }
                let go = match &self.dir {
                    Some(dir) => format!("cd {} && prunella run", dir.display()),
                    None => "prunella run".to_owned(),
                };
                out.push_str(&format!("pipeline `{name}`, {}\n  next: {go}\n", count(2, "step")));
                say(&out)?;
            }
        }
        Ok(0)
    }
}

/// Returns the directory's name as a pipeline's, as far as it can be one.
fn name_of(context: &Context, base: &Path) -> PipelineName {
    let full = context.sys.env.current_dir().map(|here| here.join(base)).unwrap_or_else(|_| base.to_owned());
    let full = std::fs::canonicalize(&full).unwrap_or(full);
    let name = full.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
    PipelineName::new(plain).unwrap_or_else(|_| PipelineName::new("words").expect("it is a name"))
}

/// Adds the store to a .gitignore that is there; returns whether it did.
fn ignore(context: &Context, base: &Path) -> Result<bool, CliError> {
    let path = base.join(".gitignore");
    let fs = &*context.sys.fs;
    if fs.metadata(&path).map_err(CliError::io(&path))?.is_none() {
        return Ok(false);
    }
    let text = String::from_utf8_lossy(&fs.read(&path).map_err(CliError::io(&path))?).into_owned();
    let known = |line: &str| matches!(line.trim(), ".prunella" | ".prunella/" | "/.prunella" | "/.prunella/");
    if text.lines().any(known) {
        return Ok(false);
    }
    let line = if text.is_empty() || text.ends_with('\n') { ".prunella/\n" } else { "\n.prunella/\n" };
    let added = fs.append(&path).and_then(|mut file| file.write_all(line.as_bytes()));
    added.map_err(CliError::io(&path))?;
    Ok(true)
}
