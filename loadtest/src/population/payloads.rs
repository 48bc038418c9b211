//! What is sent: bytes that look like ciphertext, or the lines of a file.

use std::{fs, io, path::PathBuf, sync::Arc};

use rand::{RngExt, rand_core::Rng, seq::SliceRandom};
use rand_distr::{Distribution, LogNormal};
use wire::limits::PAYLOAD_BYTES_MAX;

use crate::scenario::{
    PAYLOAD_BYTES_MIN, Payload, Traffic,
    seed::{Purpose, Random},
};

/// Random bytes that bodies are cut from, as long as the longest body and as many starts.
const POOL_BYTES: usize = 2 * PAYLOAD_BYTES_MAX;
/// The longest body.
const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - PAYLOAD_BYTES_MIN as usize;
/// A file of messages is no larger; it stays in memory.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The 99th percentile of the normal distribution, in standard deviations.
const NORMAL_P99: f64 = 2.326_347_874;

/// The bytes that are sent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Payloads {
    pool: Arc<[u8]>,
    sizes: Sizes,
}

/// A message's content without the ledger's bytes: a place among the [`Payloads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    start: u32,
    len: u32,
}

impl Body {
    /// How long the whole payload is, the ledger's bytes included.
    #[must_use]
    pub fn payload_bytes(self) -> usize {
        (self.len + PAYLOAD_BYTES_MIN) as usize
    }
}

/// How long bodies are.
#[derive(Clone, Debug)]
enum Sizes {
    Fixed(u32),
    LogNormal { by: LogNormal<f64>, max: u32 },
    Lines(Arc<[Body]>),
}

/// A file of messages cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct PayloadError {
    path: PathBuf,
    what: String,
}

impl Payloads {
    /// Reads the file of messages, if there is one, or draws bytes.
    ///
    /// # Errors
    /// When the file cannot be read, is not a list of messages, or one is too large.
    pub fn load(traffic: &Traffic, seed: u64) -> Result<Self, PayloadError> {
        match &traffic.payload {
            Payload::Fixed(bytes) => {
                Ok(Self::random(seed, Sizes::Fixed(bytes - PAYLOAD_BYTES_MIN)))
            }
            Payload::LogNormal { median, p99, max } => {
                let sigma = (f64::from(*p99) / f64::from(*median)).ln() / NORMAL_P99;
                let by = LogNormal::new(f64::from(*median).ln(), sigma)
                    .expect("the sizes were checked when the scenario was read");
                Ok(Self::random(seed, Sizes::LogNormal { by, max: *max }))
            }
            Payload::File(path) => {
                let failed = |what| PayloadError { path: path.clone(), what };
                let text = read(path).map_err(|error| failed(error.to_string()))?;
                let lines = lines(&text).map_err(failed)?;
                Ok(Self { pool: text.into(), sizes: Sizes::Lines(lines.into()) })
            }
        }
    }

    fn random(seed: u64, sizes: Sizes) -> Self {
        let mut pool = vec![0; POOL_BYTES];
        Purpose::Payloads.random(seed).fill_bytes(&mut pool);
        Self { pool: pool.into(), sizes }
    }

    /// The bytes of a body.
    #[must_use]
    pub fn bytes(&self, body: Body) -> &[u8] {
        &self.pool[body.start as usize..][..body.len as usize]
    }

    /// How long payloads are on average, bytes, the ledger's included.
    #[must_use]
    pub fn mean_bytes(&self) -> f64 {
        let samples = match &self.sizes {
            Sizes::Fixed(_) => 1,
            Sizes::LogNormal { .. } => 10_000,
            Sizes::Lines(lines) => lines.len(),
        };
        let mut bodies = self.bodies(0);
        let sum: usize = (0..samples).map(|_| bodies.draw().payload_bytes()).sum();
        sum as f64 / samples as f64
    }

    /// Bodies in the order in which they are sent.
    pub(super) fn bodies(&self, seed: u64) -> Bodies {
        let mut random = Purpose::Payloads.random(seed);
        let sizes = match &self.sizes {
            Sizes::Lines(lines) => {
                let mut lines = lines.to_vec();
                lines.shuffle(&mut random);
                Sizes::Lines(lines.into())
            }
            Sizes::Fixed(_) | Sizes::LogNormal { .. } => self.sizes.clone(),
        };
        Bodies { random, sizes, sent: 0 }
    }
}

/// Bodies in the order in which they are sent.
#[derive(Debug)]
pub(super) struct Bodies {
    random: Random,
    sizes: Sizes,
    sent: usize,
}

impl Bodies {
    pub(super) fn draw(&mut self) -> Body {
        let len = match &self.sizes {
            Sizes::Fixed(len) => *len,
            Sizes::LogNormal { by, max } => {
                let payload = by.sample(&mut self.random) as u32;
                payload.clamp(PAYLOAD_BYTES_MIN, *max) - PAYLOAD_BYTES_MIN
            }
            Sizes::Lines(lines) => {
                let body = lines[self.sent % lines.len()];
                self.sent += 1;
                return body;
            }
        };
        let start = self.random.random_range(0..(POOL_BYTES - BODY_BYTES_MAX) as u32);
        Body { start, len }
    }
}

fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        let what = format!("it has {bytes} bytes, at most {FILE_BYTES_MAX} are kept in memory");
        return Err(io::Error::other(what));
    }
    fs::read(path)
}

/// Where the messages of a file are: one a line, empty lines are none.
fn lines(text: &[u8]) -> Result<Vec<Body>, String> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let message = line.strip_suffix(b"\r").unwrap_or(line);
        if message.len() > BODY_BYTES_MAX {
            return Err(format!(
                "line {} has {} bytes, a message has at most {BODY_BYTES_MAX}: {} less the {} by \
                 which the ledger knows it again",
                number + 1,
                message.len(),
                PAYLOAD_BYTES_MAX,
                PAYLOAD_BYTES_MIN,
            ));
        }
        if !message.is_empty() {
            let len = super::count(message.len());
            lines.push(Body { start: super::count(start), len });
        }
        start += line.len() + 1;
    }
    if lines.is_empty() {
        return Err("it has no message: one a line, empty lines are none".to_owned());
    }
    Ok(lines)
}
