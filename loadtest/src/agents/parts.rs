//! Which agent plays whom.

use std::sync::Arc;

use crate::{
    generator::Part,
    population::{DeviceIndex, Payloads, Population, Sends},
    scenario::Scenario,
};

/// Splits the population among so many agents: about as many devices each, all devices of a user
/// at one. Each has the share of the load that its users, as connected at first, would have of
/// the whole. Fewer parts than asked for when there are fewer users.
#[must_use]
pub fn split(
    population: &Arc<Population>,
    scenario: &Scenario,
    payloads: &Payloads,
    count: usize,
) -> Vec<Part> {
    let ends = ends(population, count);
    let sends = Sends::new(Arc::clone(population), &scenario.traffic, payloads, scenario.seed);
    let mut begin = 0;
    let mut parts: Vec<Part> = Vec::new();
    for (number, end) in (0..).zip(ends) {
        let share = (begin..end).map(|device| sends.shares_of(DeviceIndex(device)).sum()).sum();
        let seed = scenario.seed ^ seed_of(number);
        parts.push(Part { devices: DeviceIndex(begin)..DeviceIndex(end), share, seed });
        begin = end;
    }
    parts
}

/// Where each part ends.
fn ends(population: &Population, count: usize) -> Vec<u32> {
    let devices = u64::from(population.device_count());
    let count = count.clamp(1, population.user_count() as usize) as u64;
    let mut ends = Vec::new();
    let mut users_left = u64::from(population.user_count());
    let mut end = 0;
    for user in population.users() {
        users_left -= 1;
        end += population.devices_of(user).len() as u32;
        let filled = ends.len() as u64 + 1;
        let enough = u64::from(end) * count >= devices * filled;
        // The last parts get a user each, however few devices are left.
        let must = users_left == count - filled;
        if (enough || must) && filled < count {
            ends.push(end);
        }
    }
    ends.push(population.device_count());
    ends
}

/// Far from each other, and 0 for the first: alone, it does what a run without agents does.
fn seed_of(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(users: u32, count: usize) -> Vec<Part> {
        let text = format!(
            "name = \"x\"\nabout = \"x\"\n[population]\nusers = {users}\n\
             devices_per_user = {{ weights = [0.5, 0.3, 0.2] }}\nonline = 0.7\n\
             [[phase]]\nname = \"a\"\nrate = 1.0\nduration = \"1s\"\n"
        );
        let scenario = Scenario::parse(&text, "x", std::path::Path::new("")).unwrap();
        let population =
            Arc::new(Population::draw(&scenario.population, &scenario.traffic, scenario.seed));
        let payloads = Payloads::load(&scenario.traffic, 1).unwrap();
        let parts = split(&population, &scenario, &payloads, count);
        let mut next = 0;
        for part in &parts {
            assert_eq!(part.devices.start.0, next);
            assert!(part.devices.end.0 > next, "{parts:?}");
            next = part.devices.end.0;
            let last = DeviceIndex(next - 1);
            if next < population.device_count() {
                assert_ne!(population.user_of(last), population.user_of(DeviceIndex(next)));
            }
        }
        assert_eq!(next, population.device_count());
        let sum: f64 = parts.iter().map(|part| part.share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        parts
    }

    #[test]
    fn everybody_is_played_by_one_and_all_of_the_load_is_sent() {
        assert_eq!(check(500, 2).len(), 2);
        assert_eq!(check(500, 7).len(), 7);
        assert_eq!(check(3, 3).len(), 3);
        assert_eq!(check(3, 5).len(), 3);
        let parts = check(1000, 4);
        let sizes: Vec<u32> =
            parts.iter().map(|it| it.devices.end.0 - it.devices.start.0).collect();
        assert!(sizes.iter().all(|size| size.abs_diff(sizes[0]) < 10), "{sizes:?}");
    }
}
