//! The demo on stage: devices that connect, send, go away, come back and receive.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use client::{Client, Config, Event};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wire::{Address, MessageId, item::GroupChange};

use crate::{
    catalogue::Code,
    content,
    demo::{
        script::{Script, Target},
        tally::{Accepted, DEVICES, Device, Received, is_due},
    },
    development,
    failure::{Failure, Outcome},
    name, peer,
};

/// Messages of one person under way at once.
const IN_FLIGHT_MAX: usize = 32;
/// Devices that connect at once, so that the others' time to connect does not pass meanwhile.
const CONNECTING_MAX: usize = 16;
/// The demo gives up when nothing arrives for so long.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// When all has come, a repeat would come within this.
const REPEATS_WITHIN: Duration = Duration::from_millis(250);

/// Everything that happened.
#[derive(Debug, Default)]
pub struct Happened {
    /// What the cluster accepted.
    pub accepted: Vec<Accepted>,
    /// What each device was given, in order.
    pub received: BTreeMap<Device, Vec<Received>>,
    /// From giving each message to the SDK to its being durable.
    pub accept: Vec<Duration>,
    /// From giving each message to the SDK to a first device having it.
    pub deliver: Vec<Duration>,
    /// Devices that came back.
    pub resumed: usize,
    /// Messages they were given after they came back, sent while they were away.
    pub caught_up: usize,
}

/// What all devices share.
pub struct Stage {
    script: Arc<Script>,
    /// Configuration of each device; it holds the device's store.
    configs: BTreeMap<Device, Config>,
    clients: BTreeMap<Device, Arc<Client>>,
    listeners: JoinSet<Heard>,
    /// Connections of each device so far.
    visits: BTreeMap<Device, usize>,
    /// Stops the listener of a device.
    stops: BTreeMap<Device, CancellationToken>,
    progress: Arc<Progress>,
    /// When each message was given to the SDK.
    sent_at: Vec<Option<Instant>>,
    happened: Happened,
}

/// How much has come, for the bar and to know the end.
pub struct Progress {
    arrived: AtomicUsize,
    changed: Notify,
    on_change: Box<dyn Fn(usize) + Send + Sync>,
}

impl Stage {
    /// A stage for this script; `config_of` gives the configuration of each device, and `on_change`
    /// is told how many deliveries have happened.
    pub fn new(
        script: Arc<Script>,
        config_of: impl Fn(Device) -> Outcome<Config>,
        on_change: impl Fn(usize) + Send + Sync + 'static,
    ) -> Outcome<Self> {
        let people = 0..script.people.len();
        let devices =
            people.flat_map(|person| (0..DEVICES).map(move |number| Device { person, number }));
        let configs = devices.map(|device| Ok((device, config_of(device)?)));
        Ok(Self {
            configs: configs.collect::<Outcome<_>>()?,
            clients: BTreeMap::new(),
            listeners: JoinSet::new(),
            visits: BTreeMap::new(),
            stops: BTreeMap::new(),
            progress: Arc::new(Progress {
                arrived: AtomicUsize::new(0),
                changed: Notify::new(),
                on_change: Box::new(on_change),
            }),
            sent_at: vec![None; script.messages.len()],
            happened: Happened::default(),
            script,
        })
    }

    /// Plays the whole script: all connect, groups are made, the first third is sent, every second
    /// device goes away, the second third is sent, they come back, the last third is sent.
    ///
    /// # Errors
    /// When a device cannot connect or a message is not accepted.
    ///
    /// # Cancel safety
    /// Dropping it ends every device.
    pub async fn play(mut self) -> Outcome<Happened> {
        let devices: Vec<Device> = self.configs.keys().copied().collect();
        let seconds: Vec<Device> =
            devices.iter().copied().filter(|device| device.number > 0).collect();
        self.connect(&devices).await?;
        self.make_groups().await?;
        let total = self.script.messages.len();
        let (first, second) = (total / 3, total - total / 3);
        self.send(0..first).await?;
        self.disconnect(&seconds).await;
        self.send(first..second).await?;
        self.connect(&seconds).await?;
        self.happened.resumed = seconds.len();
        self.send(second..total).await?;
        self.wait_for_all().await;
        self.disconnect(&devices).await;
        let mut all_heard = Vec::new();
        while let Some(heard) = self.listeners.join_next().await {
            all_heard.push(heard.map_err(anyhow::Error::from)?);
        }
        all_heard.sort_by_key(|heard| (heard.device, heard.visit));
        Ok(self.settle(all_heard, first..second))
    }

