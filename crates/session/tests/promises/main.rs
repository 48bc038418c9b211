//! Both halves of a connection in one small world: nothing is lost, shown twice or out of order.
#![allow(clippy::unwrap_used)]

mod cuts;
mod orders;
mod world;
