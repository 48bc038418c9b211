//! Independent random streams: one for each purpose, so that a change of one moves no other.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// Random numbers that the seed and the purpose decide.
pub type Random = ChaCha8Rng;

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// How many devices each user has.
    Devices,
    /// Who is popular.
    Popularity,
    /// Who knows whom.
    Contacts,
    /// Who is in which group.
    Groups,
    /// Which devices are connected at first.
    Online,
    /// How active each user is.
    Activity,
    /// Who sends.
    Senders,
    /// To which conversation.
    Conversations,
    /// What is sent.
    Payloads,
    /// When, in a phase.
    Arrivals {
        /// Its place, from 0.
        phase: u32,
        /// Which part of it: each try of a search is one; otherwise 0.
        part: u32,
    },
    /// Which devices leave and when, in a phase.
    Churn {
        /// Its place, from 0.
        phase: u32,
    },
    /// Which devices read slowly in a phase.
    SlowReaders {
        /// Its place, from 0.
        phase: u32,
    },
    /// Which devices an action is done to.
    Action {
        /// The phase's place, from 0.
        phase: u32,
        /// The action's place, from 0.
        action: u32,
    },
}

impl Purpose {
    /// The random numbers for this purpose.
    #[must_use]
    pub fn random(self, seed: u64) -> Random {
        let mut random = Random::seed_from_u64(seed);
        random.set_stream(self.stream());
        random
    }

    /// 8 bits for the purpose, 24 for the phase, 32 for what is within it.
    fn stream(self) -> u64 {
        let (purpose, phase, within): (u64, u32, u32) = match self {
            Self::Devices => (1, 0, 0),
            Self::Popularity => (2, 0, 0),
            Self::Contacts => (3, 0, 0),
            Self::Groups => (4, 0, 0),
            Self::Online => (5, 0, 0),
            Self::Activity => (6, 0, 0),
            Self::Senders => (7, 0, 0),
            Self::Conversations => (8, 0, 0),
            Self::Payloads => (9, 0, 0),
            Self::Arrivals { phase, part } => (10, phase, part),
            Self::Churn { phase } => (11, phase, 0),
            Self::SlowReaders { phase } => (12, phase, 0),
            Self::Action { phase, action } => (13, phase, action),
        };
        assert!(phase < 1 << 24, "a scenario has fewer phases");
        purpose << 56 | u64::from(phase) << 32 | u64::from(within)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::Rng;

    use super::*;

    #[test]
    fn a_purpose_has_its_own_numbers_and_always_the_same() {
        let first = |purpose: Purpose| purpose.random(7).next_u64();
        assert_eq!(first(Purpose::Devices), first(Purpose::Devices));
        assert_ne!(first(Purpose::Devices), first(Purpose::Contacts));
        let part = |part| first(Purpose::Arrivals { phase: 0, part });
        assert_ne!(part(0), part(1));
        assert_ne!(part(0), first(Purpose::Arrivals { phase: 1, part: 0 }));
    }
}
