//! Actions: what happens to devices, processes and the machine at given times of a phase.

use std::{fs, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Act, LocalCluster},
    generator::{flood, journal::Journal, sampling::Sampling},
    report::summary::{EventKind, Outcome},
    scenario::{Action, Phase, What},
};

use super::Conductor;

impl Conductor {
    /// Begins each action of a phase at its time. What takes longer goes on in `tasks`.
    pub(super) async fn act(
        &self,
        tasks: &mut JoinSet<()>,
        place: u32,
        phase: &Phase,
        began_ns: u64,
        stop: &CancellationToken,
    ) {
        self.generator.announce(place, began_ns, stop);
        for (number, action) in (0..).zip(&phase.actions) {
            let at_ns = u64::try_from(action.at.as_nanos()).unwrap_or(u64::MAX);
            let left_ns = began_ns.saturating_add(at_ns).saturating_sub(self.clock.now_ns());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep(Duration::from_nanos(left_ns)) => {}
            }
            self.begin_action(tasks, (place, number), phase, action);
        }
    }

    fn begin_action(
        &self,
        tasks: &mut JoinSet<()>,
        at: (u32, u32),
        phase: &Phase,
        action: &Action,
    ) {
        self.journal.event(EventKind::Action, words(&action.what));
        if self.generator.begin_action(at, &action.what) {
            return;
        }
        let (name, what) = (phase.name.clone(), action.what.clone());
        let journal = self.journal.clone();
        let doing = self.doing(at, &action.what);
        tasks.spawn(async move {
            match doing.await {
                Ok(Some(said)) => journal.event(EventKind::Action, said),
                Ok(None) => {}
                Err(error) => {
                    let text = format!("{} failed: {error:#}", words(&what));
                    journal.event(EventKind::Trouble, text.clone());
                    journal.reason(Outcome::Incomplete, Some(&name), text);
                }
            }
        });
    }

    /// What an action on processes, of a shell or of attackers does; what there is to say of it.
    fn doing(
        &self,
        (phase, number): (u32, u32),
        what: &What,
    ) -> impl Future<Output = anyhow::Result<Option<String>>> + Send + 'static {
        let (cluster, target) = (self.cluster.clone(), self.target.clone());
        let (sampling, journal) = (self.sampling.clone(), self.journal.clone());
        let (what, generator) = (what.clone(), Arc::clone(&self.generator));
        let log = self.folder.join(format!("command-{}-{}.log", phase + 1, number + 1));
        let stop = self.interrupt.clone();
        async move {
            let acts: &[Act] = match &what {
                What::Flood(attack) => {
                    let target = target.context("there is no Posthorn cluster to attack")?;
                    return flood::attack(attack, &target, &stop).await.map(Some);
                }
                What::Command(command) => {
                    generator.fault();
                    return run(command.clone(), log).await.map(Some);
                }
                What::DrainProcess(_) => &[Act::Drain, Act::Start],
                What::Kill(_) => &[Act::Kill],
                What::Stop(_) => &[Act::Stop],
                What::Cont(_) => &[Act::Cont],
                What::Start(_) => &[Act::Start],
                What::Terminate(_) => &[Act::Terminate],
                What::Disconnect { .. } | What::Reconnect { .. } | What::Rebind { .. } => &[],
            };
            let process = what.process().context("it is done to no process")?;
            let cluster = cluster.context("the run started no process it could be done to")?;
            if acts.first().is_some_and(parts) {
                generator.fault();
            }
            for act in acts {
                do_to(&cluster, process, *act, &sampling, &journal).await?;
            }
            Ok(None)
        }
    }
}

/// Whether it parts clients from the cluster.
fn parts(act: &Act) -> bool {
    match act {
        Act::Kill | Act::Stop | Act::Terminate | Act::Drain => true,
        Act::Cont | Act::Start => false,
    }
}

async fn do_to(
    cluster: &LocalCluster,
    process: &str,
    act: Act,
    sampling: &Sampling,
    journal: &Journal,
) -> anyhow::Result<()> {
    cluster.act(process, act).await?;
    match act {
        Act::Start => {
            sampling.restarted(process);
            journal.event(EventKind::Action, format!("{process} is ready again"));
        }
        Act::Terminate | Act::Drain => {
            journal.event(EventKind::Action, format!("{process} has ended"));
        }
        Act::Kill | Act::Stop | Act::Cont => {}
    }
    Ok(())
}

/// Runs a command by the shell and keeps what it says.
async fn run(command: String, log: std::path::PathBuf) -> anyhow::Result<String> {
    let ended = tokio::task::spawn_blocking(move || {
        let output = Command::new("sh").args(["-c", &command]).output();
        let output = output.context("`sh` cannot be run")?;
        let mut said = output.stdout;
        said.extend_from_slice(&output.stderr);
        fs::write(&log, &said).with_context(|| format!("cannot write {}", log.display()))?;
        if !output.status.success() {
            let last = String::from_utf8_lossy(&said);
            let last = last.lines().last().unwrap_or_default();
            bail!("{}; it said last: {last}; all of it is in {}", output.status, log.display());
        }
        Ok(format!("the command has ended: {command}"))
    });
    ended.await?
}

/// An action as it is written down: `kill server`.
fn words(what: &What) -> String {
    let name = what.name();
    let share = |share: f64, over: Duration| {
        let over = if over.is_zero() { String::new() } else { format!(" over {over:?}") };
        format!("{name} {:.0}% of devices{over}", share * 100.0)
    };
    match what {
        What::Disconnect { share: of, over }
        | What::Reconnect { share: of, over }
        | What::Rebind { share: of, over } => share(*of, *over),
        What::DrainProcess(process)
        | What::Kill(process)
        | What::Stop(process)
        | What::Cont(process)
        | What::Start(process)
        | What::Terminate(process) => format!("{name} {process}"),
        What::Command(command) => format!("{name}: {command}"),
        What::Flood(flood) => format!(
            "{name} of {} by {} attackers, {:.0}/s for {:?}",
            flood.kind.name(),
            flood.connections,
            flood.rate,
            flood.duration,
        ),
    }
}
