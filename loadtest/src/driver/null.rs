//! A target in this process that only answers: what the generator itself can do at most.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Abilities, Ability, BoxFuture, ConnectError, Device, Driver, Outcome, SendError, Sink, Told,
};
use crate::population::{ConversationIndex, DeviceIndex, Population};

/// Messages kept for a device that is away; at it the oldest are dropped, and it is told so.
const WAITING_MAX: usize = 65_536;

/// Answers every send at once and delivers it at once, on the thread that sends.
#[derive(Debug)]
pub struct Null(Arc<Switch>);

struct Switch {
    population: Arc<Population>,
    /// By device.
    lines: Vec<Mutex<Line>>,
}

/// Where a device is reached.
#[derive(Default)]
struct Line {
    sink: Option<Sink>,
    waiting: VecDeque<Bytes>,
    has_lost: bool,
}

struct Connected {
    device: DeviceIndex,
    switch: Arc<Switch>,
}

impl Null {
    /// For this population.
    #[must_use]
    pub fn new(population: Arc<Population>) -> Self {
        let lines = population.devices().map(|_| Mutex::default()).collect();
        Self(Arc::new(Switch { population, lines }))
    }
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Switch({} lines)", self.lines.len())
    }
}

impl Switch {
    fn line(&self, device: DeviceIndex) -> MutexGuard<'_, Line> {
        self.lines[device.place()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, device: DeviceIndex, sink: &Sink) {
        let (waiting, has_lost) = {
            let mut line = self.line(device);
            line.sink = Some(Arc::clone(sink));
            (std::mem::take(&mut line.waiting), std::mem::take(&mut line.has_lost))
        };
        sink.hear(device, Told::Up);
        if has_lost {
            sink.hear(device, Told::Truncated);
        }
        for payload in waiting {
            sink.hear(device, Told::Delivery(payload));
        }
        sink.hear(device, Told::CaughtUp);
    }

    fn deliver(&self, device: DeviceIndex, payload: Bytes) {
        let sink = {
            let mut line = self.line(device);
            if line.sink.is_none() {
                line.waiting.push_back(payload.clone());
                if line.waiting.len() > WAITING_MAX {
                    line.waiting.pop_front();
                    line.has_lost = true;
                }
            }
            line.sink.clone()
        };
        if let Some(sink) = sink {
            sink.hear(device, Told::Delivery(payload));
        }
    }
}

impl Driver for Null {
    fn name(&self) -> &'static str {
        "null"
    }

    fn abilities(&self) -> Abilities {
        let yes = Ability::Yes;
        Abilities { groups: yes, devices: yes, resume: yes, migration: yes }
    }

    fn prepare(&self, _: Range<DeviceIndex>) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn connect(
        &self,
        device: DeviceIndex,
        sink: Sink,
    ) -> BoxFuture<'static, Result<Box<dyn Device>, ConnectError>> {
        let switch = Arc::clone(&self.0);
        Box::pin(async move {
            switch.connect(device, &sink);
            Ok(Box::new(Connected { device, switch }) as Box<dyn Device>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl Device for Connected {
    fn send(&self, ticket: u64, to: ConversationIndex, payload: Bytes) -> Result<(), SendError> {
        let sink = self.switch.line(self.device).sink.clone().ok_or(SendError::Gone)?;
        sink.hear(self.device, Told::Outcome { ticket, outcome: Outcome::Accepted });
        for recipient in self.switch.population.recipients(to, self.device) {
            self.switch.deliver(recipient, payload.clone());
        }
        Ok(())
    }

    fn rebind(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// It takes no time to read.
    fn read_slowly(&self, _: Duration) {}

    fn disconnect(self: Box<Self>) -> BoxFuture<'static, ()> {
        drop(self);
        Box::pin(async {})
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.switch.line(self.device).sink = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::{driver::Hear, scenario::Scenario};

    const TWO: &str = r#"
        name = "two"
        about = "Two users."
        [cluster]
        kind = "one-machine"
        [population]
        users = 2
        contacts = { per_user = { min = 1, max = 1 } }
        [traffic]
        payload = { fixed = 64 }
        [[phase]]
        name = "load"
        duration = "1s"
        rate = 1.0
    "#;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Hear for Heard {
        fn hear(&self, device: DeviceIndex, told: Told) {
            let mut heard = self.0.lock().unwrap();
            heard.push(match told {
                Told::Delivery(payload) => format!("{device} {}", payload.len()),
                Told::Outcome { ticket, outcome } => format!("{device} #{ticket} {outcome:?}"),
                Told::Up
                | Told::Down(_)
                | Told::CaughtUp
                | Told::TakenBack(_)
                | Told::Truncated
                | Told::Conflict => format!("{device} {told:?}"),
            });
        }
    }

    #[tokio::test]
    async fn a_send_is_answered_and_delivered_now_or_when_the_device_is_back() {
        let two = Scenario::parse(TWO, "two", Path::new("")).unwrap();
        let null = Null::new(Arc::new(Population::draw(&two.population, &two.traffic, 1)));
        let heard = Arc::new(Heard::default());
        let connect = |device| null.connect(DeviceIndex(device), heard.clone() as Sink);
        let one = connect(0).await.unwrap();
        let conversation = ConversationIndex(0);
        one.send(7, conversation, Bytes::from_static(b"abc")).unwrap();
        let two = connect(1).await.unwrap();
        one.send(8, conversation, Bytes::from_static(b"de")).unwrap();
        two.disconnect().await;
        let all = heard.0.lock().unwrap().join(", ");
        assert_eq!(
            all,
            "0 Up, 0 CaughtUp, 0 #7 Accepted, 1 Up, 1 3, 1 CaughtUp, 0 #8 Accepted, 1 2"
        );
    }
}
