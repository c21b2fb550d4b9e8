//! What this machine can do for pipelines, and what it lacks: one check after the other, each with what to do now.

mod accelerators;
mod filesystem;
mod groups;
mod machine;
mod mounts;
mod settings;
mod storage;
mod tools;

use serde::Serialize;

use crate::{
    cloud::Service,
    context::Context,
    present::{Line, Paint, Tone, columns},
    project::Place,
    settings::Setting,
};

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, but not as well as it could.
    Note,
    /// Runs would stumble over it.
    Bad,
}

/// What was found when one thing was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    name: &'static str,
    health: Health,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

fn check(name: &'static str, health: Health, found: impl Into<String>, help: &str) -> Check {
    let help = (health != Health::Good && !help.is_empty()).then(|| help.to_owned());
    Check { name, health, found: found.into(), help }
}

/// What all checks found.
pub struct Checkup {
    /// What was found, in the order in which it was looked for.
    pub checks: Vec<Check>,
    /// What commands go by here.
    pub settings: Vec<Setting>,
}

impl Checkup {
    /// Looks at everything. Measures beside the store (or where it would be), and leaves nothing there.
    pub async fn of(context: &Context, place: &Place, service: &Service) -> Self {
        let mut checks = vec![machine::system(context), settings::file(context)];
        checks.push(storage::existing(context, place).await);
        checks.extend(storage::measured(context, place).await);
        checks.push(machine::guardian().await);
        checks.push(mounts::check_them(place).await);
        checks.extend(groups::checks(context));
        checks.push(machine::memory(context));
        checks.push(machine::shared_memory(context));
        checks.extend(machine::clock(context));
        checks.extend(machine::limits(context));
        checks.push(accelerators::check_them(context));
        checks.push(tools::cloud(context, service).await);
        checks.push(tools::python(context));
        checks.push(tools::uv());
        Self { checks, settings: settings::settings(context, place) }
    }

    /// Returns whether nothing is bad.
    pub fn good(&self) -> bool {
        self.checks.iter().all(|check| check.health != Health::Bad)
    }

    /// Returns what people read.
    pub fn text(&self, paint: Paint) -> String {
        let mut lines = Vec::new();
        for check in &self.checks {
            let (tone, mark) = match check.health {
                Health::Good => (Tone::Good, '✓'),
                Health::Note => (Tone::Busy, '·'),
                Health::Bad => (Tone::Bad, '✗'),
            };
            lines.push(Line(tone, vec![format!("{mark} {}", check.name), check.found.clone()]));
            if let Some(help) = &check.help {
                lines.push(Line(Tone::Plain, vec![String::new(), format!("help: {help}")]));
            }
        }
        columns(paint, &lines) + "settings\n" + &settings::text(paint, &self.settings)
    }
}
