//! What each mistake is told, word by word.

use super::*;

/// What is said about [`LEAST`] after a change.
fn check(from: &str, to: &str, expected: &str) {
    assert!(LEAST.contains(from), "{from}");
    check_file(&LEAST.replace(from, to), expected);
}

fn check_file(text: &str, expected: &str) {
    let found = parse(text).unwrap_err().to_string();
    assert_eq!(found, expected, "\n--- found\n{found}\n--- expected\n{expected}");
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest_name() {
    check(
        "users = 10",
        "users = 10\nonlin = 0.5",
        "\
test.toml:5:1: population.onlin: there is no such key
  |
5 | onlin = 0.5
  | ^^^^^
  Did you mean `online`?",
    );
}

#[test]
fn an_unknown_key_like_no_other_is_told_with_those_there_are() {
    check(
        "[[phase]]",
        "[honest]\nxyz = 1\n[[phase]]",
        "\
test.toml:6:1: honest.xyz: there is no such key
  |
6 | xyz = 1
  | ^^^
  Known here: grace, schedule_delay_p99_max.",
    );
}

#[test]
fn a_missing_key_is_told_with_an_example() {
    check(
        "rate = 5\n",
        "",
        "\
test.toml:5:1: phase.load.rate: it is missing
  |
5 | [[phase]]
  | ^^^^^^^^^
  For example: rate = 1000  # messages/s, 0 for none",
    );
}

#[test]
fn a_duration_without_a_unit_is_told_what_one_looks_like() {
    check(
        "\"10s\"",
        "10",
        "\
test.toml:7:1: phase.load.duration: it is 10, not a duration such as \"5ms\", \"10s\", \"2m\", \
\"1h\" or \"1.5h\"
  |
7 | duration = 10
  | ^^^^^^^^^^^^^",
    );
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    check(
        "users = 10",
        "users = = 10",
        "\
test.toml:4:9: extra `=`, expected nothing
  |
4 | users = = 10
  |         ^",
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = LEAST
        .replace("users = 10", "users = 0\nonline = 2")
        .replace("rate = 5", "rate = -5\narrivals = \"poison\"");
    check_file(
        &text,
        "\
test.toml:4:1: population.users: it is 0, not a whole number from 1 to 1,000,000
  |
4 | users = 0
  | ^^^^^^^^^

test.toml:5:1: population.online: it is 2, not a share from 0 to 1 such as 0.3, or \"30%\"
  |
5 | online = 2
  | ^^^^^^^^^^

test.toml:9:1: phase.load.rate: it is -5, not a number from 0 to 10,000,000
  |
9 | rate = -5
  | ^^^^^^^^^

test.toml:10:1: phase.load.arrivals: it is \"poison\", not one of \"poisson\", \"constant\", { \
sine = { .. \
} }, { steps = [..] }, { closed = { .. } }; did you mean \"poisson\"?
   |
10 | arrivals = \"poison\"
   | ^^^^^^^^^^^^^^^^^^^",
    );
}

#[test]
fn payloads_that_cannot_be_are_refused() {
    let payload = |payload: &str| format!("[traffic]\npayload = {payload}\n[[phase]]");
    check(
        "[[phase]]",
        &payload("{ fixed = 40 }"),
        "\
test.toml:6:13: traffic.payload.fixed: it is 40, not a size from 48 B to 64 KiB (48 B are the \
ledger's, to know a message again)
  |
6 | payload = { fixed = 40 }
  |             ^^^^^^^^^^",
    );
    check(
        "[[phase]]",
        &payload("{ fixed = 100, file = \"x\" }"),
        "\
test.toml:6:1: traffic.payload: it must say sizes in exactly one way
  |
6 | payload = { fixed = 100, file = \"x\" }
  | ^^^^^^^
  One of { fixed = 256 }, { median = 200, p99 = 4000, max = 65536 } and { file = \
\"messages.txt\" }.",
    );
}

#[test]
fn groups_larger_than_may_be_or_than_there_are_users_are_refused_with_the_sum() {
    let groups = |max: u32| {
        let members = format!("{{ min = 2, max = {max} }}");
        format!("users = 10\ngroups = {{ count = 1, members = {members} }}")
    };
    check(
        "users = 10",
        &groups(513),
        "\
test.toml:5:44: population.groups.members.max: it lets a group have 513
  |
5 | groups = { count = 1, members = { min = 2, max = 513 } }
  |                                            ^^^^^^^^^
  A group has at most 512 members.",
    );
    check(
        "users = 10",
        &groups(11),
        "\
test.toml:5:44: population.groups.members.max: a group cannot have 11 members
  |
5 | groups = { count = 1, members = { min = 2, max = 11 } }
  |                                            ^^^^^^^^
  There are 10 users.",
    );
}

#[test]
fn more_contacts_than_fit_the_memory_are_refused_with_the_sum() {
    let many = "users = 1_000_000\ncontacts = { per_user = { min = 2, max = 51 } }";
    check(
        "users = 10",
        many,
        "\
test.toml:5:36: population.contacts.per_user.max: these are more contacts than are kept in memory
  |
5 | contacts = { per_user = { min = 2, max = 51 } }
  |                                    ^^^^^^^^
  1,000,000 users with up to 51 contacts each: 51,000,000, at most 50,000,000.",
    );
}

#[test]
fn eleven_devices_of_a_user_are_refused() {
    let weights = "users = 10\ndevices_per_user = { weights = [1,1,1,1,1,1,1,1,1,1,1] }";
    check(
        "users = 10",
        weights,
        "\
test.toml:5:22: population.devices_per_user.weights: it lets a user have 11 devices
  |
5 | devices_per_user = { weights = [1,1,1,1,1,1,1,1,1,1,1] }
  |                      ^^^^^^^
  A user has at most 10: one weight for each number of them.",
    );
}

#[test]
fn messages_to_groups_that_are_not_there_are_refused() {
    check(
        "[[phase]]",
        "[traffic]\nto_groups = 0.5\n[[phase]]",
        "\
test.toml:6:1: traffic.to_groups: there are no groups
  |
6 | to_groups = 0.5
  | ^^^^^^^^^^^^^^^
  Add groups = { count = 50, members = { min = 3, max = 64 } } to [population].",
    );
}

#[test]
fn actions_that_cannot_be_done_then_are_refused() {
    let action = |keys: &str| format!("rate = 5\n[[phase.action]]\n{keys}");
    check(
        "rate = 5",
        &action("at = \"11s\"\ndo = \"reconnect\""),
        "\
test.toml:10:1: phase.load.action.1.at: the phase is over then
   |
10 | at = \"11s\"
   | ^^^^^^^^^^
  It is at 11s, and the phase lasts 10s.",
    );
    check(
        "rate = 5",
        &action("at = \"1s\"\ndo = \"kill\"\nprocess = \"sever\""),
        "\
test.toml:12:1: phase.load.action.1.process: there is no process \"sever\"
   |
12 | process = \"sever\"
   | ^^^^^^^^^^^^^^^^^
  Did you mean \"server\"? [cluster] has: server.",
    );
    check(
        "rate = 5",
        &action("at = \"1s\"\ndo = \"start\"\nprocess = \"server\""),
        "\
test.toml:12:1: phase.load.action.1.process: it runs then
   |
12 | process = \"server\"
   | ^^^^^^^^^^^^^^^^^^
  Add what is missing before, or leave this out.",
    );
    check(
        "rate = 5",
        &action("at = \"1s\"\ndo = \"explode\""),
        "\
test.toml:11:1: phase.load.action.1.do: it is \"explode\", not one of \"disconnect\", \
\"reconnect\", \
\"rebind\", \"drain-process\", \"kill\", \"stop\", \"cont\", \"start\", \"terminate\", \
\"command\", \"flood\"
   |
11 | do = \"explode\"
   | ^^^^^^^^^^^^^^",
    );
}

#[test]
fn a_search_without_bounds_is_refused() {
    let search = "search = { from = 100, to = 50 }";
    check(
        "duration = \"10s\"\nrate = 5",
        search,
        "\
test.toml:7:1: phase.load.search: there is no bound to search against
  |
7 | search = { from = 100, to = 50 }
  | ^^^^^^
  For example: slo = { end_to_end_p99 = \"20ms\", rate_min = 0.99 }

test.toml:7:24: phase.load.search.to: it is 50, less than from, which is 100
  |
7 | search = { from = 100, to = 50 }
  |                        ^^^^^^^",
    );
}

#[test]
fn a_closed_loop_says_its_senders_and_nothing_else() {
    let closed = |shape: &str| format!("rate = 5\narrivals = {{ {shape} }}");
    check(
        "rate = 5",
        &closed("closed = { sender = 20 }"),
        "\
test.toml:9:14: phase.load.arrivals.closed.senders: it is missing
  |
9 | arrivals = { closed = { sender = 20 } }
  |              ^^^^^^
  For example: senders = 20

test.toml:9:25: phase.load.arrivals.closed.sender: there is no such key
  |
9 | arrivals = { closed = { sender = 20 } }
  |                         ^^^^^^
  Did you mean `senders`?",
    );
    check(
        "rate = 5",
        &closed("closed = { senders = 0 }"),
        "\
test.toml:9:25: phase.load.arrivals.closed.senders: it is 0, not a whole number from 1 to 100,000
  |
9 | arrivals = { closed = { senders = 0 } }
  |                         ^^^^^^^^^^^",
    );
    check(
        "rate = 5",
        &closed("sine = { amplitude = 1, period = \"1s\" }, closed = { senders = 2 }"),
        "\
test.toml:9:1: phase.load.arrivals: it must say exactly one shape
  |
9 | arrivals = { sine = { amplitude = 1, period = \"1s\" }, closed = { senders = 2 } }
  | ^^^^^^^^
  One of { sine = { amplitude = 0.5, period = \"30s\" } }, { steps = [1000, 2000] } and \
{ closed = { senders = 20 } }.",
    );
}

#[test]
fn a_closed_loop_is_neither_searched_with_nor_shared() {
    let closed = "arrivals = { closed = { senders = 20 } }";
    check(
        "duration = \"10s\"\nrate = 5",
        &format!("search = {{ from = 1, to = 5 }}\n{closed}\nslo = {{ errors_max = 0 }}"),
        "\
test.toml:8:1: phase.load.arrivals: a closed loop cannot search
  |
8 | arrivals = { closed = { senders = 20 } }
  | ^^^^^^^^
  It asks for no more than it is answered, so that hardly any rate would miss a bound.
  Each try holds one rate: \"poisson\" or \"constant\".",
    );
    let scenario = parse(&format!("{LEAST}{closed}\n")).unwrap();
    let found = scenario.check_for_agents().unwrap_err().to_string();
    assert!(found.starts_with("test.toml:9:1: phase.load.arrivals: a closed loop"), "{found}");
    assert_eq!(parse(LEAST).unwrap().check_for_agents(), Ok(()));
}

#[test]
fn two_phases_of_one_name_are_refused() {
    let again = "\n[[phase]]\nname = \"load\"\nduration = \"1s\"\nrate = 0\n";
    let text = format!("{LEAST}{again}");
    let found = parse(&text).unwrap_err().to_string();
    assert!(
        found.starts_with("test.toml:11:1: phase.load.name: there is a phase \"load\" already")
    );
}
