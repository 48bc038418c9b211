//! The devices this generator plays: they come, go, and change their ports.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{anyhow, bail};
use rand::{RngExt as _, seq::SliceRandom as _};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::{ConnectError, Device, Driver, Sink},
    population::{DeviceIndex, Population},
    scenario::{
        Churn,
        seed::{Purpose, Random},
    },
};

use super::{
    devices::{Devices, Place},
    ear::Ear,
    mouth::Changes,
};

/// Devices that connect at once during the setup: enough to keep two cores busy with handshakes,
/// few enough that none waits for seconds.
const CONNECTING_MAX: usize = 64;
/// A device that cannot connect tries again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// During the setup a device gives up after this: the load cannot begin.
const SETUP_WITHIN: Duration = Duration::from_secs(120);
/// A device that does not end in order within this is cut off.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Draws that hit a device that is away, before churn lets one departure be.
const MISSES_MAX: u32 = 64;

/// The devices this generator plays.
pub(super) struct Crowd {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) devices: Arc<Devices>,
    pub(super) ear: Arc<Ear>,
    pub(super) changes: Arc<Changes>,
    /// Nobody tries to connect any more.
    pub(super) stop: CancellationToken,
}

/// How far something is that is done to many devices.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicUsize);

impl Progress {
    /// How many it is done to.
    pub(super) fn done(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Crowd {
    /// Connects every device once, a few at a time.
    ///
    /// # Errors
    /// When one cannot be connected.
    ///
    /// # Cancel safety
    /// A dropped call leaves some of them connected.
    pub(super) async fn connect_all(self: &Arc<Self>, progress: &Progress) -> anyhow::Result<()> {
        let at_once = Arc::new(Semaphore::new(CONNECTING_MAX));
        let mut tasks = JoinSet::new();
        for device in self.devices.all() {
            let permit = tokio::select! {
                biased;
                permit = Arc::clone(&at_once).acquire_owned() => permit?,
                Some(ended) = tasks.join_next() => {
                    ended??;
                    Arc::clone(&at_once).acquire_owned().await?
                }
            };
            let crowd = Arc::clone(self);
            tasks.spawn(async move {
                let _permit = permit;
                match timeout(SETUP_WITHIN, crowd.bring(device)).await {
                    Ok(brought) => brought.map_err(|why| anyhow!("device {device}: {why}")),
                    Err(_) => bail!("device {device} could not connect in {SETUP_WITHIN:?}"),
                }
            });
            while let Some(ended) = tasks.try_join_next() {
                ended??;
                progress.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
            progress.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends away whoever is not connected when the load begins.
    ///
    /// # Cancel safety
    /// A dropped call leaves some of them connected.
    pub(super) async fn leave_who_is_away(self: &Arc<Self>, population: &Population) {
        let away = self.devices.all().filter(|device| !population.is_online(*device)).collect();
        let leave = |crowd: Arc<Self>, device| async move { crowd.send_away(device).await };
        self.for_each(away, Duration::ZERO, Some(CONNECTING_MAX), leave).await;
    }

    /// Connects a device unless it is; tries again until it is or never will be.
    ///
    /// # Errors
    /// When the cluster refuses it for good, or nobody is to try any more.
    ///
    /// # Cancel safety
    /// A dropped call leaves it unconnected.
    pub(super) async fn bring(&self, device: DeviceIndex) -> Result<(), ConnectError> {
        let Some(place) = self.devices.place(device) else { return Ok(()) };
        let mut held = place.device.lock().await;
        if held.is_some() {
            return Ok(());
        }
        place.want();
        let sink: Sink = Arc::clone(&self.ear) as Sink;
        let connected = loop {
            let problem = tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    break Err(ConnectError::Unreachable("the run is over".into()));
                }
                connected = self.driver.connect(device, Arc::clone(&sink)) => match connected {
                    Ok(connected) => break Ok(connected),
                    Err(problem) => problem,
                },
            };
            let now_ns = self.ear.clock.now_ns();
            let kind = match &problem {
                ConnectError::Unreachable(_) => "connect: unreachable",
                ConnectError::Refused(_) => "connect: refused",
            };
            self.ear.recorder.error(device.0, now_ns, kind, &problem.to_string());
            match problem {
                ConnectError::Refused(_) => break Err(problem),
                ConnectError::Unreachable(_) => sleep(AGAIN_AFTER).await,
            }
        };
        match connected {
            Ok(connected) => {
                connected.read_slowly(place.pause());
                *held = Some(connected);
                drop(held);
                self.changes.tell(device, true);
                Ok(())
            }
            Err(problem) => {
                place.unwant();
                Err(problem)
            }
        }
    }

    /// Disconnects a device in order, if it is connected.
    ///
    /// # Cancel safety
    /// A dropped call cuts it off.
    pub(super) async fn send_away(&self, device: DeviceIndex) {
        let Some(place) = self.devices.place(device) else { return };
        self.changes.tell(device, false);
        let mut held = place.device.lock().await;
        place.unwant();
        if let Some(connected) = held.take() {
            self.end(device, place, connected).await;
        }
    }

    /// Connects a device anew, as it may only be taken for connected. Its absence does not count:
    /// what it hears late because of an outage is shown as that.
    ///
    /// # Cancel safety
    /// A dropped call leaves it unconnected.
    pub(super) async fn renew(&self, device: DeviceIndex) {
        let Some(place) = self.devices.place(device) else { return };
        let held = place.device.lock().await.take();
        if let Some(connected) = held {
            self.end(device, place, connected).await;
            // The drain waits until it is told that nothing waits for it any more.
            place.expect_caught_up(self.ear.clock.now_ns());
        }
        // Who is refused was counted.
        drop(self.bring(device).await);
    }

    async fn end(&self, device: DeviceIndex, place: &Place, connected: Box<dyn Device>) {
        if timeout(DISCONNECT_WITHIN, connected.disconnect()).await.is_err() {
            let now_ns = self.ear.clock.now_ns();
            self.ear.recorder.error(device.0, now_ns, "disconnect: too slow", "it was cut off");
        }
        self.devices.went_down(place);
    }

    /// Lets a device change its port, if it is connected.
    ///
    /// # Cancel safety
    /// A dropped call has done nothing.
    pub(super) async fn rebind(&self, device: DeviceIndex) {
        let Some(place) = self.devices.place(device) else { return };
        if let Some(connected) = &*place.device.lock().await
            && let Err(problem) = connected.rebind()
        {
            let now_ns = self.ear.clock.now_ns();
            self.ear.recorder.error(device.0, now_ns, "rebind", &problem.to_string());
        }
    }

    /// Disconnects these in order, spread over a time.
    pub(super) async fn disconnect(self: &Arc<Self>, devices: Vec<DeviceIndex>, over: Duration) {
        let leave = |crowd: Arc<Self>, device| async move { crowd.send_away(device).await };
        self.for_each(devices, over, None, leave).await;
    }

    /// Connects these, spread over a time, at most so many at once. Who is refused was counted.
    pub(super) async fn reconnect(
        self: &Arc<Self>,
        devices: Vec<DeviceIndex>,
        over: Duration,
        at_once_max: Option<usize>,
    ) {
        let come = |crowd: Arc<Self>, device| async move { drop(crowd.bring(device).await) };
        self.for_each(devices, over, at_once_max, come).await;
    }

    /// Lets these change their ports, spread over a time.
    pub(super) async fn rebind_all(self: &Arc<Self>, devices: Vec<DeviceIndex>, over: Duration) {
        let rebind = |crowd: Arc<Self>, device| async move { crowd.rebind(device).await };
        self.for_each(devices, over, None, rebind).await;
    }

    /// From now on these devices wait after every message, and no others do.
    pub(super) async fn slow_down(&self, slow: Option<(Vec<DeviceIndex>, Duration)>) {
        let (slow, pause) = slow.unwrap_or_default();
        let slow: BTreeSet<DeviceIndex> = slow.into_iter().collect();
        for device in self.devices.all() {
            let Some(place) = self.devices.place(device) else { continue };
            let pause = if slow.contains(&device) { pause } else { Duration::ZERO };
            if place.set_pause(pause)
                && let Some(connected) = &*place.device.lock().await
            {
                connected.read_slowly(pause);
            }
        }
    }

    /// Devices that are wanted, or those that are not.
    pub(super) fn wanted(&self, wanted: bool) -> Vec<DeviceIndex> {
        let is = |device: &DeviceIndex| {
            self.devices.place(*device).is_some_and(|place| place.is_wanted() == wanted)
        };
        self.devices.all().filter(is).collect()
    }

    /// A share of these, drawn.
    pub(super) fn draw(
        mut from: Vec<DeviceIndex>,
        share: f64,
        random: &mut Random,
    ) -> Vec<DeviceIndex> {
        from.shuffle(random);
        let count = (from.len() as f64 * share).round() as usize;
        from.truncate(count);
        from
    }

    /// These devices are expected back, and to have what waited for them, from now on.
    pub(super) fn expect_back(&self, devices: &[DeviceIndex]) {
        let now_ns = self.ear.clock.now_ns();
        for place in devices.iter().filter_map(|device| self.devices.place(*device)) {
            if !place.expect_back(now_ns) {
                self.ear.back.expect(now_ns);
            }
            place.expect_caught_up(now_ns);
            self.ear.caught_up.expect(now_ns);
        }
    }

    /// Does something to each of these, spread evenly over a time, at most so many at once.
    ///
    /// # Cancel safety
    /// A dropped call leaves it done to some.
    pub(super) async fn for_each<F>(
        self: &Arc<Self>,
        devices: Vec<DeviceIndex>,
        over: Duration,
        at_once_max: Option<usize>,
        what: impl Fn(Arc<Self>, DeviceIndex) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let at_once = Arc::new(Semaphore::new(at_once_max.unwrap_or(Semaphore::MAX_PERMITS)));
        let began_ns = self.ear.clock.now_ns();
        let count = devices.len().max(1);
        let mut tasks = JoinSet::new();
        for (number, device) in devices.into_iter().enumerate() {
            let due = over.mul_f64(number as f64 / count as f64);
            let passed = Duration::from_nanos(self.ear.clock.now_ns() - began_ns);
            if let Some(left) = due.checked_sub(passed).filter(|left| !left.is_zero()) {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => break,
                    () = sleep(left) => {}
                }
            }
            let Ok(permit) = Arc::clone(&at_once).acquire_owned().await else { break };
            let doing = what(Arc::clone(self), device);
            tasks.spawn(async move {
                let _permit = permit;
                doing.await;
            });
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Devices leave in order and come back, until `until`; those away then come back still.
    ///
    /// # Cancel safety
    /// A dropped call leaves some away.
    pub(super) async fn churn(
        self: &Arc<Self>,
        churn: Churn,
        mut random: Random,
        until: &CancellationToken,
    ) {
        if churn.per_s <= 0.0 {
            return;
        }
        let mut away = JoinSet::new();
        loop {
            let gap = -(1.0 - random.random::<f64>()).ln() / churn.per_s;
            tokio::select! {
                biased;
                () = until.cancelled() => break,
                () = sleep(Duration::from_secs_f64(gap)) => {}
            }
            while away.try_join_next().is_some() {}
            let Some(device) = self.draw_wanted(&mut random) else { continue };
            let crowd = Arc::clone(self);
            away.spawn(async move {
                crowd.send_away(device).await;
                sleep(churn.away).await;
                // What is refused was counted; the end of the run tries once more.
                let _ = crowd.bring(device).await;
            });
        }
        while away.join_next().await.is_some() {}
    }

    fn draw_wanted(&self, random: &mut Random) -> Option<DeviceIndex> {
        let all: Vec<_> = self.devices.all().collect();
        let last = all.len().checked_sub(1)?;
        (0..MISSES_MAX).map(|_| all[random.random_range(0..=last)]).find(|device| {
            self.devices.place(*device).is_some_and(|place| place.is_wanted() && place.is_up())
        })
    }
}

/// The random numbers for an action: which devices it is done to.
pub(super) fn action_random(seed: u64, phase: u32, action: u32) -> Random {
    Purpose::Action { phase, action }.random(seed)
}