    async fn connect(&mut self, devices: &[Device]) -> Outcome {
        let permits = Arc::new(Semaphore::new(CONNECTING_MAX));
        let mut connecting = JoinSet::new();
        for device in devices {
            let (device, config) = (*device, self.configs[device].clone());
            let permits = Arc::clone(&permits);
            connecting.spawn(async move {
                let _permit = permits.acquire_owned().await.expect("it is never closed");
                (device, Client::connect(config).await)
            });
        }
        while let Some(connected) = connecting.join_next().await {
            let (device, connected) = connected.map_err(anyhow::Error::from)?;
            let client = connected.map_err(|error| {
                Failure::new(Code::CannotConnect, format!("a device could not connect: {error}"))
                    .at("the demo's own cluster, over UDP on loopback")
                    .remedy(
                        "allow UDP on 127.0.0.1, and look at the limit of open files: ulimit -n",
                    )
            })?;
            let stop = CancellationToken::new();
            let inbox = client.inbox();
            let progress = Arc::clone(&self.progress);
            let visit = self.visits.entry(device).or_default();
            let heard = Heard { device, visit: *visit, items: Vec::new() };
            *visit += 1;
            self.listeners.spawn(listen(heard, inbox, progress, stop.clone()));
            self.stops.insert(device, stop);
            self.clients.insert(device, Arc::new(client));
        }
        Ok(())
    }

    async fn disconnect(&mut self, devices: &[Device]) {
        let mut closing = JoinSet::new();
        for device in devices {
            if let Some(stop) = self.stops.remove(device) {
                stop.cancel();
            }
            if let Some(client) = self.clients.remove(device).and_then(Arc::into_inner) {
                closing.spawn(client.close());
            }
        }
        while closing.join_next().await.is_some() {}
    }

    async fn make_groups(&mut self) -> Outcome {
        let mut making = JoinSet::new();
        for group in &self.script.groups {
            let Some((creator, others)) = group.members.split_first() else { continue };
            let user =
                |person: &usize| name::user_id(development::ISSUER, &self.script.people[*person]);
            let change = GroupChange::Create(others.iter().map(user).collect());
            let id = name::group_id(development::ISSUER, &group.name);
            let client = Arc::clone(&self.clients[&Device { person: *creator, number: 0 }]);
            making.spawn(async move { client.change_group(id, change).await });
        }
        while let Some(made) = making.join_next().await {
            let made = made.map_err(anyhow::Error::from)?;
            made.map_err(|error| peer::change_failure(&error))?;
        }
        Ok(())
    }

    /// Sends these messages, each person's in order, all people at once; returns when all are
    /// accepted.
    async fn send(&mut self, messages: std::ops::Range<usize>) -> Outcome {
        let mut by_person: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for message in messages {
            by_person.entry(self.script.messages[message].from).or_default().push(message);
        }
        let mut speaking = JoinSet::new();
        for (person, messages) in by_person {
            let client = Arc::clone(&self.clients[&Device { person, number: 0 }]);
            speaking.spawn(speak(Arc::clone(&self.script), client, messages));
        }
        while let Some(spoken) = speaking.join_next().await {
            for sent in spoken.map_err(anyhow::Error::from)?? {
                self.sent_at[sent.accepted.message] = Some(sent.at);
                self.happened.accept.push(sent.took);
                self.happened.accepted.push(sent.accepted);
            }
        }
        Ok(())
    }

    /// Waits until as much has come as is due, or nothing comes any more.
    async fn wait_for_all(&self) {
        let due = count_due(&self.script);
        loop {
            let changed = self.progress.changed.notified();
            if self.progress.arrived.load(Ordering::Acquire) >= due {
                break;
            }
            if tokio::time::timeout(SILENCE_MAX, changed).await.is_err() {
                tracing::warn!("nothing arrived for {SILENCE_MAX:?}; the rest counts as lost");
                return;
            }
        }
        tokio::time::sleep(REPEATS_WITHIN).await;
    }

