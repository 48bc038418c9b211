//! `posthorn config`: the default configuration, a check, the reference.

use crate::{
    assemble,
    cli::{ConfigCommand, NodeArgs},
    config::{self, reference},
    failure::Outcome,
    output,
};

/// Prints or checks a configuration.
///
/// # Errors
/// What is wrong with the configuration that was to be checked.
pub fn run(command: ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Default => output::print(&reference::default_file()),
        ConfigCommand::Doc => output::print(&reference::page()),
        ConfigCommand::Check(args) => check(&args),
    }
}

fn check(args: &NodeArgs) -> Outcome {
    let loaded = config::load(args.config.as_deref(), &args.set)?;
    assemble::check(&loaded.config)?;
    for (setting, origin) in &loaded.given {
        output::line(&format!("{setting}: {origin}"))?;
    }
    let count = loaded.given.len();
    output::line(&format!(
        "The configuration is good; {count} settings are given, the rest are defaults."
    ))
}
