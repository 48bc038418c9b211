//! What is under which key, and how routes are written.

use ports::presence::Route;
use wire::{Address, DeviceId, EdgeId, Generation, UserId, shard::VShard};

/// Bytes of edge and generation, which a value begins with.
const PLACE_LEN: usize = 16;

/// The keys of one cluster. The part in braces decides the slot of Redis Cluster.
pub(crate) struct Keys {
    prefix: String,
    leases: [String; 3],
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        let lease = |what: &str| format!("{prefix}:{{leases}}:{what}");
        let leases = [lease("until"), lease("addresses"), lease("version")];
        Self { prefix: prefix.to_owned(), leases }
    }

    /// Until when each edge has its lease, their addresses, and the version of the set of them.
    pub(crate) const fn leases(&self) -> &[String; 3] {
        &self.leases
    }

    /// The routes of a user: a hash of places by device.
    pub(crate) fn routes(&self, shard: VShard, user: UserId) -> String {
        format!("{}:{{{}}}:routes:{user}", self.prefix, shard.get())
    }

    /// A key among those of a shard that lives as long as they do.
    pub(crate) fn witness(&self, shard: u16) -> String {
        format!("{}:{{{shard}}}:witness", self.prefix)
    }
}

/// The shard a user's keys are of.
pub(crate) fn shard_of(user: UserId) -> VShard {
    VShard::of(Address::User(user))
}

/// Edge and generation, 8 bytes each, big-endian.
pub(crate) fn place(route: &Route) -> [u8; PLACE_LEN] {
    let mut place = [0; PLACE_LEN];
    place[..8].copy_from_slice(&route.edge.get().to_be_bytes());
    place[8..].copy_from_slice(&route.generation.get().to_be_bytes());
    place
}

/// The route in a field of [`Keys::routes`]; `None` if this program did not write it.
pub(crate) fn route(user: UserId, field: &[u8], value: &[u8]) -> Option<Route> {
    let device = DeviceId::from_bytes(field.try_into().ok()?);
    let (edge, value) = value.split_first_chunk()?;
    let (generation, _written) = value.split_first_chunk()?;
    let edge = EdgeId::new(u64::from_be_bytes(*edge));
    let generation = Generation::new(u64::from_be_bytes(*generation));
    Some(Route { user, device, edge, generation })
}

/// How an edge is named among leases.
pub(crate) fn edge_name(edge: EdgeId) -> String {
    format!("{:016x}", edge.get())
}

/// The edge of this name.
pub(crate) fn edge_named(name: &[u8]) -> Option<EdgeId> {
    let name = std::str::from_utf8(name).ok()?;
    u64::from_str_radix(name, 16).ok().map(EdgeId::new)
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;

    fn a_route() -> Route {
        Route {
            user: UserId::from_bytes([7; 16]),
            device: DeviceId::from_bytes([9; 8]),
            edge: EdgeId::new(0xFEDC_BA98_7654_3210),
            generation: Generation::new(u64::MAX - 1),
        }
    }

    #[test]
    fn a_route_is_read_as_it_was_written() {
        let written = a_route();
        let mut value = place(&written).to_vec();
        value.extend(1_700_000_000_u32.to_be_bytes());
        assert_eq!(route(written.user, written.device.as_bytes(), &value), Some(written));
        assert_eq!(route(written.user, b"short", &value), None);
        assert_eq!(route(written.user, written.device.as_bytes(), &value[..12]), None);
        assert_eq!(edge_named(edge_name(written.edge).as_bytes()), Some(written.edge));
    }

    #[test]
    fn all_keys_of_a_shard_are_of_one_slot() {
        let keys = Keys::new("posthorn");
        let user = a_route().user;
        let shard = shard_of(user);
        let routes = Slot::for_key(keys.routes(shard, user));
        assert_eq!(routes, Slot::for_key(keys.witness(shard.get())));
        let leases = keys.leases();
        assert!(leases.iter().all(|key| Slot::for_key(key) == Slot::for_key(&leases[0])));
    }
}