    /// Puts together what was heard; the messages `away` were sent while second devices were away.
    fn settle(mut self, all_heard: Vec<Heard>, away: std::ops::Range<usize>) -> Happened {
        let accepted = self.happened.accepted.iter();
        let messages: BTreeMap<_, _> =
            accepted.map(|one| (one.id.to_bytes(), one.message)).collect();
        for Heard { device, visit, items } in all_heard {
            for (received, at) in &items {
                let Some(message) = messages.get(&received.id.to_bytes()) else { continue };
                if let Some(sent_at) = self.sent_at[*message].filter(|_| device.number == 0) {
                    self.happened.deliver.push(at.duration_since(sent_at));
                }
                self.happened.caught_up += usize::from(visit > 0 && away.contains(message));
            }
            let received = self.happened.received.entry(device).or_default();
            received.extend(items.into_iter().map(|(received, _)| received));
        }
        self.happened
    }
}

/// What a device was given on one connection.
struct Heard {
    device: Device,
    /// Which of its connections, from 0.
    visit: usize,
    items: Vec<(Received, Instant)>,
}

/// A message that was sent.
struct Sent {
    accepted: Accepted,
    at: Instant,
    took: Duration,
}

/// Sends one person's messages in order.
async fn speak(
    script: Arc<Script>,
    client: Arc<Client>,
    messages: Vec<usize>,
) -> Outcome<Vec<Sent>> {
    let mut under_way = JoinSet::new();
    let mut sent = Vec::with_capacity(messages.len());
    for message in messages {
        while under_way.len() >= IN_FLIGHT_MAX {
            take_answer(&mut under_way, &mut sent).await?;
        }
        let (to, payload) = letter(&script, message);
        let at = Instant::now();
        let sending =
            client.enqueue(to, payload.clone()).map_err(|error| peer::send_failure(&error))?;
        let user =
            name::user_id(development::ISSUER, &script.people[script.messages[message].from]);
        let id = MessageId { user, device: client.device(), send: sending.id };
        under_way.spawn(async move {
            let answer = sending.await;
            let accepted = Accepted { id, message, payload };
            answer.map(|_| Sent { accepted, at, took: at.elapsed() })
        });
    }
    while !under_way.is_empty() {
        take_answer(&mut under_way, &mut sent).await?;
    }
    Ok(sent)
}

async fn take_answer(
    under_way: &mut JoinSet<Result<Sent, client::SendError>>,
    sent: &mut Vec<Sent>,
) -> Outcome {
    if let Some(answer) = under_way.join_next().await {
        let answer = answer.map_err(anyhow::Error::from)?;
        sent.push(answer.map_err(|error| peer::send_failure(&error))?);
    }
    Ok(())
}

/// Address and payload of a message.
fn letter(script: &Script, message: usize) -> (Address, bytes::Bytes) {
    let message = &script.messages[message];
    let from = &script.people[message.from];
    match message.to {
        Target::Person(person) => {
            let to = name::user_id(development::ISSUER, &script.people[person]);
            (Address::User(to), content::encode(from, None, &message.text))
        }
        Target::Group(group) => {
            let group = &script.groups[group].name;
            let to = name::group_id(development::ISSUER, group);
            (Address::Group(to), content::encode(from, Some(group), &message.text))
        }
    }
}

/// Takes what a device is given until it is stopped.
async fn listen(
    mut heard: Heard,
    mut inbox: client::Inbox,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Heard {
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = inbox.next() => event,
        };
        match event {
            None => break,
            Some(Event::Item(item)) => {
                if let Some(payload) = item.payload() {
                    let (id, payload) = (item.item.id, payload.clone());
                    heard.items.push((Received { seq: item.seq, id, payload }, Instant::now()));
                    progress.add_one();
                }
                item.ack();
            }
            Some(Event::Result { receipt, .. }) => receipt.ack(),
            Some(event) => tracing::debug!(?event, "passed over"),
        }
    }
    heard
}

impl Progress {
    fn add_one(&self) {
        let arrived = self.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        (self.on_change)(arrived);
        self.changed.notify_one();
    }
}

/// Deliveries that are due when everything is accepted.
#[must_use]
pub fn count_due(script: &Script) -> usize {
    let mut due = 0;
    for message in 0..script.messages.len() {
        let recipients = script.recipients(&script.messages[message]);
        let from = script.messages[message].from;
        let mut people = recipients;
        if !people.contains(&from) {
            people.push(from);
        }
        for person in people {
            let devices = (0..DEVICES).map(|number| Device { person, number });
            due += devices.filter(|device| is_due(script, message, *device)).count();
        }
    }
    due
}
