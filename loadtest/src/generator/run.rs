//! A whole run: from nobody connected to a summary on the disk.

mod cast;
mod verdict;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{RunClock, wall_clock_ms},
    cluster::{ForeignProcess, LocalCluster, MetricsUrl, Sampler, Target, Usage, Watched},
    driver::{Abilities, Ability, Driver},
    ledger::{self, End, Rules, RunInfo, Verdict},
    measure::{IntervalLogs, describe_machine},
    population::{Payloads, Population},
    report::{
        self,
        summary::{self, PopulationFigures, Summary},
    },
    scenario::Scenario,
    view::{Board, Mode, Stage, View},
};

use super::{
    Drained, Play,
    conductor::{Conductor, Led},
    journal::Journal,
    sampling::{Sampled, Sampling},
};

pub use cast::Company;

/// The scenario as it was run, in the folder of a run.
const SCENARIO_FILE: &str = "scenario.toml";
/// What the machine is, in the folder of a run.
const MACHINE_FILE: &str = "machine.json";
/// Everything a run needs.
pub struct Run {
    /// The number of the run, in every message and every name.
    pub id: u64,
    /// What is to be done.
    pub scenario: Arc<Scenario>,
    /// Who there is.
    pub population: Arc<Population>,
    /// What is said.
    pub payloads: Payloads,
    /// How the cluster is spoken to.
    pub driver: Arc<dyn Driver>,
    /// What is due to whom.
    pub rules: Rules,
    /// The cluster, when it was started for this run. It is ended afterwards.
    pub cluster: Option<LocalCluster>,
    /// Where floods go; none when the driver is not Posthorn's.
    pub target: Option<Target>,
    /// Where metrics are served of a cluster that runs elsewhere.
    pub metrics: Vec<MetricsUrl>,
    /// Server processes of this machine that somebody else started.
    pub watch: Vec<ForeignProcess>,
    /// Where everything is left; it is there, and has no ledger.
    pub folder: PathBuf,
    /// How much is shown meanwhile.
    pub mode: Mode,
    /// What the summary says of the run.
    pub about: About,
    /// Agents that play the population; none when this process does.
    pub company: Option<Company>,
    /// Ends the load early; all that follows the load is done still.
    pub interrupt: CancellationToken,
}

/// What the summary says of a run that nobody could find out from the run itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What is driven: an address, or the processes that were started.
    pub target: String,
    /// The version the cluster says of itself.
    pub server_version: Option<String>,
    /// The command line.
    pub command: Vec<String>,
}

/// What a run knows at its end.
struct Ended {
    led: Led,
    drained: Drained,
    sampled: Sampled,
    verdict: Verdict,
    interrupted: bool,
    /// Who was lost before the end, and why, in sentences.
    losses: Vec<String>,
    agents: Vec<summary::Agent>,
    duration_s: f64,
}

/// Memory of this program and of the processes of the cluster.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    own_bytes: u64,
    servers_bytes: Option<u64>,
}

impl Run {
    /// Does it all, and leaves the summary and the report in the folder.
    ///
    /// # Errors
    /// When the run cannot begin, or its folder cannot be written.
    ///
    /// # Cancel safety
    /// A dropped call ends everything at once, the processes of the cluster too.
    pub async fn perform(mut self) -> anyhow::Result<Summary> {
        check_abilities(&self.scenario, &self.population, self.driver.abilities())?;
        self.check_names()?;
        self.leave_inputs()?;
        let clock = RunClock::start();
        let began_ms = wall_clock_ms();
        let board = Arc::new(Board::new(clock));
        board.update(|shown| shown.devices = u64::from(self.population.device_count()));
        let view = View::open(self.mode, Arc::clone(&board));
        let done = self.drive(clock, began_ms, &board).await;
        view.close().await;
        let (conductor, ended, own) = done?;
        let mut summary = self.summary(&conductor, ended, began_ms);
        summary.generator.bytes_per_connection = own.bytes_per_connection;
        summary.generator.server_bytes_per_connection = own.server_bytes_per_connection;
        drop(conductor);
        summary.write(&self.folder)?;
        report::write_html(&summary, &self.folder.join(report::html::FILE))?;
        Ok(summary)
    }

