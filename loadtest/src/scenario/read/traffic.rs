//! Reads `[traffic]`.

use std::path::Path;

use wire::limits::PAYLOAD_BYTES_MAX;

use super::{population::exponent, values};
use crate::scenario::{
    Hot, HotTarget, PAYLOAD_BYTES_MIN, Payload, Population, Traffic,
    source::{Fields, Source},
};

const PAYLOAD_DEFAULT: Payload = Payload::Fixed(256);

pub(super) fn default() -> Traffic {
    Traffic { to_groups: 0.0, activity: 0.8, payload: PAYLOAD_DEFAULT, hot: None }
}

pub(super) fn read(mut fields: Fields<'_, '_>, folder: &Path) -> Traffic {
    let default = default();
    let to_groups = fields.get("to_groups", values::share).unwrap_or(default.to_groups);
    let activity = exponent(&mut fields, "activity").unwrap_or(default.activity);
    let payload = fields.table("payload").map_or(PAYLOAD_DEFAULT, |it| payload(it, folder));
    let hot = fields.table("hot").map(hot);
    fields.finish();
    Traffic { to_groups, activity, payload, hot }
}

fn payload(mut fields: Fields<'_, '_>, folder: &Path) -> Payload {
    let sizes = u64::from(PAYLOAD_BYTES_MIN)..=PAYLOAD_BYTES_MAX as u64;
    let read = || {
        let bytes = values::bytes(sizes.clone());
        move |value: &toml::de::DeValue<'_>| {
            let with_reason =
                |expected| format!("{expected} (48 B are the ledger's, to know a message again)");
            let bytes = bytes(value).map_err(with_reason)?;
            Ok(u32::try_from(bytes).expect("a payload is at most 64 KiB"))
        }
    };
    let fixed = fields.get("fixed", read());
    let median = fields.get("median", read());
    let p99 = fields.get("p99", read());
    let max = fields.get("max", read());
    let file = fields.get("file", values::some_text);
    let kinds = [fixed.is_some(), median.or(p99).or(max).is_some(), file.is_some()];
    let is_written = ["fixed", "median", "p99", "max", "file"].iter().any(|key| fields.has(key));
    if kinds.iter().filter(|is| **is).count() > 1 || !is_written {
        let help = "One of { fixed = 256 }, { median = 200, p99 = 4000, max = 65536 } and \
                    { file = \"messages.txt\" }.";
        fields.refuse_table("it must say sizes in exactly one way", help);
    }
    let read = match (median, p99, max) {
        (Some(median), Some(p99), Some(max)) => {
            if !(median < p99 && p99 <= max) {
                fields.refuse_table("half < 99% <= all must hold", "Needed: median < p99 <= max.");
            }
            Payload::LogNormal { median, p99, max }
        }
        (None, None, None) => fixed
            .map(Payload::Fixed)
            .or(file.map(|it| Payload::File(folder.join(it))))
            .unwrap_or(PAYLOAD_DEFAULT),
        (median, p99, max) => {
            let keys = [("median", median), ("p99", p99), ("max", max)];
            for (key, _) in keys.iter().filter(|(key, read)| read.is_none() && !fields.has(key)) {
                fields.refuse(key, "it is missing", "Needed together: median, p99 and max.");
            }
            PAYLOAD_DEFAULT
        }
    };
    fields.finish();
    read
}

fn hot(mut fields: Fields<'_, '_>) -> Hot {
    let targets = [("largest-group", HotTarget::LargestGroup), ("one-user", HotTarget::OneUser)];
    let example = "conversation = \"largest-group\"";
    let target =
        fields.need("conversation", example, HotTarget::LargestGroup, values::one_of(&targets));
    let share = fields.need("share", "share = 0.5", 0.0, values::share);
    fields.finish();
    Hot { target, share }
}

/// Whether there is anybody to send to.
pub(super) fn check(source: &Source<'_>, traffic: &Traffic, population: &Population) {
    let is_alone = population.contacts.per_user.max == 0;
    let no_groups = population.groups.count == 0;
    let add_groups =
        "Add groups = { count = 50, members = { min = 3, max = 64 } } to [population].";
    if traffic.to_groups > 0.0 && no_groups {
        source.refuse("traffic.to_groups", "there are no groups", add_groups);
    }
    if traffic.to_groups < 1.0 && is_alone {
        let help = "Raise max, or set traffic.to_groups = 1.";
        let what = "nobody has contacts to send to";
        source.refuse("population.contacts.per_user.max", what, help);
    }
    match traffic.hot.map(|hot| hot.target) {
        Some(HotTarget::LargestGroup) if no_groups => {
            source.refuse("traffic.hot.conversation", "there are no groups", add_groups);
        }
        Some(HotTarget::OneUser) if is_alone => {
            let help = "Raise population.contacts.per_user.max.";
            source.refuse("traffic.hot.conversation", "nobody has contacts", help);
        }
        Some(HotTarget::LargestGroup | HotTarget::OneUser) | None => {}
    }
}
