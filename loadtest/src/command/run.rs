//! `loadtest run`: does what a scenario says, and leaves a report.

mod agents;
mod ground;
mod overrides;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use rand::rand_core::Rng as _;
use tokio::{runtime, signal, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    output::{self, Format},
    token_key::IdentityArgs,
};
use crate::{
    cluster::{ForeignProcess, MetricsUrl},
    exit::Exit,
    generator::run::{self, About, Run},
    population::{Payloads, Population},
    report::{
        html,
        summary::{Outcome, Summary},
    },
    scenario::{
        Scenario,
        demand::{Demand, Servers},
    },
    view::Mode,
};

/// What `run` is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The scenario: a file, or the name of one that comes with the program
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// Folder for everything the run leaves; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Another seed than the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Changes a value of the scenario, such as population.users=50 or phase.steady.rate=100
    ///
    /// The value is TOML: 'phase.load.arrivals={ closed = { senders = 20 } }' makes the phase a
    /// closed loop. What is no TOML is a text.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// What is driven
    #[arg(long, value_name = "NAME", value_enum, default_value_t = DriverName::Posthorn)]
    driver: DriverName,
    /// The program that serves, if it is not beside this one
    #[arg(long, value_name = "PATH", help_heading = "A cluster on this machine")]
    posthorn: Option<PathBuf>,
    /// posthorn.toml that names the engines, as `cargo xtask engines up` leaves it
    #[arg(long, value_name = "FILE", help_heading = "A cluster on this machine")]
    engines: Option<PathBuf>,
    /// Leaves the servers' data in the folder of the run
    #[arg(long, help_heading = "A cluster on this machine")]
    keep: bool,
    #[command(flatten)]
    elsewhere: ElsewhereArgs,
    #[command(flatten)]
    agents: agents::AgentsArgs,
    /// Shows nothing but the result
    #[arg(short, long)]
    quiet: bool,
    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Where a cluster is that was not started by this program.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "A cluster elsewhere")]
struct ElsewhereArgs {
    /// Drives what is there already: HOST:PORT, several times for several edges; for --driver mqtt
    /// and nats a URL
    #[arg(long, value_name = "HOST:PORT")]
    target: Vec<String>,
    /// The name in the servers' certificates, if it is not the host of the first --target
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// PEM file of who signs the servers' certificates
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Private key that the users' tokens are signed with; `loadtest token-key new` makes one
    #[arg(long, value_name = "FILE")]
    jwt_key: Option<PathBuf>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Where a process serves its metrics, http://HOST:PORT/metrics; several times for several
    #[arg(long, value_name = "URL")]
    metrics: Vec<MetricsUrl>,
    /// A server process of this machine that this program did not start, by its number: what CPU
    /// and memory it uses is reported; several times for several. Not one whose metrics are read
    #[arg(long, value_name = "NAME=PID")]
    watch: Vec<ForeignProcess>,
}

/// What is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DriverName {
    /// A Posthorn cluster, by its SDK
    Posthorn,
    /// An MQTT 5 broker: QoS 1, persistent sessions
    Mqtt,
    /// NATS JetStream: a durable consumer for each device
    Nats,
    /// Nothing: a target in this program that answers at once; shows what the generator can do
    Null,
}

/// Runs the command.
///
/// # Errors
/// When the run cannot begin.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let scenario = match overrides::read(args) {
        Ok(scenario) => Arc::new(scenario),
        Err(problem) => {
            eprintln!("{problem:#}");
            return Ok(Exit::Unusable);
        }
    };
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(interruptible(args, scenario));
    runtime.shutdown_background();
    let Some((folder, summary)) = ended? else {
        eprintln!("Ended at once: there is no report. `loadtest verify` judges what was written.");
        return Ok(Exit::Incomplete);
    };
    print(args, &folder, &summary)?;
    Ok(summary.verdict.outcome.exit())
}

/// Runs until it is over, or until somebody asks for the second time to end it: then nothing.
async fn interruptible(
    args: &Args,
    scenario: Arc<Scenario>,
) -> anyhow::Result<Option<(PathBuf, Summary)>> {
    let (interrupt, abort) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(listen(interrupt.clone(), abort.clone()));
    tokio::select! {
        biased;
        () = abort.cancelled() => Ok(None),
        ended = prepare_and_perform(args, scenario, interrupt) => ended.map(Some),
    }
}

/// Ends the load at the first Ctrl-C or SIGTERM, and everything at the second.
async fn listen(interrupt: CancellationToken, abort: CancellationToken) {
    let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return };
    for token in [&interrupt, &abort] {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            pressed = signal::ctrl_c() => if pressed.is_err() { return },
        }
        if token == &interrupt {
            eprintln!("\nThe load ends; what is due is still delivered. Once more ends at once.");
        }
        token.cancel();
    }
}

