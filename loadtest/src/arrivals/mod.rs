//! When things are meant to happen: seeded arrival processes without a clock.
