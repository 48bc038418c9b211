//! Draws a population.

use rand::{RngExt, seq::SliceRandom};
use rand_distr::{Distribution, Zipf};

use super::{ConversationIndex, Lists, Population, UserIndex, count, weights::Alias};
use crate::scenario::{
    self, Bounded,
    seed::{Purpose, Random},
};

/// Draws that hit somebody who is there already, before the most popular of the others is taken.
const MISSES_MAX: u32 = 32;
/// The weight of the most active user: 2^40, so that those of a million stay below 2^60 together,
/// and the least active of them still has one of 2^20 with an exponent of 1.
const ACTIVITY_MAX: f64 = (1_u64 << 40) as f64;

pub(super) fn draw(
    population: &scenario::Population,
    traffic: &scenario::Traffic,
    seed: u64,
) -> Population {
    let first_device = draw_devices(population, seed);
    let owner = owners(&first_device);
    let ranks = draw_ranks(population.users, Purpose::Popularity, seed);
    let (pairs, direct_of) = draw_contacts(&population.contacts, &ranks, seed);
    let first_group = count(pairs.len());
    let groups = draw_groups(&population.groups, &ranks, seed);
    let groups_of = memberships(&groups, population.users, first_group);
    let most = (0..direct_of.len()).rev().max_by_key(|user| direct_of[*user].len());
    let largest = (0..groups.len()).rev().max_by_key(|group| groups[*group].len());
    Population {
        online: draw_online(owner.len(), population.online, seed),
        first_device,
        owner,
        pairs,
        groups: Lists::from_lists(&groups),
        direct_of: Lists::from_lists(&direct_of),
        groups_of: Lists::from_lists(&groups_of),
        largest_group: largest.map(|group| ConversationIndex(first_group + count(group))),
        most_contacted: UserIndex(count(most.unwrap_or(0))),
        activity: draw_activity(population.users, traffic.activity, seed),
    }
}

/// Where the devices of each user begin, and the end.
fn draw_devices(population: &scenario::Population, seed: u64) -> Vec<u32> {
    let mut random = Purpose::Devices.random(seed);
    let numbers = Alias::new(&population.devices_per_user);
    let mut first = Vec::with_capacity(population.users as usize + 1);
    let mut devices = 0;
    first.push(devices);
    for _ in 0..population.users {
        devices += numbers.draw(&mut random) + 1;
        first.push(devices);
    }
    first
}

fn owners(first_device: &[u32]) -> Vec<UserIndex> {
    let mut owner = Vec::with_capacity(first_device.last().copied().unwrap_or(0) as usize);
    for (user, &end) in first_device[1..].iter().enumerate() {
        owner.resize(end as usize, UserIndex(count(user)));
    }
    owner
}

/// Users by rank, the first in the list the most popular or active.
fn draw_ranks(users: u32, purpose: Purpose, seed: u64) -> Vec<UserIndex> {
    let mut ranks: Vec<_> = (0..users).map(UserIndex).collect();
    ranks.shuffle(&mut purpose.random(seed));
    ranks
}

/// The pairs, in the order in which they were drawn, and those of each user.
fn draw_contacts(
    contacts: &scenario::Contacts,
    ranks: &[UserIndex],
    seed: u64,
) -> (Vec<[UserIndex; 2]>, Vec<Vec<ConversationIndex>>) {
    let mut random = Purpose::Contacts.random(seed);
    let mut crowd = Crowd::new(ranks, contacts.popularity);
    let mut pairs: Vec<[UserIndex; 2]> = Vec::new();
    let mut direct_of: Vec<Vec<ConversationIndex>> = vec![Vec::new(); ranks.len()];
    for user in (0..count(ranks.len())).map(UserIndex) {
        crowd.begin();
        crowd.take(user);
        for known in &direct_of[user.place()] {
            let [a, b] = pairs[known.place()];
            crowd.take(if a == user { b } else { a });
        }
        for _ in 0..draw_bounded(contacts.per_user, &mut random) {
            let Some(other) = crowd.draw(&mut random) else { break };
            let conversation = ConversationIndex(count(pairs.len()));
            pairs.push([user.min(other), user.max(other)]);
            direct_of[user.place()].push(conversation);
            direct_of[other.place()].push(conversation);
        }
    }
    (pairs, direct_of)
}

