//! Who sends what to whom next.

use std::sync::Arc;

use rand::{RngExt, seq::IndexedRandom};

use super::{
    Body, ConversationIndex, DeviceIndex, Payloads, Population, payloads::Bodies, weights::Weights,
};
use crate::scenario::{
    self, HotTarget,
    seed::{Purpose, Random},
};

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// The device that sends.
    pub from: DeviceIndex,
    /// Where to.
    pub to: ConversationIndex,
    /// What follows the ledger's bytes.
    pub body: Body,
}

/// Draws messages: senders by activity among the devices that are online, then the conversation.
/// It takes the same time however many users there are.
///
/// Online means *meant to be*: a device that has lost its connection still sends, and its messages
/// are late. With the same calls in the same order it draws the same messages.
#[derive(Debug)]
pub struct Sends {
    population: Arc<Population>,
    to_groups: f64,
    hot: Option<Hot>,
    /// Online devices with somebody to talk to, one to one.
    direct: Weights,
    /// Online devices that are in a group.
    grouped: Weights,
    online: Vec<bool>,
    bodies: Bodies,
    senders: Random,
    conversations: Random,
}

/// How likely it is that the next message is of one device, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// To one of its user's contacts.
    pub direct: f64,
    /// To one of its user's groups.
    pub group: f64,
    /// To what takes more than its share.
    pub hot: f64,
}

impl Shares {
    /// Of any kind.
    #[must_use]
    pub fn sum(self) -> f64 {
        self.direct + self.group + self.hot
    }
}

/// What takes more than its share.
#[derive(Debug)]
struct Hot {
    share: f64,
    /// Devices that may send to it, and where to.
    ways: Vec<(DeviceIndex, ConversationIndex)>,
    /// Which of them are online.
    weights: Weights,
}

/// What kind of message.
#[derive(Clone, Copy)]
enum Kind {
    Hot,
    Direct,
    Group,
}

impl Sends {
    /// Begins with the devices online that the population says.
    #[must_use]
    pub fn new(
        population: Arc<Population>,
        traffic: &scenario::Traffic,
        payloads: &Payloads,
        seed: u64,
    ) -> Self {
        let devices = population.device_count() as usize;
        let mut sends = Self {
            to_groups: traffic.to_groups,
            hot: traffic.hot.and_then(|hot| Hot::new(&population, hot)),
            direct: Weights::new(devices),
            grouped: Weights::new(devices),
            online: vec![false; devices],
            bodies: payloads.bodies(seed),
            senders: Purpose::Senders.random(seed),
            conversations: Purpose::Conversations.random(seed),
            population,
        };
        for device in sends.population.devices() {
            sends.set_online(device, sends.population.is_online(device));
        }
        sends
    }

    /// From now on a device sends, or does not.
    pub fn set_online(&mut self, device: DeviceIndex, online: bool) {
        if std::mem::replace(&mut self.online[device.place()], online) == online {
            return;
        }
        let user = self.population.user_of(device);
        let devices = self.population.devices_of(user).len() as u64;
        let weight = if online { self.population.activity(user).div_ceil(devices) } else { 0 };
        let has = |conversations: &[_]| if conversations.is_empty() { 0 } else { weight };
        self.direct.set(device.place(), has(self.population.direct_of(user)));
        self.grouped.set(device.place(), has(self.population.groups_of(user)));
        if let Some(hot) = &mut self.hot {
            hot.set_online(device, u64::from(online));
        }
    }

    /// Whether a device sends.
    #[must_use]
    pub fn is_online(&self, device: DeviceIndex) -> bool {
        self.online[device.place()]
    }

    /// The next message; none while nobody is online who has anybody to send to.
    pub fn draw(&mut self) -> Option<Send> {
        let kind = self.draw_kind()?;
        let (from, to) = match kind {
            Kind::Hot => self.hot.as_ref()?.draw(&mut self.senders)?,
            Kind::Direct => {
                let from = draw_device(&self.direct, &mut self.senders)?;
                let choice = self.population.direct_of(self.population.user_of(from));
                (from, *choice.choose(&mut self.conversations)?)
            }
            Kind::Group => {
                let from = draw_device(&self.grouped, &mut self.senders)?;
                let choice = self.population.groups_of(self.population.user_of(from));
                (from, *choice.choose(&mut self.conversations)?)
            }
        };
        Some(Send { from, to, body: self.bodies.draw() })
    }

