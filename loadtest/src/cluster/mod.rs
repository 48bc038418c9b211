//! The cluster under test: started here as processes of their own, or somewhere else; and what can
//! be seen of it from outside.
//!
//! A [`LocalCluster`] is what a user would start by hand: `posthorn dev`, or one `posthorn node`
//! for each process of a sandbox. Its processes end with this one, however it ends. A [`Sampler`]
//! looks at processes and their metrics once a second. A [`Minter`] makes tokens that a cluster
//! believes.

mod foreign;
mod guard;
mod http;
mod local;
mod locate;
mod metrics;
mod ports;
mod process;
mod sampler;
mod token;
mod usage;

pub use foreign::ForeignProcess;
pub use local::{Act, LocalCluster, Settings, Target};
pub use locate::posthorn;
pub use metrics::{CHOSEN, Chosen, Figure, Kind, figures};
pub use process::{Process, State};
pub use sampler::{MetricsUrl, ProcessSample, Sample, Sampler, Watched};
pub use token::{Given, Identity, Minter, TokenKey};
pub use usage::Usage;
