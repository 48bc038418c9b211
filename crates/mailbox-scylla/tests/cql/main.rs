//! On a real database: `POSTHORN_TEST_CQL` names all its nodes, `host:port[,host:port]`.
#![allow(clippy::unwrap_used)]

mod buckets;
mod contract;
mod faults;
mod ids;
mod opening;
mod relay;
mod schema;
mod secured;
mod world;
