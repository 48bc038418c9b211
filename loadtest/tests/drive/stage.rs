//! A server of its own for each test, a few people, and everything they hear.

use std::{
    num::NonZeroU32,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use client::Roots;
use loadtest::{
    cluster::{self, LocalCluster, Minter, Settings, TokenKey},
    driver::{
        Device, Driver, Hear, Outcome, Sink, Told,
        posthorn::{self, Posthorn},
    },
    population::{ConversationIndex, DeviceIndex, Population},
    scenario::Scenario,
};
use tempfile::TempDir;
use tokio::{sync::Notify, time::timeout};

/// What is to happen is given so long, on any machine.
const WITHIN: Duration = Duration::from_secs(60);

/// Three users with two devices each; everybody knows everybody, and all are in the one group.
const SCENARIO: &str = r#"
name = "drive"
about = "Three users."
[cluster]
kind = "one-machine"
[population]
users = 3
devices_per_user = { weights = [0.0, 1.0] }
contacts = { per_user = { min = 2, max = 2 } }
groups = { count = 1, members = { min = 3, max = 3 } }
[traffic]
payload = { fixed = 64 }
[[phase]]
name = "load"
duration = "1s"
rate = 1.0
"#;

pub(crate) struct Stage {
    pub(crate) cluster: LocalCluster,
    pub(crate) driver: Posthorn,
    pub(crate) population: Arc<Population>,
    pub(crate) heard: Arc<Heard>,
    _folder: TempDir,
}

impl Stage {
    /// Starts a server; nobody is connected yet.
    pub(crate) async fn open(devices_per_socket: u32) -> Self {
        let posthorn = cluster::posthorn(None).expect("`cargo build -p node` comes first");
        let folder = tempfile::tempdir().unwrap();
        let scenario = Scenario::parse(SCENARIO, "drive", Path::new("")).unwrap();
        let settings = Settings {
            posthorn,
            folder: folder.path().to_owned(),
            cluster: scenario.cluster.clone(),
            engines: None,
        };
        let cluster = LocalCluster::start(&settings).await.unwrap();
        let population = Population::draw(&scenario.population, &scenario.traffic, 1);
        let population = Arc::new(population);
        let target = cluster.target();
        let key = TokenKey::read(&target.token_key_file).unwrap();
        let mut settings = posthorn::Settings::new(
            target.servers.clone(),
            target.server_name.clone(),
            Roots::from_pem(&std::fs::read(&target.ca_file).unwrap()).unwrap(),
            Minter::new(key, target.identity.clone()),
            7,
        );
        settings.devices_per_socket = NonZeroU32::new(devices_per_socket).unwrap();
        settings.close_within = Duration::from_millis(300);
        let driver = Posthorn::new(settings, Arc::clone(&population));
        Self { cluster, driver, population, heard: Arc::default(), _folder: folder }
    }

    pub(crate) async fn connect(&self, device: u32) -> Box<dyn Device> {
        let sink = Arc::clone(&self.heard) as Sink;
        self.driver.connect(DeviceIndex(device), sink).await.unwrap()
    }

    /// Connects everybody and makes the group.
    pub(crate) async fn connect_all(&self) -> Vec<Box<dyn Device>> {
        let mut all = Vec::new();
        for device in self.population.devices() {
            all.push(self.connect(device.0).await);
        }
        self.driver
            .prepare(DeviceIndex(0)..DeviceIndex(self.population.device_count()))
            .await
            .unwrap();
        all
    }

    /// The conversation of two users.
    pub(crate) fn pair(&self, one: u32, other: u32) -> ConversationIndex {
        let is = |conversation: &ConversationIndex| {
            let mut members: Vec<u32> =
                self.population.members(*conversation).iter().map(|user| user.0).collect();
            members.sort_unstable();
            members == [one.min(other), one.max(other)]
        };
        self.population.conversations().find(is).unwrap()
    }

    /// The conversation of all.
    pub(crate) fn group(&self) -> ConversationIndex {
        self.population.groups().next().unwrap()
    }
}

/// What devices were told, in this order.
#[derive(Default)]
pub(crate) struct Heard {
    log: Mutex<Vec<(u32, Told)>>,
    changed: Notify,
}

impl Hear for Heard {
    fn hear(&self, device: DeviceIndex, told: Told) {
        self.log.lock().unwrap().push((device.0, told));
        self.changed.notify_waiters();
    }
}

impl Heard {
    /// What was delivered to a device.
    pub(crate) fn texts(&self, device: u32) -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        self.of(device, |told| match told {
            Told::Delivery(payload) => Some(text(payload)),
            _ => None,
        })
    }

    /// What became of a device's sends, by ticket.
    pub(crate) fn outcomes(&self, device: u32) -> Vec<(u64, Outcome)> {
        let mut outcomes = self.of(device, |told| match told {
            Told::Outcome { ticket, outcome } => Some((*ticket, outcome.clone())),
            _ => None,
        });
        outcomes.sort_by_key(|(ticket, _)| *ticket);
        outcomes
    }

    /// How often a device came up and went down.
    pub(crate) fn ups_and_downs(&self, device: u32) -> (usize, usize) {
        let ups = self.of(device, |told| matches!(told, Told::Up).then_some(()));
        let downs = self.of(device, |told| matches!(told, Told::Down(_)).then_some(()));
        (ups.len(), downs.len())
    }

    /// What must never be told.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let is_alarm = |told: &Told| matches!(told, Told::Truncated | Told::Conflict);
        log.iter().filter(|(_, told)| is_alarm(told)).map(|all| format!("{all:?}")).collect()
    }

    fn of<T>(&self, device: u32, what: impl Fn(&Told) -> Option<T>) -> Vec<T> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(told, _)| *told == device).filter_map(|(_, told)| what(told)).collect()
    }

    /// Waits until `is_so`.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                if is_so(self) {
                    break;
                }
                changed.await;
            }
        };
        if timeout(WITHIN, wait).await.is_err() {
            panic!("{what} did not happen: {:?}", self.log.lock().unwrap());
        }
    }

    /// Waits until so many messages were delivered to a device.
    pub(crate) async fn delivered(&self, device: u32, count: usize) {
        let what = format!("{count} deliveries to {device}");
        self.until(&what, |heard| heard.texts(device).len() >= count).await;
    }

    /// Waits until so many sends of a device were answered.
    pub(crate) async fn answered(&self, device: u32, count: usize) {
        let what = format!("{count} answers to {device}");
        self.until(&what, |heard| heard.outcomes(device).len() >= count).await;
    }
}

pub(crate) fn numbered(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| format!("message {number}")).collect()
}

/// Sends these numbers, each its own ticket.
pub(crate) fn send(device: &dyn Device, to: ConversationIndex, range: std::ops::Range<u64>) {
    for number in range {
        device.send(number, to, format!("message {number}").into()).unwrap();
    }
}
