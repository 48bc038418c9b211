//! How a process stands: what it shows of itself from its first moment to its last.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use prometheus::Registry;

use crate::admin::Readiness;

/// What a process shows while it starts and runs. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Shown {
    /// What is counted.
    pub registry: Registry,
    /// Why it does not serve.
    pub standing: Standing,
}

/// Why a process does not serve, as it is told to operators. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Standing(Arc<Mutex<State>>);

/// An engine of a cluster of many processes, called as its section of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineName {
    /// The log.
    Kafka,
    /// Mailboxes and what decides.
    Cql,
    /// Presence.
    Redis,
}

#[derive(Default)]
struct State {
    /// Engines that are being opened, and what they are waited for.
    opening: BTreeMap<EngineName, String>,
    /// Looks at the parts, once they run.
    running: Option<Readiness>,
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "kafka",
            Self::Cql => "cql",
            Self::Redis => "redis",
        })
    }
}

impl Standing {
    /// As the admin listener asks for it.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let this = self.clone();
        Arc::new(move || this.reasons())
    }

    /// Why it does not serve; empty when it does.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let state = self.state();
        match &state.running {
            Some(running) => {
                let running = Arc::clone(running);
                drop(state);
                running()
            }
            None if state.opening.is_empty() => vec!["starting".to_owned()],
            None => {
                state.opening.iter().map(|(engine, what)| format!("{engine}: {what}")).collect()
            }
        }
    }

    /// An engine is not open yet.
    pub(super) fn opening(&self, engine: EngineName, what: String) {
        self.state().opening.insert(engine, what);
    }

    /// An engine is open.
    pub(super) fn opened(&self, engine: EngineName) {
        self.state().opening.remove(&engine);
    }

    /// Everything has started; from now on it stands as the parts do.
    pub(super) fn running(&self, readiness: Readiness) {
        self.state().running = Some(readiness);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while holding it")
    }
}
