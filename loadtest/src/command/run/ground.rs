//! What a run stands on: the cluster, started here or found, and the driver that speaks to it.

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use link::tls::Roots;

use super::{Args, DriverName};
use crate::{
    cluster::{self, LocalCluster, Minter, Settings, Target, TokenKey},
    driver::{
        Driver,
        mqtt::{self, Mqtt},
        nats::{self, Nats},
        null::Null,
        posthorn::{self, Posthorn},
    },
    ledger::{OwnCopies, Rules},
    population::Population,
    scenario::{ClusterKind, Scenario, What},
};

/// What a run stands on.
pub(super) struct Ground {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) rules: Rules,
    pub(super) cluster: Option<LocalCluster>,
    /// Where the servers that were started keep their data.
    pub(super) folder: Option<PathBuf>,
    pub(super) target: Option<Target>,
    /// What is driven, in words.
    pub(super) words: String,
    /// What the servers say they are.
    pub(super) version: Option<String>,
}

/// What others promise: a sender's other devices have its messages; orders differ from one device
/// to the other.
const RULES_OF_OTHERS: Rules =
    Rules { own_copies: OwnCopies::Due, mailbox_order: false, group_order: false };

impl Ground {
    /// Starts what is to be started, and makes the driver.
    pub(super) async fn lay(
        args: &Args,
        scenario: &Scenario,
        population: &Arc<Population>,
        folder: &Path,
        run: u64,
    ) -> anyhow::Result<Self> {
        let people = Arc::clone(population);
        let one_each = moves(scenario).then_some(NonZeroU32::MIN);
        match args.driver {
            DriverName::Null => Ok(Self {
                rules: Rules::POSTHORN,
                words: "nothing: every send is answered in this program".to_owned(),
                ..Self::elsewhere(Arc::new(Null::new(people)))
            }),
            DriverName::Mqtt => {
                let target = only_target(args, "mqtt://HOST:1883")?;
                let ca = args.elsewhere.ca.clone();
                let mut settings = mqtt::Settings::new(target.clone(), ca, run);
                settings.devices_per_socket = one_each.unwrap_or(settings.devices_per_socket);
                let driver = Arc::new(Mqtt::new(settings, people)?);
                Ok(Self { words: target, ..Self::elsewhere(driver) })
            }
            DriverName::Nats => {
                let target = only_target(args, "nats://HOST:4222")?;
                let settings = nats::Settings::new(target.clone(), args.elsewhere.ca.clone(), run);
                let driver = Arc::new(Nats::new(settings, people)?);
                Ok(Self { words: target, ..Self::elsewhere(driver) })
            }
            DriverName::Posthorn => {
                let mut ground = Started::new(args, scenario, folder).await?;
                let target = ground.target.clone();
                let mut settings = settings(&target, run)?;
                settings.devices_per_socket = one_each.unwrap_or(settings.devices_per_socket);
                Ok(Self {
                    driver: Arc::new(Posthorn::new(settings, people)),
                    rules: Rules::POSTHORN,
                    cluster: ground.cluster.take(),
                    folder: ground.folder,
                    words: ground.words,
                    version: ground.version,
                    target: Some(target),
                })
            }
        }
    }

    fn elsewhere(driver: Arc<dyn Driver>) -> Self {
        Self {
            driver,
            rules: RULES_OF_OTHERS,
            cluster: None,
            folder: None,
            target: None,
            words: String::new(),
            version: None,
        }
    }
}

/// A Posthorn cluster that was started, or is there.
struct Started {
    cluster: Option<LocalCluster>,
    folder: Option<PathBuf>,
    target: Target,
    words: String,
    version: Option<String>,
}

impl Started {
    async fn new(args: &Args, scenario: &Scenario, folder: &Path) -> anyhow::Result<Self> {
        if !args.elsewhere.target.is_empty() {
            let target = target(args)?;
            let words = target.servers.join(", ");
            return Ok(Self { cluster: None, folder: None, target, words, version: None });
        }
        let posthorn = cluster::posthorn(args.posthorn.as_deref())?;
        check_engines(args, scenario)?;
        let settings = Settings {
            posthorn: posthorn.clone(),
            folder: folder.join("cluster"),
            cluster: scenario.cluster.clone(),
            engines: args.engines.clone(),
        };
        let cluster = LocalCluster::start(&settings).await?;
        let names: Vec<_> = cluster.processes().iter().map(|process| process.name()).collect();
        let words = format!("{} on this machine", names.join(", "));
        let target = cluster.target().clone();
        Ok(Self {
            folder: Some(settings.folder.join("data")).filter(|data| data.is_dir()),
            cluster: Some(cluster),
            target,
            words,
            version: version(&posthorn),
        })
    }
}

/// What a scenario cannot do without must be named before anything is started.
fn check_engines(args: &Args, scenario: &Scenario) -> anyhow::Result<()> {
    match (scenario.cluster.kind, &args.engines) {
        (ClusterKind::OneMachine, _) | (ClusterKind::Engines { .. }, Some(_)) => Ok(()),
        (ClusterKind::Engines { .. }, None) => bail!(
            "the scenario {} needs a cluster on Kafka, a database and Redis: start engines by \
             `cargo xtask engines up DIR` and name them by --engines DIR/posthorn.toml",
            scenario.name
        ),
    }
}

fn target(args: &Args) -> anyhow::Result<Target> {
    let elsewhere = &args.elsewhere;
    let first = elsewhere.target.first().context("--target is missing")?;
    let (host, _) =
        first.rsplit_once(':').with_context(|| format!("--target {first}: expected HOST:PORT"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let key = "with --target, --jwt-key FILE is needed: the key that the cluster believes tokens \
               of; `loadtest token-key new DIR` makes one";
    let ca = "with --target, --ca FILE is needed: the certificate of who signs the servers'";
    Ok(Target {
        servers: elsewhere.target.clone(),
        server_name: elsewhere.server_name.clone().unwrap_or_else(|| host.to_owned()),
        ca_file: elsewhere.ca.clone().context(ca)?,
        token_key_file: elsewhere.jwt_key.clone().context(key)?,
        identity: elsewhere.identity.identity(),
    })
}

fn settings(target: &Target, run: u64) -> anyhow::Result<posthorn::Settings> {
    let pem = fs::read(&target.ca_file)
        .with_context(|| format!("cannot read {}", target.ca_file.display()))?;
    let minter = Minter::new(TokenKey::read(&target.token_key_file)?, target.identity.clone());
    let (servers, name) = (target.servers.clone(), target.server_name.clone());
    Ok(posthorn::Settings::new(servers, name, Roots::from_pem(&pem)?, minter, run))
}

pub(super) fn only_target(args: &Args, example: &str) -> anyhow::Result<String> {
    match args.elsewhere.target.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("this driver starts nothing: say where the server is by --target {example}"),
        _ => bail!("this driver knows one --target only"),
    }
}

/// Whether devices change their ports: then each needs a socket of its own.
pub(super) fn moves(scenario: &Scenario) -> bool {
    let mut actions = scenario.phases.iter().flat_map(|phase| &phase.actions);
    actions.any(|action| matches!(action.what, What::Rebind { .. }))
}

/// What the program says it is.
fn version(posthorn: &Path) -> Option<String> {
    let output = Command::new(posthorn).arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}
