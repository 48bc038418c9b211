//! What a scenario asks for, added up; the impossible is refused with the sum.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Action, HotTarget, Load, Phase, Problems, Scenario, What,
    quantity::{self, show_bytes, show_number},
    source::Source,
};
use crate::population::{DeviceIndex, Payloads, Population, Sends, UserIndex};

/// What an envelope adds to a payload when it is counted against `edge.send_rate`, bytes, about.
const ENVELOPE_BYTES: f64 = 100.0;
/// The defaults of the servers that are started.
const CONNECTIONS_MAX: u64 = 20_000;
const CONNECTIONS_PER_IP_MAX: u64 = 2_000;
const SEND_BYTES_PER_S: u64 = 16 << 20;
/// A share of all messages from which one device is worth a note.
const BUSY_SHARE: f64 = 0.05;
/// Devices from which open files are worth a note; common limits begin at 1,024.
const SOCKETS_NOTED: u32 = 800;

/// Whose limits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// Those of the servers that the run starts, with the settings of `[cluster]`.
    Started,
    /// A cluster that runs elsewhere: its limits are not known here.
    Elsewhere,
}

/// What a scenario asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Demand {
    /// Users.
    pub users: u32,
    /// Their devices.
    pub devices: u32,
    /// Devices that are connected when the load begins.
    pub devices_online: u32,
    /// Conversations of two.
    pub direct_conversations: u32,
    /// Groups.
    pub groups: u32,
    /// Members of the largest group; 0 without groups.
    pub group_members_max: u32,
    /// How long payloads are on average, bytes.
    pub payload_bytes_mean: f64,
    /// How many devices a message is for on average, those that are away included.
    pub recipients_mean: f64,
    /// Share of all messages that the busiest device sends.
    pub busiest_share: f64,
    /// Messages expected in all, without searches.
    pub messages: f64,
    /// The highest rate intended, messages/s.
    pub rate_max: f64,
    /// How long it takes, seconds, the grace included and connecting excluded; of searches the
    /// most, if every proof holds.
    pub duration_s: f64,
    /// Each phase.
    pub phases: Vec<PhaseDemand>,
    /// What is worth knowing before the start.
    pub notes: Vec<String>,
}

/// What a phase asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseDemand {
    /// What it is called.
    pub name: String,
    /// How long it takes, seconds; of a search the most.
    pub duration_s: f64,
    /// Whether its figures are results.
    pub measured: bool,
    /// What is sent, in words.
    pub load: String,
    /// Messages expected; none of a search, which depends on what it finds.
    pub messages: Option<f64>,
    /// Copies that devices get of them, those that are away included.
    pub deliveries: Option<f64>,
    /// The highest rate intended, messages/s.
    pub rate_max: f64,
    /// Its bounds, as text.
    pub bounds: Vec<String>,
    /// What else happens, as text, by time.
    pub happens: Vec<String>,
}

/// How the load is spread, before anybody left or came.
struct Spread {
    recipients_mean: f64,
    /// The device that may send the least of what it should.
    busiest: DeviceIndex,
    busiest_share: f64,
    /// Of each message, how many times its bytes the busiest device is charged, times its share.
    charged: f64,
}

impl Demand {
    /// Adds it up.
    ///
    /// # Errors
    /// What is impossible, each with its sum.
    pub fn of(
        scenario: &Scenario,
        population: &Arc<Population>,
        payloads: &Payloads,
        servers: Servers,
    ) -> Result<Self, Problems> {
        let traffic = &scenario.traffic;
        let sends = Sends::new(Arc::clone(population), traffic, payloads, scenario.seed);
        let spread = Spread::of(population, &sends);
        let payload_bytes_mean = payloads.mean_bytes();
        let source = Source::again(&scenario.text, &scenario.origin, &scenario.places);
        let check = Check { scenario, population, source: &source };
        check.senders();
        check.churn();
        if servers == Servers::Started {
            check.connections();
            check.send_rate(&spread, payload_bytes_mean);
        }
        source.finish()?;
        let phases: Vec<_> =
            scenario.phases.iter().map(|phase| of_phase(phase, spread.recipients_mean)).collect();
        let group = population.largest_group();
        Ok(Self {
            users: population.user_count(),
            devices: population.device_count(),
            devices_online: population.online_count(),
            direct_conversations: population.direct_count(),
            groups: population.group_count(),
            group_members_max: group.map_or(0, |it| population.members(it).len() as u32),
            payload_bytes_mean,
            recipients_mean: spread.recipients_mean,
            busiest_share: spread.busiest_share,
            messages: phases.iter().filter_map(|phase| phase.messages).sum(),
            rate_max: phases.iter().map(|phase| phase.rate_max).fold(0.0, f64::max),
            duration_s: phases.iter().map(|phase| phase.duration_s).sum::<f64>()
                + scenario.honest.grace.as_secs_f64(),
            phases,
            notes: notes(scenario, population, &spread),
        })
    }
}

