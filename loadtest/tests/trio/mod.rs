//! Three users with two devices each, who speak to each other through a driver.

#![allow(dead_code, reason = "each test uses a part of it")]

mod heard;

use std::{ops::Range, path::Path, sync::Arc};

use bytes::BytesMut;
use loadtest::{
    driver::{Device, Driver, Sink},
    ledger::content,
    population::{ConversationIndex, DeviceIndex, Population},
    scenario::Scenario,
};

pub(crate) use heard::Heard;

/// The number of the run.
pub(crate) const RUN: u64 = 7;

/// Everybody knows everybody, and all are in the one group.
const SCENARIO: &str = r#"
name = "trio"
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

/// Three users, and what they hear. Devices 0 and 1 are of the first, and so on.
pub(crate) struct Trio {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) heard: Arc<Heard>,
    population: Arc<Population>,
}

/// A connected device.
pub(crate) struct Member {
    pub(crate) device: Box<dyn Device>,
    index: DeviceIndex,
}

pub(crate) fn scenario() -> Scenario {
    Scenario::parse(SCENARIO, "trio", Path::new("")).unwrap()
}

impl Trio {
    /// Nobody is connected yet.
    pub(crate) fn new(driver: impl FnOnce(Arc<Population>) -> Box<dyn Driver>) -> Self {
        let scenario = scenario();
        let population = Population::draw(&scenario.population, &scenario.traffic, 1);
        let population = Arc::new(population);
        Self { driver: driver(Arc::clone(&population)), heard: Arc::default(), population }
    }

    pub(crate) async fn connect(&self, device: u32) -> Member {
        let (index, sink) = (DeviceIndex(device), Arc::clone(&self.heard) as Sink);
        let device = self.driver.connect(index, sink).await.unwrap();
        Member { device, index }
    }

    /// Connects everybody and makes the group.
    pub(crate) async fn connect_all(&self) -> Vec<Member> {
        let mut all = Vec::new();
        for device in self.population.devices() {
            all.push(self.connect(device.0).await);
        }
        let devices = DeviceIndex(0)..DeviceIndex(self.population.device_count());
        self.driver.prepare(devices).await.unwrap();
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

impl Member {
    /// Sends messages that carry these numbers, which are their tickets, too.
    pub(crate) fn send(&self, to: ConversationIndex, numbers: Range<u64>) {
        for counter in numbers {
            let (run, from) = (RUN, self.index);
            let header = content::Header { run, from, conversation: to, counter, intended_ns: 0 };
            let mut payload = BytesMut::new();
            content::write(&header, b"body", &mut payload);
            self.device.send(counter, to, payload.freeze()).unwrap();
        }
    }

    pub(crate) async fn disconnect(self) {
        self.device.disconnect().await;
    }
}