fn draw_groups(groups: &scenario::Groups, ranks: &[UserIndex], seed: u64) -> Vec<Vec<UserIndex>> {
    let mut random = Purpose::Groups.random(seed);
    let mut crowd = Crowd::new(ranks, groups.popularity);
    let draw_one = |_| {
        crowd.begin();
        let size = draw_bounded(groups.members, &mut random);
        (0..size).map_while(|_| crowd.draw(&mut random)).collect()
    };
    (0..groups.count).map(draw_one).collect()
}

/// The groups of each user.
fn memberships(
    groups: &[Vec<UserIndex>],
    users: u32,
    first_group: u32,
) -> Vec<Vec<ConversationIndex>> {
    let mut groups_of = vec![Vec::new(); users as usize];
    for (group, members) in groups.iter().enumerate() {
        for member in members {
            groups_of[member.place()].push(ConversationIndex(first_group + count(group)));
        }
    }
    groups_of
}

/// Exactly the share that is asked for; with a larger one more are connected, and the same ones.
fn draw_online(devices: usize, share: f64, seed: u64) -> Vec<bool> {
    let mut order: Vec<_> = (0..devices).collect();
    order.shuffle(&mut Purpose::Online.random(seed));
    let mut online = vec![false; devices];
    let connected = (devices as f64 * share).round() as usize;
    order[..connected.min(devices)].iter().for_each(|device| online[*device] = true);
    online
}

fn draw_activity(users: u32, exponent: f64, seed: u64) -> Vec<u64> {
    let mut activity = vec![0; users as usize];
    for (rank, user) in draw_ranks(users, Purpose::Activity, seed).into_iter().enumerate() {
        let weight = ACTIVITY_MAX * (rank as f64 + 1.0).powf(-exponent);
        activity[user.place()] = weight.max(1.0) as u64;
    }
    activity
}

/// A number between two bounds.
fn draw_bounded(bounded: Bounded, random: &mut Random) -> u32 {
    let span = f64::from(bounded.max - bounded.min + 1);
    let rank = zipf(span, bounded.skew).sample(random) as u32;
    (bounded.min + rank.max(1) - 1).min(bounded.max)
}

fn zipf(len: f64, exponent: f64) -> Zipf<f64> {
    Zipf::new(len, exponent).expect("a scenario's exponents and bounds were checked")
}

/// Users of whom some are drawn, each once.
struct Crowd<'a> {
    ranks: &'a [UserIndex],
    by_rank: Zipf<f64>,
    /// The round in which a user was last taken.
    taken: Vec<u32>,
    round: u32,
    /// All before this rank were taken in this round.
    taken_to: usize,
}

impl<'a> Crowd<'a> {
    fn new(ranks: &'a [UserIndex], exponent: f64) -> Self {
        let by_rank = zipf(ranks.len() as f64, exponent);
        Self { ranks, by_rank, taken: vec![0; ranks.len()], round: 0, taken_to: 0 }
    }

    /// Everybody can be drawn again.
    fn begin(&mut self) {
        self.round += 1;
        self.taken_to = 0;
    }

    /// Makes somebody one who is not drawn.
    fn take(&mut self, user: UserIndex) {
        self.taken[user.place()] = self.round;
    }

    fn is_taken(&self, user: UserIndex) -> bool {
        self.taken[user.place()] == self.round
    }

    /// Somebody; nobody when everybody is taken.
    fn draw(&mut self, random: &mut Random) -> Option<UserIndex> {
        for _ in 0..MISSES_MAX {
            let rank = random.sample(self.by_rank) as usize;
            let user = self.ranks[rank.clamp(1, self.ranks.len()) - 1];
            if !self.is_taken(user) {
                self.take(user);
                return Some(user);
            }
        }
        while let Some(&user) = self.ranks.get(self.taken_to) {
            self.taken_to += 1;
            if !self.is_taken(user) {
                self.take(user);
                return Some(user);
            }
        }
        None
    }
}
