//! The command of a step, with what its references stand for.

use prunella_model::{Command, ParamValue, Reference, Step, shell_quote};

use crate::{Request, mounts::Mount};

/// Returns the command as it is run.
pub(crate) fn command(request: &Request, step: &Step, mounts: &[Mount]) -> Vec<String> {
    let params = &request.graph.graph.pipeline.params;
    let value = |reference: &Reference| -> Option<String> {
        match reference {
            Reference::Param(name) => params.get(name).map(ParamValue::to_string),
            Reference::Input(name) => {
                let input = request.inputs.get(name)?;
                // A link is not what every program follows: of mounted data its own path is named, as in the variable.
                Some(match mounts.iter().find(|mount| mount.input == *name) {
                    Some(mount) => mount.place().to_string_lossy().into_owned(),
                    None => format!("inputs/{name}/{}", input.base_name),
                })
            }
            Reference::Output(name) => Some(step.outputs.get(name)?.path.to_string()),
            Reference::Item(name) => request.step.item.as_ref()?.word(name.as_deref()),
        }
    };
    // References were checked when the pipeline was read; an unknown one stays visible.
    let or_source = |rendered: Result<String, Reference>, source: &str| rendered.unwrap_or_else(|_| source.to_owned());
    match &step.run {
        Command::Shell(template) => {
            let script = template.render(|reference| value(reference).map(|value| shell_quote(&value)));
            let script = or_source(script, template.source());
            ["/bin/sh", "-e", "-c", &script].map(str::to_owned).into()
        }
        Command::Argv(templates) => {
            templates.iter().map(|template| or_source(template.render(value), template.source())).collect()
        }
    }
}