    /// Connects, leads, drains and verifies.
    async fn drive(
        &mut self,
        clock: RunClock,
        began_ms: u64,
        board: &Arc<Board>,
    ) -> anyhow::Result<(Conductor, Ended, summary::Generator)> {
        let cluster = self.cluster.take().map(Arc::new);
        let info = RunInfo {
            run: self.id,
            seed: self.scenario.seed,
            population: self.population.digest(),
            rules: self.rules,
        };
        let (player, cast) = self.cast(clock, &info).await?;
        let sampling = Sampling::new(Arc::clone(&player), Arc::clone(board));
        let sampler = Sampler::start(self.watched(cluster.as_deref()), clock, {
            let sampling = sampling.clone();
            move |sample| sampling.look(sample)
        })?;
        let own = self.connect(player.as_ref(), cluster.as_deref(), board).await?;
        let interrupt = self.interrupt.child_token();
        let conductor = Conductor {
            scenario: Arc::clone(&self.scenario),
            generator: player,
            cluster,
            target: self.target.clone(),
            sampling: sampling.clone(),
            journal: Journal::new(clock, Arc::clone(board)),
            board: Arc::clone(board),
            clock,
            folder: self.folder.clone(),
            interrupt: interrupt.clone(),
        };
        let watch = cast.watch(conductor.journal.clone(), interrupt);
        let load_ns = clock.now_ns();
        let load_ms = began_ms + load_ns / 1_000_000;
        sampling.begin(IntervalLogs::create(&self.folder, load_ms)?, load_ns);
        let led = conductor.lead().await?;
        let duration_s = (clock.now_ns() - load_ns) as f64 / 1e9;
        let drained = conductor.drain().await;
        let end = if drained.missing == 0 { End::Drained } else { End::Interrupted };
        spawn_blocking(move || sampler.end()).await?;
        self.look_after_foreign(&conductor.journal);
        cast.finish(&self.folder, &info, end, clock, &conductor.journal).await?;
        let sampled = sampling.end();
        let verdict = self.verify(board).await?;
        let interrupted = self.interrupt.is_cancelled();
        let losses = cast.losses();
        drop(watch);
        let agents = cast.describe_and_dismiss().await;
        let ended =
            Ended { led, drained, sampled, verdict, interrupted, losses, agents, duration_s };
        Ok((conductor, ended, own))
    }

    /// Two processes of one name would be taken for one that was started again.
    fn check_names(&self) -> anyhow::Result<()> {
        let started = self.cluster.iter().flat_map(LocalCluster::processes);
        let mut names: Vec<&str> = started.map(|process| process.name()).collect();
        for process in &self.watch {
            let name = process.name.as_str();
            if names.contains(&name) {
                bail!("two processes are called {name}: give the one of --watch another name");
            }
            names.push(name);
        }
        Ok(())
    }

