//! What devices were told.

use std::{sync::Mutex, time::Duration};

use loadtest::{
    driver::{Hear, Outcome, Told},
    ledger::content,
    population::DeviceIndex,
};
use tokio::{sync::Notify, time::timeout};

/// What is to happen is given so long, on any machine.
const WITHIN: Duration = Duration::from_secs(60);

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
    fn of<T>(&self, device: u32, take: impl Fn(&Told) -> Option<T>) -> Vec<T> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(who, _)| *who == device).filter_map(|(_, told)| take(told)).collect()
    }

    /// The numbers of what was delivered to a device.
    pub(crate) fn numbers(&self, device: u32) -> Vec<u64> {
        self.of(device, |told| match told {
            Told::Delivery(payload) => Some(content::read(payload).unwrap().counter),
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

    /// What must never be told.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let is_alarm =
            |told: &Told| matches!(told, Told::TakenBack(_) | Told::Truncated | Told::Conflict);
        log.iter().filter(|(_, told)| is_alarm(told)).map(|all| format!("{all:?}")).collect()
    }

    /// How often a device came up, and how often it lost its connection.
    pub(crate) fn ups_and_downs(&self, device: u32) -> (usize, usize) {
        let ups = self.of(device, |told| matches!(told, Told::Up).then_some(()));
        let downs = self.of(device, |told| matches!(told, Told::Down(_)).then_some(()));
        (ups.len(), downs.len())
    }

    fn times_caught_up(&self, device: u32) -> usize {
        self.of(device, |told| matches!(told, Told::CaughtUp).then_some(())).len()
    }

    pub(crate) async fn delivered(&self, device: u32, count: usize) {
        self.until("deliveries", device, || self.numbers(device).len() >= count).await;
    }

    pub(crate) async fn answered(&self, device: u32, count: usize) {
        self.until("answers", device, || self.outcomes(device).len() >= count).await;
    }

    pub(crate) async fn caught_up(&self, device: u32, times: usize) {
        self.until("catching up", device, || self.times_caught_up(device) >= times).await;
    }

    pub(crate) async fn up(&self, device: u32, times: usize) {
        self.until("connections", device, || self.ups_and_downs(device).0 >= times).await;
    }

    async fn until(&self, what: &str, device: u32, is: impl Fn() -> bool) {
        let met = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is() {
                    return;
                }
                changed.await;
            }
        };
        if timeout(WITHIN, met).await.is_err() {
            let log = self.of(device, |told| Some(format!("{told:.80?}")));
            panic!("{what} of device {device} do not come; of {}: {:?}", log.len(), log.last());
        }
    }
}
