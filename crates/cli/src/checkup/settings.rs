//! Which settings hold here, and where each comes from.

use prunella_manifest::NoticesOf;

use super::{Check, Health, check};
use crate::{
    commands::gc::KEPT,
    context::{Context, READ_FROM},
    error::CliError,
    present::{Line, Paint, Tone, columns, count, path},
    project::Place,
    settings::{NAME, Origin, Setting},
    transfers::Transfers,
};

/// Says which project file counts here, and what targets it has.
pub fn file(context: &Context) -> Check {
    match (&context.unread, &context.settings.file) {
        (Some(CliError::Diagnostics { json, .. }), _) => {
            let found = count(json.as_array().map_or(1, Vec::len), "mistake");
            check("project", Health::Bad, format!("{NAME} has {found}"), "`prunella validate` shows them")
        }
        (Some(error), _) => check("project", Health::Bad, error.message(), "name a file that is there, or none"),
        (None, None) => check("project", Health::Good, format!("no {NAME} here or above"), ""),
        (None, Some(file)) => {
            let targets = &context.settings.project.targets;
            let named: Vec<String> =
                targets.iter().map(|(name, target)| format!("{name} ({})", target.engine().as_str())).collect();
            let targets = match named.as_slice() {
                [] => "no targets".to_owned(),
                named => format!("{}: {}", count(named.len(), "target"), named.join(", ")),
            };
            check("project", Health::Good, format!("`{}`, {targets}", path(file)), "")
        }
    }
}

/// Returns the settings of commands on this machine.
pub fn settings(context: &Context, place: &Place) -> Vec<Setting> {
    let said = &context.settings.project.defaults;
    let one = |name: &'static str, variable: Option<&str>, line: Option<(String, usize)>, built_in: String| {
        let of_variable = variable.and_then(|name| Some((context.sys.env.var(name)?, name)));
        let (value, from, place) = match (of_variable, line) {
            (Some((value, name)), _) => (value, Origin::Environment, Some(name.to_owned())),
            (None, Some((value, line))) => (value, Origin::File, Some(context.settings.line(line))),
            (None, None) => (built_in, Origin::BuiltIn, None),
        };
        Setting { name, value, from, place }
    };
    let jobs = said.jobs.as_ref().map(|jobs| (jobs.value.to_string(), jobs.line));
    let gpus = said.gpus.as_ref().and_then(|gpus| Some((context.settings.gpus()?, gpus.line)));
    let notices = said.notices.as_ref().map(|notices| (word(notices.value).to_owned(), notices.line));
    let keep_runs = said.keep_runs.as_ref().map(|runs| (runs.value.to_string(), runs.line));
    let processors = context.sys.machine.cpu_count().to_string();
    let mut settings = vec![
        store(context, place),
        read_from(context),
        one("jobs", Some("PRUNELLA_JOBS"), jobs, processors),
        one("gpus", Some("PRUNELLA_GPUS"), gpus, "all that are found".to_owned()),
        one("notices", Some("PRUNELLA_NOTICES"), notices, word(NoticesOf::Auto).to_owned()),
        one("keep_runs", None, keep_runs, KEPT.to_string()),
    ];
    settings.extend(Transfers::settings(context));
    settings.extend(crate::otlp::settings(context));
    settings
}

fn store(context: &Context, place: &Place) -> Setting {
    let variable = context.sys.env.var("PRUNELLA_STORE");
    let shown = place.store.to_string();
    let line = context.settings.project.defaults.store.as_ref().map(|store| store.line);
    let (from, place) = match (context.store_from, line) {
        (Origin::Flag, _) if variable.as_deref() == Some(shown.as_str()) => {
            (Origin::Environment, Some("PRUNELLA_STORE".to_owned()))
        }
        (Origin::File, Some(line)) => (Origin::File, Some(context.settings.line(line))),
        (Origin::Flag, _) => (Origin::Flag, Some("--store".to_owned())),
        (from, _) => (from, None),
    };
    Setting { name: "store", value: shown, from, place }
}

fn read_from(context: &Context) -> Setting {
    let named: Vec<String> = context.read_from.iter().map(ToString::to_string).collect();
    let line = context.settings.project.defaults.read_from.as_ref().map(|others| others.line);
    let place = match (context.read_from_by, line) {
        (Origin::Flag, _) => Some("--read-from".to_owned()),
        (Origin::Environment, _) => Some(READ_FROM.to_owned()),
        (Origin::File, Some(line)) => Some(context.settings.line(line)),
        (Origin::File | Origin::BuiltIn, _) => None,
    };
    let value = if named.is_empty() { "none".to_owned() } else { named.join(" ") };
    Setting { name: "read_from", value, from: context.read_from_by, place }
}

fn word(notices: NoticesOf) -> &'static str {
    match notices {
        NoticesOf::Auto => "auto",
        NoticesOf::None => "none",
        NoticesOf::Aws => "aws",
        NoticesOf::Gcp => "gcp",
        NoticesOf::Azure => "azure",
    }
}

/// Returns the settings as people read them.
pub fn text(paint: Paint, settings: &[Setting]) -> String {
    let line = |setting: &Setting| {
        let place = setting.place.clone().unwrap_or_else(|| "built in".to_owned());
        Line(Tone::Plain, vec![format!("  {}", setting.name), setting.value.clone(), place])
    };
    columns(paint, &settings.iter().map(line).collect::<Vec<_>>())
}
