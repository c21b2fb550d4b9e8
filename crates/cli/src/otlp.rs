//! Who is told of runs by OTLP: what the command line, the environment and the project file say.
//!
//! The variables are those of OpenTelemetry, which concern all programs of an environment: one that cannot be obeyed is
//! said, and nobody is told. An address on the command line is meant for this program, so that all must be right.

use clap::Args;
use prunella_telemetry::otlp::{Mistake, Settings};

use crate::{
    answer::note,
    context::Context,
    error::CliError,
    settings::{Origin, Setting},
};

/// The variable that names a receiver of everything.
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Whom to tell by OTLP.
#[derive(Debug, Clone, Default, Args)]
pub struct Otlp {
    /// Tell a receiver of OpenTelemetry at this address, by OTLP over HTTP (`http://127.0.0.1:4318`); also
    /// OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

impl Otlp {
    /// Returns who is told.
    ///
    /// # Errors
    /// [`CliError::Usage`] with all that is wrong, if the address stands on the command line.
    pub fn settings(&self, context: &Context) -> Result<Settings, CliError> {
        match read(context, self.otlp_endpoint.as_deref()) {
            Ok(settings) => Ok(settings),
            Err(wrong) if self.otlp_endpoint.is_some() => {
                let (what, hints): (Vec<String>, Vec<&str>) =
                    wrong.into_iter().map(|Mistake { what, hint }| (what, hint)).unzip();
                Err(CliError::Usage(what.join("; "), Some(hints.join("; "))))
            }
            Err(wrong) => {
                note("OpenTelemetry is told nothing:");
                wrong.iter().for_each(|Mistake { what, hint }| note(&format!("  {what}; {hint}")));
                Ok(Settings::default())
            }
        }
    }
}

fn read(context: &Context, endpoint: Option<&str>) -> Result<Settings, Vec<Mistake>> {
    let file = context.settings.project.telemetry.otlp_endpoint.as_ref().map(|placed| placed.value.as_str());
    Settings::read(endpoint, file, |name| context.sys.env.var(name))
}

/// Returns whether anybody is told of spans, without a word about what is wrong.
pub fn is_traced(context: &Context) -> bool {
    read(context, None).is_ok_and(|settings| settings.traces.is_some())
}

/// Returns who is told, and of what beside, as `doctor` shows it.
pub fn settings(context: &Context) -> [Setting; 2] {
    let said = &context.settings.project.telemetry;
    let of_variable = context.sys.env.var(VARIABLE).filter(|text| !text.is_empty());
    let told = read(context, None).map(|settings| settings.traces.or(settings.logs).or(settings.metrics));
    let value = match &told {
        // Without what only the receiver should know.
        Ok(Some(receiver)) => receiver.shown().trim_end_matches("/v1/traces").to_owned(),
        Ok(None) => "nobody is told".to_owned(),
        Err(wrong) => wrong.iter().map(|mistake| mistake.what.as_str()).collect::<Vec<_>>().join("; "),
    };
    let (from, place) = match (&said.otlp_endpoint, &told) {
        _ if of_variable.is_some() => (Origin::Environment, Some(VARIABLE.to_owned())),
        (Some(placed), _) => (Origin::File, Some(context.settings.line(placed.line))),
        (None, Ok(Some(_))) => (Origin::Environment, Some("OTEL_EXPORTER_OTLP_…_ENDPOINT".to_owned())),
        (None, _) => (Origin::BuiltIn, None),
    };
    let (output, output_from, output_place) = match &said.otlp_output {
        Some(placed) => (placed.value, Origin::File, Some(context.settings.line(placed.line))),
        None => (false, Origin::BuiltIn, None),
    };
    [
        Setting { name: "telemetry.otlp_endpoint", value, from, place },
        Setting { name: "telemetry.otlp_output", value: output.to_string(), from: output_from, place: output_place },
    ]
}