    /// Leaves what the run was made of in its folder.
    fn leave_inputs(&self) -> anyhow::Result<()> {
        let write = |name: &str, text: &str| {
            let path = self.folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(SCENARIO_FILE, &self.scenario.text)?;
        let machine = serde_json::json!({
            "machine": describe_machine(),
            "server": self.about.server_version,
            "loadtest": env!("CARGO_PKG_VERSION"),
        });
        write(MACHINE_FILE, &format!("{machine:#}\n"))
    }

    /// This program first, then the processes of the cluster, and those somebody else started.
    fn watched(&self, cluster: Option<&LocalCluster>) -> Vec<Watched> {
        let processes = cluster.map(LocalCluster::processes).unwrap_or_default();
        let processes = processes.iter().map(|process| Watched::Process(Arc::clone(process)));
        let foreign = self.watch.iter().cloned().map(Watched::Foreign);
        let metrics = self.metrics.iter().cloned().map(Watched::Metrics);
        std::iter::once(Watched::Own).chain(processes).chain(foreign).chain(metrics).collect()
    }

    /// Connects everybody, and says what memory that took.
    async fn connect(
        &self,
        player: &dyn Play,
        cluster: Option<&LocalCluster>,
        board: &Board,
    ) -> anyhow::Result<summary::Generator> {
        board.begin(Stage { name: "connecting".to_owned(), ..Stage::default() });
        let before = self.memory(cluster, player);
        let connect = async {
            player.connect(&|done, of| board.done(done, of)).await?;
            let after = self.memory(cluster, player);
            board.begin(Stage { name: "making groups".to_owned(), ..Stage::default() });
            player.make_groups().await.context("prepare the groups")?;
            board.begin(Stage { name: "who is away leaves".to_owned(), ..Stage::default() });
            player.assemble().await?;
            anyhow::Ok(after)
        };
        let after = tokio::select! {
            biased;
            () = self.interrupt.cancelled() => bail!("interrupted before the load began"),
            connected = connect => connected?,
        };
        let devices = f64::from(self.population.device_count().max(1));
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / devices;
        Ok(summary::Generator {
            bytes_per_connection: Some(each(before.own_bytes, after.own_bytes)),
            server_bytes_per_connection: before
                .servers_bytes
                .zip(after.servers_bytes)
                .map(|(before, after)| each(before, after)),
            ..summary::Generator::default()
        })
    }

    fn memory(&self, cluster: Option<&LocalCluster>, player: &dyn Play) -> Memory {
        let own = player.elsewhere().or_else(Usage::own);
        let started = cluster.map(LocalCluster::processes).unwrap_or_default();
        let started = started.iter().filter_map(|process| Usage::of(process.pid()?));
        let foreign = self.watch.iter().filter_map(ForeignProcess::usage);
        let servers = started.chain(foreign).map(|usage| usage.rss_bytes);
        Memory {
            own_bytes: own.map_or(0, |usage| usage.rss_bytes),
            servers_bytes: servers.reduce(|sum, bytes| sum + bytes),
        }
    }

    /// Notes which of the processes that somebody else started are gone.
    fn look_after_foreign(&self, journal: &Journal) {
        for gone in self.watch.iter().filter(|process| process.usage().is_none()) {
            let ForeignProcess { name, pid, .. } = gone;
            journal.note(format!(
                "{name} (process {pid}) ended during the run: what it used is known until then, \
                 and of one that took its place nothing.",
            ));
        }
    }

    async fn verify(&self, board: &Arc<Board>) -> anyhow::Result<Verdict> {
        let (folder, population) = (self.folder.clone(), Arc::clone(&self.population));
        let board = Arc::clone(board);
        let verifying = spawn_blocking(move || {
            ledger::verify(&folder, population.as_ref(), &mut |progress| {
                board.begin(Stage {
                    name: "verifying".to_owned(),
                    detail: progress.pass.name().to_owned(),
                    done: Some((progress.bytes, progress.of)),
                    lasts: None,
                });
            })
        });
        verifying.await?
    }

    fn population_figures(&self) -> PopulationFigures {
        let population = &self.population;
        PopulationFigures {
            digest: format!("{:016x}", population.digest()),
            users: u64::from(population.user_count()),
            devices: u64::from(population.device_count()),
            pairs: u64::from(population.direct_count()),
            groups: u64::from(population.group_count()),
            online: u64::from(population.online_count()),
        }
    }
}

/// Refuses a scenario that needs what the driver cannot do.
fn check_abilities(
    scenario: &Scenario,
    population: &Population,
    abilities: Abilities,
) -> anyhow::Result<()> {
    use crate::scenario::What;
    let actions = || scenario.phases.iter().flat_map(|phase| &phase.actions);
    let goes_away = scenario.phases.iter().any(|phase| phase.churn.is_some())
        || population.online_count() < population.device_count()
        || actions().any(|action| matches!(action.what, What::Disconnect { .. }));
    let needs = [
        ("groups", population.group_count() > 0, abilities.groups),
        (
            "several devices of one user",
            population.device_count() > population.user_count(),
            abilities.devices,
        ),
        ("devices that are away and come back", goes_away, abilities.resume),
        (
            "devices that change their port",
            actions().any(|action| matches!(action.what, What::Rebind { .. })),
            abilities.migration,
        ),
    ];
    for (what, needed, ability) in needs {
        if let (true, Ability::Unset(why) | Ability::No(why)) = (needed, ability) {
            bail!("the scenario {} has {what}, which this driver cannot do: {why}", scenario.name);
        }
    }
    Ok(())
}

/// Makes the folder of a run: the one given, which must be empty, or a new one under
/// `loadtest-results`.
///
/// # Errors
/// When it cannot be made, or holds something.
pub fn folder(given: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    let folder = given.map_or_else(
        || {
            let date = report::number::date(wall_clock_ms());
            let date: String =
                date.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            Path::new("loadtest-results").join(format!("{name}-{}", date.trim_end_matches('-')))
        },
        Path::to_path_buf,
    );
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut holds = fs::read_dir(&folder)?;
    if holds.next().is_some() {
        bail!("{} holds something already: name a new folder by --out", folder.display());
    }
    Ok(folder)
}
