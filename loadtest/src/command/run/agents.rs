//! A run whose load comes from other machines.

use std::{fs, net::IpAddr, num::NonZeroU32, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};

use super::{
    Args, DriverName,
    ground::{moves, only_target},
};
use crate::{
    agents::{
        Crew, Means,
        keys::{self, Role},
    },
    cluster::{Minter, Target, TokenKey},
    driver::posthorn::DEVICES_PER_SOCKET,
    generator::run::Company,
    scenario::Scenario,
};

/// Who makes the load.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "A load from several machines")]
pub(super) struct AgentsArgs {
    /// Machines on which `loadtest agent` runs: HOST:PORT,HOST:PORT. They share the population
    /// and the rates of the scenario
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', requires = "keys")]
    agents: Vec<String>,
    /// Folder with coordinator.pem, coordinator.key and authority.pem; `loadtest agent-keys new`
    /// makes them
    #[arg(long, value_name = "DIR", requires = "agents")]
    keys: Option<PathBuf>,
}

/// Connects to the agents, if there are any.
///
/// # Errors
/// When one cannot be had, or what is asked for cannot come from other machines.
pub(super) async fn call(args: &Args, scenario: &Scenario) -> anyhow::Result<Option<Crew>> {
    let AgentsArgs { agents, keys } = &args.agents;
    let Some(keys) = keys else { return Ok(None) };
    if args.driver == DriverName::Null {
        bail!("--driver null answers within one process: it cannot span --agents");
    }
    if let Err(problems) = scenario.check_for_agents() {
        bail!("{problems}");
    }
    let starts = args.elsewhere.target.is_empty();
    if let Some(far) = agents.iter().find(|agent| starts && !is_here(agent)) {
        bail!(
            "the agent {far} cannot reach a cluster that is started here for this run: start one \
             that listens to it, and name that by --target"
        );
    }
    let identity = keys::identity(keys, Role::Coordinator)?;
    Ok(Some(Crew::call(agents, identity).await?))
}

/// The agents, and how they reach the cluster.
///
/// # Errors
/// When a file that they need cannot be read.
pub(super) fn company(
    args: &Args,
    crew: Option<Crew>,
    scenario: &Scenario,
    target: Option<&Target>,
) -> anyhow::Result<Option<Company>> {
    let Some(crew) = crew.map(Arc::new) else { return Ok(None) };
    let read = |path: &PathBuf| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let ca = || args.elsewhere.ca.as_ref().map(read).transpose();
    let one_each = moves(scenario).then_some(NonZeroU32::MIN);
    let devices_per_socket = one_each.unwrap_or(DEVICES_PER_SOCKET);
    let (means, minter) = match args.driver {
        DriverName::Mqtt => {
            let target = only_target(args, "mqtt://HOST:1883")?;
            (Means::Mqtt { target, ca: ca()?, devices_per_socket }, None)
        }
        DriverName::Nats => {
            (Means::Nats { target: only_target(args, "nats://HOST:4222")?, ca: ca()? }, None)
        }
        DriverName::Null => bail!("--driver null cannot span --agents"),
        DriverName::Posthorn => {
            let target = target.context("there is no cluster")?;
            let key = TokenKey::read(&target.token_key_file)?;
            let means = Means::Posthorn {
                servers: target.servers.clone(),
                server_name: target.server_name.clone(),
                ca: read(&target.ca_file)?,
                issuer: target.identity.issuer.clone(),
                devices_per_socket,
            };
            (means, Some(Arc::new(Minter::new(key, target.identity.clone()))))
        }
    };
    Ok(Some(Company { crew, means, minter }))
}

/// Whether an agent is on this machine.
fn is_here(agent: &str) -> bool {
    let host = agent.rsplit_once(':').map_or(agent, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
