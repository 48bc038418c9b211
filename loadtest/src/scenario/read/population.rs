//! Reads `[population]`.

use wire::limits::{DEVICES_MAX, GROUP_MEMBERS_MAX};

use super::values;
use crate::scenario::{Bounded, Contacts, Groups, Population, quantity, source::Fields};

/// More are not needed to find what breaks, and each takes memory here.
const USERS_MAX: u32 = 1_000_000;
const CONTACTS_MAX: u32 = 10_000;
const GROUPS_MAX: u32 = 1_000_000;
/// Above it, nearly everything is the first.
pub(super) const EXPONENT_MAX: f64 = 4.0;
/// Contacts of all users together, and likewise members of all groups: 16 to 24 bytes of memory
/// each.
const TIES_MAX: u64 = 50_000_000;
/// What a user adds unless the file says otherwise; fewer when there are fewer users.
const CONTACTS_DEFAULT: Bounded = Bounded { min: 2, max: 40, skew: 1.0 };
const POPULARITY_DEFAULT: f64 = 0.8;

const GROUP_MEMBERS: u32 = GROUP_MEMBERS_MAX as u32;

pub(super) fn read(mut fields: Fields<'_, '_>) -> Population {
    let users = fields.need("users", "users = 100", 2, values::count32(1..=USERS_MAX));
    let devices_per_user = fields.table("devices_per_user").map_or(vec![1.0], devices_per_user);
    let contacts = fields.table("contacts");
    let contacts = contacts.map_or_else(|| contacts_default(users), |it| read_contacts(it, users));
    let groups = fields.table("groups").map_or_else(groups_default, |it| read_groups(it, users));
    let online = fields.get("online", values::share).unwrap_or(1.0);
    fields.finish();
    Population { users, devices_per_user, contacts, groups, online }
}

fn devices_per_user(mut fields: Fields<'_, '_>) -> Vec<f64> {
    let read = values::list(64, "weights", values::number(0.0..=1e9));
    let weights = fields.need("weights", "weights = [0.6, 0.3, 0.1]", vec![1.0], read);
    let sum: f64 = weights.iter().sum();
    if weights.len() > DEVICES_MAX {
        let what = format!("it lets a user have {} devices", weights.len());
        let help = format!("A user has at most {DEVICES_MAX}: one weight for each number of them.");
        fields.refuse("weights", what, help);
    } else if sum <= 0.0 {
        let help = "They say how often a user has one device, two, three, ...";
        fields.refuse("weights", "the weights are all 0", help);
    }
    fields.finish();
    weights.iter().map(|weight| weight / sum).collect()
}

fn contacts_default(users: u32) -> Contacts {
    let Bounded { min, max, skew } = CONTACTS_DEFAULT;
    let others = users - 1;
    let per_user = Bounded { min: min.min(others), max: max.min(others), skew };
    Contacts { per_user, popularity: POPULARITY_DEFAULT }
}

fn read_contacts(mut fields: Fields<'_, '_>, users: u32) -> Contacts {
    let default = contacts_default(users);
    let per_user = fields.table("per_user");
    let per_user = per_user.map(|it| bounded(it, 0..=CONTACTS_MAX)).unwrap_or(default.per_user);
    if per_user.max >= users {
        let what = format!("a user cannot add {} others", per_user.max);
        let help = format!("There are {users} users, so {} others.", users - 1);
        fields.refuse("per_user.max", what, help);
    }
    refuse_too_many(&fields, "per_user.max", (users, "users"), (per_user.max, "contacts"));
    let popularity = exponent(&mut fields, "popularity").unwrap_or(default.popularity);
    fields.finish();
    Contacts { per_user, popularity }
}

fn groups_default() -> Groups {
    let members = Bounded { min: 2, max: 2, skew: 0.0 };
    Groups { count: 0, members, popularity: POPULARITY_DEFAULT }
}

fn read_groups(mut fields: Fields<'_, '_>, users: u32) -> Groups {
    let count = fields.need("count", "count = 50", 0, values::count32(0..=GROUPS_MAX));
    let example = "members = { min = 3, max = 64, skew = 1.2 }";
    let members = fields.need_table("members", example);
    let members = members.map(|it| bounded(it, 2..=100_000)).unwrap_or(groups_default().members);
    if members.max > GROUP_MEMBERS {
        let help = format!("A group has at most {GROUP_MEMBERS} members.");
        fields.refuse("members.max", format!("it lets a group have {}", members.max), help);
    } else if members.max > users && count > 0 {
        let what = format!("a group cannot have {} members", members.max);
        fields.refuse("members.max", what, format!("There are {users} users."));
    }
    refuse_too_many(&fields, "members.max", (count, "groups"), (members.max, "members"));
    let popularity = exponent(&mut fields, "popularity").unwrap_or(POPULARITY_DEFAULT);
    fields.finish();
    Groups { count, members, popularity }
}

/// Refuses what would not fit the memory of this program.
fn refuse_too_many(
    fields: &Fields<'_, '_>,
    key: &str,
    (count, things): (u32, &str),
    (each, ties): (u32, &str),
) {
    let sum = u64::from(count) * u64::from(each);
    if sum > TIES_MAX {
        let [sum, most] = [sum, TIES_MAX].map(|it| quantity::show_number(it as f64));
        let [count, each] = [count, each].map(|it| quantity::show_number(f64::from(it)));
        let what = format!("these are more {ties} than are kept in memory");
        let help =
            format!("{count} {things} with up to {each} {ties} each: {sum}, at most {most}.");
        fields.refuse(key, what, help);
    }
}

pub(super) fn exponent(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<f64> {
    fields.get(key, values::number(0.0..=EXPONENT_MAX))
}

fn bounded(mut fields: Fields<'_, '_>, range: std::ops::RangeInclusive<u32>) -> Bounded {
    let least = *range.start();
    let min = fields.need("min", "min = 2", least, values::count32(range.clone()));
    let max = fields.need("max", "max = 40", min.max(least), values::count32(range));
    let skew = exponent(&mut fields, "skew").unwrap_or(0.0);
    if min > max {
        let [min, max] = [min, max].map(|it| quantity::show_number(f64::from(it)));
        fields.refuse("max", format!("it is {max}, less than min, which is {min}"), "");
    }
    fields.finish();
    Bounded { min: min.min(max), max, skew }
}