impl Spread {
    fn of(population: &Population, sends: &Sends) -> Self {
        let groups = population.groups();
        let first_group = population.direct_count();
        // Devices of each group, counted once: large groups have many who ask.
        let devices: Vec<u64> = groups
            .map(|group| {
                let members = population.members(group).iter();
                members.map(|member| population.devices_of(*member).len() as u64).sum()
            })
            .collect();
        let mut spread = Self {
            recipients_mean: 0.0,
            busiest: DeviceIndex(0),
            busiest_share: 0.0,
            charged: 0.0,
        };
        let reached = |conversation: crate::population::ConversationIndex| match conversation
            .0
            .checked_sub(first_group)
        {
            Some(group) => devices[group as usize] as f64 - 1.0,
            None => {
                let members = population.members(conversation).iter();
                let devices = members.map(|member| population.devices_of(*member).len());
                devices.sum::<usize>() as f64 - 1.0
            }
        };
        for user in population.users() {
            let direct = mean(population.direct_of(user), reached);
            let group = mean(population.groups_of(user), reached);
            let members =
                mean(population.groups_of(user), |it| population.members(it).len() as f64);
            for device in population.devices_of(user) {
                let shares = sends.shares_of(device);
                let hot = sends.hot_way_of(device);
                let hot_charged = hot.map_or(0.0, |it| match it.0 < first_group {
                    true => 1.0,
                    false => population.members(it).len() as f64,
                });
                spread.recipients_mean += shares.direct * direct
                    + shares.group * group
                    + shares.hot * hot.map_or(0.0, reached);
                let charged = shares.direct + shares.group * members + shares.hot * hot_charged;
                if charged > spread.charged {
                    spread.charged = charged;
                    spread.busiest = device;
                }
                spread.busiest_share = spread.busiest_share.max(shares.sum());
            }
        }
        spread
    }
}

fn mean<T: Copy>(of: &[T], value: impl Fn(T) -> f64) -> f64 {
    if of.is_empty() { 0.0 } else { of.iter().map(|it| value(*it)).sum::<f64>() / of.len() as f64 }
}

/// Refuses the impossible.
struct Check<'c> {
    scenario: &'c Scenario,
    population: &'c Population,
    source: &'c Source<'c>,
}

impl Check<'_> {
    /// A limit of the servers that are started.
    fn limit(&self, setting: &str, default: u64) -> u64 {
        let written = self.scenario.cluster.set.iter().rev().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == setting).then(|| value.trim().trim_matches('"'))
        });
        let size = written.and_then(|text| {
            quantity::parse_size(text).or_else(|| text.replace('_', "").parse().ok())
        });
        // What the servers will not understand either, they say themselves.
        size.unwrap_or(default)
    }

    fn connections(&self) {
        let devices = u64::from(self.population.device_count());
        let edges = u64::from(self.scenario.cluster.kind.edges());
        let limits = [
            ("edge.connections_max", CONNECTIONS_MAX, ""),
            ("edge.connections_per_ip_max", CONNECTIONS_PER_IP_MAX, " from one address"),
        ];
        for (setting, default, from) in limits {
            let limit = self.limit(setting, default);
            if devices <= limit.saturating_mul(edges) {
                continue;
            }
            let [users, shown, each] = [u64::from(self.population.user_count()), devices, limit]
                .map(|it| show_number(it as f64));
            let (number, total) = match edges {
                1 => ("1 server".to_owned(), each.clone()),
                many => (format!("{many} edges"), show_number((limit * many) as f64)),
            };
            let help = format!(
                "{users} users have {shown} devices, and all are connected once at the start.\n\
                 {setting} = {each} on {number}: {total}.\n\
                 Lower population.users, or raise it: [cluster] set = [\"{setting}={}\"]",
                devices.div_ceil(edges),
            );
            let what = format!("{shown} devices are more than may be connected{from}");
            self.source.refuse("population.users", what, help);
        }
    }

    /// Whether the device that sends most may send so much.
    fn send_rate(&self, spread: &Spread, payload_bytes: f64) {
        let limit = self.limit("edge.send_rate", SEND_BYTES_PER_S);
        let bytes = payload_bytes + ENVELOPE_BYTES;
        for phase in &self.scenario.phases {
            let rate = phase.load.rate_max();
            let per_s = rate * spread.charged * bytes;
            if per_s <= limit as f64 {
                continue;
            }
            let key = match phase.load {
                Load::Rate(_) => "rate",
                Load::Search(_) => "search.to",
            };
            let key = format!("phase.{}.{key}", phase.name);
            let what = format!("{} messages/s are more than may be sent", show_number(rate));
            let help = format!(
                "The busiest device, {} of user {}, sends {} copies/s of messages of {} with their \
                 envelopes: {}/s.\nedge.send_rate allows a device {}/s, bytes counted once per \
                 recipient.\nLower the rate, traffic.activity or the sizes of groups, or raise it: \
                 [cluster] set = [\"edge.send_rate=64 MiB\"]",
                self.population.number_of(spread.busiest) + 1,
                self.population.user_of(spread.busiest),
                show_number((rate * spread.charged).ceil()),
                show_bytes(bytes.ceil()),
                show_bytes(per_s),
                show_bytes(limit as f64),
            );
            self.source.refuse(&key, what, help);
        }
    }

    /// Whether there is anybody to send at all.
    fn senders(&self) {
        if self.population.online_count() > 0 {
            return;
        }
        for phase in &self.scenario.phases {
            let is_back = |action: &Action| matches!(action.what, What::Reconnect { .. });
            if phase.actions.iter().any(is_back) {
                return;
            }
            if phase.load.rate_max() > 0.0 {
                let devices = show_number(f64::from(self.population.device_count()));
                let help = format!(
                    "population.online = {} of {devices} devices: 0, and no action reconnects any \
                     before.",
                    self.scenario.population.online
                );
                let key = format!("phase.{}.rate", phase.name);
                return self.source.refuse(&key, "nobody is connected who could send", help);
            }
        }
    }

    fn churn(&self) {
        let devices = f64::from(self.population.device_count());
        for phase in &self.scenario.phases {
            let Some(churn) = phase.churn else { continue };
            let away = churn.per_s * churn.away.as_secs_f64();
            if away > devices {
                let what = "more devices would be away than there are";
                let help = format!(
                    "{} a second, away for {} each: {} at a time, of {}.",
                    show_number(churn.per_s),
                    quantity::show_duration(churn.away),
                    show_number(away),
                    show_number(devices),
                );
                self.source.refuse(&format!("phase.{}.churn.per_s", phase.name), what, help);
            }
        }
    }
}

