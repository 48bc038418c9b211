//! `posthorn check`: everything a process needs, tried from where it stands.

pub mod certificate;
pub mod machine;

use clap::Args;
use edge::token::Verifier;
use ports::operate::Finding;

use crate::{
    cli::{NodeArgs, OutputArgs},
    clock::wall_clock_ms,
    config::{self, Config, Loaded, Role, cluster},
    failure::Outcome,
    findings::{self, doubtful, good, wrong},
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn check --config posthorn.toml
  posthorn check --config posthorn.toml -o json | jq 'select(.state == \"wrong\")'
  posthorn check --config posthorn.toml && posthorn node --config posthorn.toml

Run it on every machine, as the user that runs posthorn: what can be reached and what may be read
differ.";

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Looks at everything and prints what was found.
///
/// # Errors
/// When the configuration cannot be read, or something is wrong.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn run(args: CheckArgs) -> Outcome {
    let loaded = config::load(args.node.config.as_deref(), &args.node.set)?;
    findings::print(&look(&loaded).await, args.output.format)
}

async fn look(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let mut found = vec![settings(loaded)];
    found.extend(machine::look(config));
    found.extend(certificates(config));
    found.extend(identity(config).await);
    match config.node.engines {
        cluster::Engines::Embedded => found.extend(machine::data(config)),
        cluster::Engines::Cluster => {}
    }
    found
}

fn settings(loaded: &Loaded) -> Finding {
    let about = "configuration";
    match loaded.config.check() {
        Ok(()) => good(about, format!("{} settings given", loaded.given.len())),
        Err(failure) => findings::of_failure(about, &failure),
    }
}

fn certificates(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let listen = &config.listen;
    if config.has(Role::Edge)
        && let (Some(chain), Some(key)) = (&listen.certificate_file, &listen.key_file)
    {
        let files = certificate::Files { about: "certificate for clients", chain, key };
        found.extend(certificate::look(files, &[], wall_clock_ms()));
    }
    found
}

/// Whether the provider's keys can be read. That a setting is missing is said elsewhere.
async fn identity(config: &Config) -> Option<Finding> {
    let jwks = &config.identity.jwks;
    if !config.has(Role::Edge) || jwks.is_empty() {
        return None;
    }
    let about = "identity: key set";
    let verifier = Verifier::new(&config.token_config(), wall_clock_ms);
    Some(match verifier.refresh().await {
        Ok(()) if jwks.starts_with("http://") => doubtful(
            about,
            format!("read from {jwks}, which anybody on the way can change"),
            "use an https address in identity.jwks",
        ),
        Ok(()) => good(about, format!("read from {jwks}")),
        Err(problem) => wrong(
            about,
            format!("{jwks}: {problem}"),
            "fetch it by hand from this machine; check identity.jwks and identity.jwks_ca_file",
        ),
    })
}
