//! Looks every few seconds whether Kafka is still what it was when the log was opened.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::consumer::Consumer;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use wire::Topic;

use crate::{
    identity::{self, Mismatch},
    kafka_log::Engine,
    settings::Asking,
};

/// How often, and how often at most when something is suspicious.
const EVERY: Duration = Duration::from_secs(3);
const AT_LEAST: Duration = Duration::from_secs(1);
/// How often settings of topics are looked at, in looks.
const SETTINGS_EVERY: u32 = 20;

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    /// A topic that is not the one of the epoch map; for good.
    mismatch: Mutex<Option<String>>,
    /// Settings that do not keep what is accepted; until they are changed.
    settings: Mutex<Option<String>>,
}

impl Found {
    pub(crate) fn trouble(&self) -> Option<String> {
        let mismatch = self.mismatch.lock().expect("no holder of this lock panics").clone();
        mismatch.or_else(|| self.settings.lock().expect("no holder of this lock panics").clone())
    }
}

/// Looks until it is stopped.
pub(crate) async fn run(
    engine: Arc<Engine>,
    client: Arc<Asking>,
    nudge: Arc<Notify>,
    stop: CancellationToken,
) {
    let gone_before = Arc::new(Mutex::new(Vec::new()));
    for look in 1_u32.. {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            nudged = timeout(EVERY - AT_LEAST, nudge.notified()) => drop(nudged),
        }
        // Errors come in swarms.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(AT_LEAST) => {}
        }
        let (engine_there, client_there) = (Arc::clone(&engine), Arc::clone(&client));
        let (gone_there, stop_there) = (Arc::clone(&gone_before), stop.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let mut gone = gone_there.lock().expect("no holder of this lock panics");
            look_once(&engine_there, &client_there, &mut gone, &stop_there);
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking at Kafka");
        }
        if look.is_multiple_of(SETTINGS_EVERY) {
            look_at_settings(&engine).await;
        }
    }
}

/// Compares the topics first: another topic has other ends.
fn look_once(engine: &Engine, client: &Asking, gone: &mut Vec<Topic>, stop: &CancellationToken) {
    // Takes what the client has to say, which else stays in it.
    while client.poll(Duration::ZERO).is_some() {}
    match identity::compare(client.client(), &engine.layout) {
        Ok(mismatches) => {
            engine.reach.set_lost(false);
            *gone = judge(engine, mismatches, gone);
        }
        Err(reason) => tracing::debug!(reason, "the topics of Kafka were not compared"),
    }
    engine.members().for_each(|member| member.look(&|| stop.is_cancelled()));
}

/// Refuses topics that are not those of the epoch map. One that is gone is refused when it is so
/// twice: a broker that starts may not know it yet. Those that are gone.
fn judge(engine: &Engine, found: Vec<Mismatch>, gone_before: &[Topic]) -> Vec<Topic> {
    let mut gone = Vec::new();
    for Mismatch { topic, what, is_gone } in found {
        if is_gone && !gone_before.contains(&topic) {
            gone.push(topic);
            continue;
        }
        let reason = format!(
            "{what}: nothing is read or appended, since positions of another topic mean nothing \
             here; begin a new epoch"
        );
        tracing::error!(reason, "Kafka is not what the epoch map says");
        engine.refuse(topic, &reason);
        let mut mismatch = engine.found.mismatch.lock().expect("no holder of this lock panics");
        mismatch.get_or_insert(reason);
    }
    gone
}

async fn look_at_settings(engine: &Engine) {
    let found = identity::unsafe_settings(&engine.config, &engine.layout, &engine.reach).await;
    let Ok(found) = found else { return };
    let reason =
        found.first().map(|first| format!("{} is {}: {}", first.about, first.found, first.remedy));
    *engine.found.settings.lock().expect("no holder of this lock panics") = reason;
}