fn of_phase(phase: &Phase, recipients_mean: f64) -> PhaseDemand {
    let messages = match &phase.load {
        Load::Rate(rate) => Some(rate.expected()),
        Load::Search(_) => None,
    };
    let mut happens = Vec::new();
    if let Some(churn) = phase.churn {
        let away = quantity::show_duration(churn.away);
        happens.push(format!("{} devices/s leave for {away}", show_number(churn.per_s)));
    }
    if let Some(slow) = phase.slow_readers {
        let pause = quantity::show_duration(slow.pause);
        let share = show_number(slow.share * 100.0);
        happens.push(format!("{share}% of devices wait {pause} after every message"));
    }
    happens.extend(phase.actions.iter().map(ToString::to_string));
    PhaseDemand {
        name: phase.name.clone(),
        duration_s: phase.duration.as_secs_f64(),
        measured: phase.measured,
        load: phase.load.to_string(),
        messages,
        deliveries: messages.map(|messages| messages * recipients_mean),
        rate_max: phase.load.rate_max(),
        bounds: phase.slo.bounds.iter().map(ToString::to_string).collect(),
        happens,
    }
}

fn notes(scenario: &Scenario, population: &Population, spread: &Spread) -> Vec<String> {
    let mut notes = Vec::new();
    let devices = population.device_count();
    if devices >= SOCKETS_NOTED {
        let devices = show_number(f64::from(devices));
        notes.push(format!(
            "Each device has a socket: {devices} and some more open files (`ulimit -n`) on this \
             machine."
        ));
    }
    if spread.busiest_share >= BUSY_SHARE && spread.busiest_share < 1.0 {
        let share = show_number((spread.busiest_share * 100.0).round());
        notes.push(format!("The busiest device sends {share}% of all messages."));
    }
    if let Some(hot) = scenario.traffic.hot {
        let share = show_number(hot.share * 100.0);
        notes.push(match (hot.target, population.largest_group()) {
            (HotTarget::LargestGroup, Some(group)) => format!(
                "{share}% of all messages go to one group of {} members.",
                show_number(population.members(group).len() as f64)
            ),
            (HotTarget::LargestGroup, None) => "There is no group.".to_owned(),
            (HotTarget::OneUser, _) => {
                let user = population.most_contacted();
                let contacts = population.direct_of(user).len();
                let contacts = show_number(contacts as f64);
                format!("{share}% of all messages go to one user, from {contacts} contacts.")
            }
        });
    }
    let lonely = |user: &UserIndex| {
        population.direct_of(*user).is_empty() && population.groups_of(*user).is_empty()
    };
    let lonely = population.users().filter(lonely).count();
    if lonely > 0 {
        let lonely = show_number(lonely as f64);
        notes.push(format!("{lonely} users have nobody to talk to and only take up connections."));
    }
    notes
}
