//! The sums, and what is refused for them.

use std::sync::Arc;

use super::*;
use crate::{
    population::{self, Payloads},
    scenario::demand::{Demand, Servers},
};

pub(super) fn of(scenario: &Scenario) -> Result<Demand, Problems> {
    against(scenario, Servers::Started)
}

fn against(scenario: &Scenario, servers: Servers) -> Result<Demand, Problems> {
    let payloads = Payloads::load(&scenario.traffic, scenario.seed).unwrap();
    let (people, traffic) = (&scenario.population, &scenario.traffic);
    let population = population::Population::draw(people, traffic, scenario.seed);
    Demand::of(scenario, &Arc::new(population), &payloads, servers)
}

fn refused(text: &str) -> String {
    of(&parse(text).unwrap()).unwrap_err().to_string()
}

#[test]
fn what_is_asked_for_is_added_up() {
    let demand = of(&parse(LEAST).unwrap()).unwrap();
    assert_eq!((demand.users, demand.devices, demand.devices_online), (10, 10, 10));
    assert_eq!(demand.messages, 50.0);
    assert_eq!(demand.recipients_mean, 1.0, "one device each, and one other user");
    assert_eq!(demand.phases[0].deliveries, Some(50.0));
    assert_eq!(demand.duration_s, 40.0);
    assert_eq!(demand.payload_bytes_mean, 256.0);
}

#[test]
fn recipients_are_counted_as_they_are_drawn() {
    let text = include_str!("../../../scenarios/hot-group.toml");
    let scenario = parse(text).unwrap();
    let demand = of(&scenario).unwrap();
    let people = population::Population::draw(&scenario.population, &scenario.traffic, 1);
    let people = Arc::new(people);
    let payloads = Payloads::load(&scenario.traffic, 1).unwrap();
    let mut sends = population::Sends::new(Arc::clone(&people), &scenario.traffic, &payloads, 1);
    let recipients = (0..4_000).map(|_| {
        let send = sends.draw().unwrap();
        people.recipients(send.to, send.from).count()
    });
    let mean = recipients.sum::<usize>() as f64 / 4_000.0;
    assert!((mean / demand.recipients_mean - 1.0).abs() < 0.05, "{mean} {demand:?}");
}

#[test]
fn more_devices_than_may_be_connected_are_refused_with_the_sum() {
    let text = LEAST.replace("users = 10", "users = 30_000");
    expect(
        &refused(&text),
        "\
test.toml:4:1: population.users: 30,000 devices are more than may be connected
  |
4 | users = 30_000
  | ^^^^^^^^^^^^^^
  30,000 users have 30,000 devices, and all are connected once at the start.
  edge.connections_max = 20,000 on 1 server: 20,000.
  Lower population.users, or raise it: [cluster] set = [\"edge.connections_max=30000\"]

test.toml:4:1: population.users: 30,000 devices are more than may be connected from one address
  |
4 | users = 30_000
  | ^^^^^^^^^^^^^^
  30,000 users have 30,000 devices, and all are connected once at the start.
  edge.connections_per_ip_max = 2,000 on 1 server: 2,000.
  Lower population.users, or raise it: [cluster] set = [\"edge.connections_per_ip_max=30000\"]",
    );
    assert!(against(&parse(&text).unwrap(), Servers::Elsewhere).is_ok());
    let set = "[cluster]\nset = ['edge.connections_max=30000', 'edge.connections_per_ip_max = \
30_000']\n[population]";
    assert!(of(&parse(&text.replace("[population]", set)).unwrap()).is_ok());
}

#[test]
fn a_rate_above_what_a_device_may_send_is_refused_with_the_sum() {
    let text = LEAST.replace("rate = 5", "rate = 1_000_000");
    let error = refused(&text);
    assert!(error.contains("phase.load.rate: 1,000,000 messages/s are more than"), "{error}");
    assert!(error.contains("edge.send_rate allows a device 16 MiB/s"), "{error}");
}

#[test]
fn a_load_that_nobody_could_send_is_refused() {
    let text = LEAST.replace("users = 10", "users = 10\nonline = 0");
    expect(
        &refused(&text),
        "\
test.toml:9:1: phase.load.rate: nobody is connected who could send
  |
9 | rate = 5
  | ^^^^^^^^
  population.online = 0 of 10 devices: 0, and no action reconnects any before.",
    );
}

#[test]
fn churn_of_more_devices_than_there_are_is_refused_with_the_sum() {
    let text = format!("{LEAST}churn = {{ per_s = 20, away = \"2s\" }}\n");
    expect(
        &refused(&text),
        "\
test.toml:9:11: phase.load.churn.per_s: more devices would be away than there are
  |
9 | churn = { per_s = 20, away = \"2s\" }
  |           ^^^^^^^^^^
  20 a second, away for 2s each: 40 at a time, of 10.",
    );
}

fn expect(found: &str, expected: &str) {
    assert_eq!(found, expected, "\n--- found\n{found}\n--- expected\n{expected}");
}