    /// How likely the next message is this device's.
    #[must_use]
    pub fn shares_of(&self, device: DeviceIndex) -> Shares {
        let part = |weights: &Weights| match weights.total() {
            0 => 0.0,
            total => weights.get(device.place()) as f64 / total as f64,
        };
        let hot = self.hot.as_ref().filter(|hot| hot.weights.total() > 0);
        let cold = 1.0 - hot.map_or(0.0, |hot| hot.share);
        let to_groups = match (self.direct.total() > 0, self.grouped.total() > 0) {
            (true, true) => self.to_groups,
            (true, false) => 0.0,
            (false, _) => 1.0,
        };
        Shares {
            direct: cold * (1.0 - to_groups) * part(&self.direct),
            group: cold * to_groups * part(&self.grouped),
            hot: hot.map_or(0.0, |hot| hot.share_of(device)),
        }
    }

    /// Where a device sends to what takes more than its share.
    #[must_use]
    pub fn hot_way_of(&self, device: DeviceIndex) -> Option<ConversationIndex> {
        let hot = self.hot.as_ref()?;
        hot.place_of(device).map(|place| hot.ways[place].1)
    }

    /// What kind comes next; when nobody is online for it, one for which there is somebody.
    fn draw_kind(&mut self) -> Option<Kind> {
        let (hot, group): (f64, f64) = self.conversations.random();
        if self.hot.as_ref().is_some_and(|it| hot < it.share && it.weights.total() > 0) {
            return Some(Kind::Hot);
        }
        match (self.direct.total() > 0, self.grouped.total() > 0) {
            (false, false) => None,
            (true, false) => Some(Kind::Direct),
            (false, true) => Some(Kind::Group),
            (true, true) if group < self.to_groups => Some(Kind::Group),
            (true, true) => Some(Kind::Direct),
        }
    }
}

fn draw_device(weights: &Weights, random: &mut Random) -> Option<DeviceIndex> {
    weights.draw(random).map(|place| DeviceIndex(super::count(place)))
}

impl Hot {
    /// None when there is no such group, or nobody to write to that user.
    fn new(population: &Population, hot: scenario::Hot) -> Option<Self> {
        let mut ways = Vec::new();
        match hot.target {
            HotTarget::LargestGroup => {
                let group = population.largest_group()?;
                for member in population.members(group) {
                    ways.extend(population.devices_of(*member).map(|device| (device, group)));
                }
            }
            HotTarget::OneUser => {
                let target = population.most_contacted();
                for &conversation in population.direct_of(target) {
                    let members = population.members(conversation).iter();
                    let others = members.filter(|member| **member != target);
                    let devices = others.flat_map(|other| population.devices_of(*other));
                    ways.extend(devices.map(|device| (device, conversation)));
                }
            }
        }
        ways.sort_unstable();
        let weights = Weights::new(ways.len());
        (!ways.is_empty()).then_some(Self { share: hot.share, ways, weights })
    }

    fn place_of(&self, device: DeviceIndex) -> Option<usize> {
        self.ways.binary_search_by_key(&device, |(from, _)| *from).ok()
    }

    fn set_online(&mut self, device: DeviceIndex, weight: u64) {
        if let Some(place) = self.place_of(device) {
            self.weights.set(place, weight);
        }
    }

    /// How likely the next message is to it and of this device.
    fn share_of(&self, device: DeviceIndex) -> f64 {
        let weight = self.place_of(device).map_or(0, |place| self.weights.get(place));
        self.share * weight as f64 / self.weights.total() as f64
    }

    fn draw(&self, random: &mut Random) -> Option<(DeviceIndex, ConversationIndex)> {
        self.weights.draw(random).map(|place| self.ways[place])
    }
}
