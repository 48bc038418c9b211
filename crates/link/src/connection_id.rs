//! Connection ids that tell a load balancer which edge a packet is for.

use std::time::Duration;

use aws_lc_rs::rand;
use quinn::{ConnectionId, ConnectionIdGenerator};
use wire::EdgeId;

/// Length of a connection id, bytes; QUIC allows 20.
const LEN: usize = 19;

/// Makes ids in the plaintext layout of QUIC-LB.
///
/// Layout: at 0 the configuration, 3 bits of value 0, and the length after this byte, 5 bits; at
/// 1 the edge (big-endian); at 9 the endpoint inside the process, always 0; at 10 nine random
/// bytes.
///
/// Ids are not checked when packets come in: an edge must answer packets of an edge that is gone
/// with a stateless reset, so that the client learns of it at once instead of after its timeout.
#[derive(Clone, Copy)]
pub(crate) struct EdgeConnectionIds {
    edge: EdgeId,
}

impl EdgeConnectionIds {
    pub(crate) const fn new(edge: EdgeId) -> Self {
        Self { edge }
    }

    fn generate(self) -> [u8; LEN] {
        let mut id = [0; LEN];
        id[0] = u8::try_from(LEN - 1).expect("at most 19");
        id[1..9].copy_from_slice(&self.edge.get().to_be_bytes());
        rand::fill(&mut id[10..]).expect("the system gives random bytes");
        id
    }
}

impl ConnectionIdGenerator for EdgeConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.generate())
    }

    fn cid_len(&self) -> usize {
        LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_the_edge_and_differ() {
        let ids = EdgeConnectionIds::new(EdgeId::new(0x0102_0304_0506_0708));
        let (one, two) = (ids.generate(), ids.generate());
        assert_eq!(one[..10], [18, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
        assert_eq!(one[..10], two[..10]);
        assert_ne!(one, two);
    }
}
