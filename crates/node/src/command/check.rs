//! `posthorn check`: everything a process needs, tried from where it stands.

pub mod certificate;
pub mod machine;

use std::{future::Future, time::Duration};

use clap::Args;
use edge::token::Verifier;
use ports::operate::Finding;
use presence_redis::RedisPresence;

use crate::{
    cli::{NodeArgs, OutputArgs},
    clock::wall_clock_ms,
    command::admin::engines::{cql, kafka},
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

/// An engine is given up after this; each gives up its own questions earlier.
const ENGINE_WITHIN: Duration = Duration::from_secs(60);

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
        cluster::Engines::Cluster => {
            found.extend(secret(config));
            found.extend(engines(config).await);
        }
    }
    found
}

/// Every engine of a cluster, one after the other: what is said of one does not depend on another.
async fn engines(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    match kafka(config) {
        Ok(kafka) => found
            .extend(within("kafka", log_kafka::admin::check(&kafka, config.node.retention)).await),
        Err(failure) => found.push(findings::of_failure("kafka: settings", &failure)),
    }
    match cql(config) {
        Ok(cql) => {
            found.extend(within("cql", mailbox_scylla::schema::check(&cql, wall_clock_ms)).await)
        }
        Err(failure) => found.push(findings::of_failure("cql: settings", &failure)),
    }
    match config.redis_config() {
        Ok(redis) => found.extend(within("redis", RedisPresence::check(&redis)).await),
        Err(failure) => found.push(findings::of_failure("redis: settings", &failure)),
    }
    found
}

async fn within(engine: &str, look: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(ENGINE_WITHIN, look).await.unwrap_or_else(|_| {
        let found = format!("no answer within {ENGINE_WITHIN:?}");
        vec![wrong(
            format!("{engine}: reachable"),
            found,
            "look whether it runs, and whether this machine reaches it",
        )]
    })
}

/// Edges that do not share a secret cannot resume each other's clients.
fn secret(config: &Config) -> Option<Finding> {
    if !config.has(Role::Edge) {
        return None;
    }
    let about = "listen.secret";
    Some(match config.listen.secret.reveal() {
        Some(_) => good(about, "set"),
        None => doubtful(
            about,
            "not set: clients cannot resume at another edge, nor here after a restart",
            "make one with `openssl rand -hex 32` and set it on every edge",
        ),
    })
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
    if config.node.engines == cluster::Engines::Cluster {
        found.extend(mesh(config));
    }
    found
}

/// Whether others of the mesh will take this process for what it is.
fn mesh(config: &Config) -> Vec<Finding> {
    let mesh = &config.mesh;
    let (Some(ca), Some(chain), Some(key)) =
        (&mesh.ca_file, &mesh.certificate_file, &mesh.key_file)
    else {
        // That a setting is missing is said of the configuration.
        return Vec::new();
    };
    let is_worker = config.has(Role::MailWorker) || config.has(Role::GroupWorker);
    let names = [(config.has(Role::Edge), &mesh.edge_name), (is_worker, &mesh.worker_name)];
    let names: Vec<&str> =
        names.iter().filter(|(needed, _)| *needed).map(|(_, name)| name.as_str()).collect();
    let now_ms = wall_clock_ms();
    let files = certificate::Files { about: "certificate for the mesh", chain, key };
    let mut found = certificate::look(files, &names, now_ms);
    found.extend(certificate::look_at_authorities("authorities of the mesh", ca, now_ms));
    found.extend(certificate::look_at_trust(files, ca, &names, now_ms));
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