async fn prepare_and_perform(
    args: &Args,
    scenario: Arc<Scenario>,
    interrupt: CancellationToken,
) -> anyhow::Result<(PathBuf, Summary)> {
    let population =
        Arc::new(Population::draw(&scenario.population, &scenario.traffic, scenario.seed));
    let payloads = Payloads::load(&scenario.traffic, scenario.seed)?;
    let starts = args.driver == DriverName::Posthorn && args.elsewhere.target.is_empty();
    let servers = if starts { Servers::Started } else { Servers::Elsewhere };
    if let Err(problems) = Demand::of(&scenario, &population, &payloads, servers) {
        bail!("{problems}");
    }
    let crew = agents::call(args, &scenario).await?;
    let folder = run::folder(args.out.as_deref(), &scenario.name)?;
    let id = rand::rng().next_u64();
    let laid = ground::Ground::lay(args, &scenario, &population, &folder, id).await;
    let ground = laid.inspect_err(|_| {
        // Only an empty folder goes; what servers said on their way stays.
        let _ = std::fs::remove_dir(&folder);
    })?;
    let cluster_folder = ground.folder.clone();
    let company = agents::company(args, crew, &scenario, ground.target.as_ref())?;
    let run = Run {
        id,
        scenario,
        population,
        payloads,
        driver: ground.driver,
        rules: ground.rules,
        cluster: ground.cluster,
        target: ground.target,
        metrics: args.elsewhere.metrics.clone(),
        watch: args.elsewhere.watch.clone(),
        folder: folder.clone(),
        mode: if args.quiet { Mode::Quiet } else { Mode::fitting() },
        about: About {
            target: ground.words,
            server_version: ground.version,
            command: std::env::args().collect(),
        },
        company,
        interrupt,
    };
    let summary = run.perform().await?;
    if let (Some(data), false) = (cluster_folder, args.keep) {
        std::fs::remove_dir_all(&data)
            .with_context(|| format!("cannot remove {}", data.display()))
            .unwrap_or_else(|problem| eprintln!("{problem:#}"));
    }
    Ok((folder, summary))
}

fn print(args: &Args, folder: &std::path::Path, summary: &Summary) -> anyhow::Result<()> {
    let page = folder.join(html::FILE);
    match args.output {
        Format::Json => {
            let verdict = serde_json::json!({
                "verdict": summary.verdict,
                "totals": summary.totals,
                "folder": folder,
                "report": page,
            });
            output::print_json(&verdict)?;
        }
        Format::Text => output::print(&text(folder, summary))?,
    }
    Ok(())
}

/// The verdict, the phases in a line each, and where the rest is.
fn text(folder: &std::path::Path, summary: &Summary) -> String {
    use crate::{report::summary::Kind, view};
    let mut lines = vec![format!("verdict   {}", summary.verdict.outcome.name())];
    for reason in &summary.verdict.reasons {
        let phase = reason.phase.as_ref().filter(|phase| !reason.text.starts_with(*phase));
        let phase = phase.map(|phase| format!("{phase}: ")).unwrap_or_default();
        lines.push(format!("  {:<16} {phase}{}", reason.outcome.name(), reason.text));
    }
    lines.extend(summary.verdict.notes.iter().map(|note| format!("  {:<16} {note}", "note")));
    for phase in summary.phases.iter().filter(|phase| phase.measured) {
        let p99 = |kind| {
            let latency = phase.latency.get(kind);
            latency.map_or_else(|| "-".to_owned(), |latency| view::span(latency.p99_us))
        };
        lines.push(format!(
            "phase     {}: accepted {} of {} intended, p99 end to end {}, accept {}, \
             schedule delay {}",
            phase.name,
            view::per_second(phase.rates.accepted_per_s),
            view::per_second(phase.rates.intended_per_s),
            p99(Kind::EndToEnd),
            p99(Kind::Accept),
            p99(Kind::ScheduleDelay),
        ));
        let bounded = |name: &str| phase.slo.iter().any(|slo| slo.name.starts_with(name));
        let is_told = |name: &str| !name.starts_with("memory") || bounded(name);
        for figure in phase.figures.iter().filter(|figure| is_told(&figure.name)) {
            let value = crate::report::number::of(figure.unit, figure.value);
            lines.push(format!("  {:<24} {value}", figure.name.replace('_', " ")));
        }
    }
    if let Some(ledger) = &summary.ledger {
        lines.push(format!("ledger    {}", ledger.says()));
    }
    if let Some(bytes) = summary.generator.bytes_per_connection {
        let own = view::bytes(bytes as u64);
        let server = summary.generator.server_bytes_per_connection;
        let server = server.map(|bytes| format!(", servers {}", view::bytes(bytes as u64)));
        lines.push(format!("memory    {own} per connection here{}", server.unwrap_or_default()));
    }
    lines.push(format!("report    {}", folder.join(html::FILE).display()));
    if summary.verdict.outcome == Outcome::Violation {
        let again = format!("loadtest verify {}", folder.display());
        lines.push(format!("          every violation with its history: {again}"));
    }
    lines.join("\n")
}
