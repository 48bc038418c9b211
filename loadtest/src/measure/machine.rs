//! What the machine is that a run happened on.

use std::{fs, thread};

use crate::report::summary::Machine;

/// Describes this machine, as far as it bears on speed. What cannot be found out is left empty.
#[must_use]
pub fn describe_machine() -> Machine {
    let system = rustix::system::uname();
    let words = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut notes = Vec::new();
    if read("/proc/cpuinfo").contains(" hypervisor") {
        notes.push("It is a virtual machine.".to_owned());
    }
    Machine {
        cpu: after(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_bytes: memory_bytes(&read("/proc/meminfo")),
        kernel: format!("{} {}", words(system.sysname()), words(system.release())),
        os: after(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_default(),
        notes,
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line that begins with a key, without its separator and quotes.
fn after(text: &str, key: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    let value = rest.trim_start_matches([' ', '\t', ':', '=']);
    Some(value.trim_matches('"').trim().to_owned())
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = after(meminfo, "MemTotal").unwrap_or_default();
    let kib: u64 = total.trim_end_matches(" kB").parse().unwrap_or(0);
    kib * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_it_is() {
        let machine = describe_machine();
        assert!(machine.cores > 0);
        assert!(machine.kernel.contains(' '));
    }

    #[test]
    fn values_are_found_behind_either_separator() {
        assert_eq!(after("model name\t: A B\n", "model name").as_deref(), Some("A B"));
        assert_eq!(after("PRETTY_NAME=\"C D\"\n", "PRETTY_NAME").as_deref(), Some("C D"));
        assert_eq!(memory_bytes("MemTotal:       1024 kB\n"), 1_048_576);
    }
}
