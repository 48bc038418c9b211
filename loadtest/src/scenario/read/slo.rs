//! Reads bounds: `slo` of a phase, and files of bounds.

use std::time::Duration;

use toml::de::DeValue;

use super::{DAY, values};
use crate::scenario::{
    Bound, Figure, Problems, Slo, Unit,
    source::{Fields, Read, Source},
};

impl Slo {
    /// Reads a file of bounds, with the keys that a phase's `slo` has.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Problems> {
        let source = Source::new(text, origin);
        let root = source.parse()?;
        let slo = read(Fields::root(&source, root.get_ref()));
        source.finish()?;
        Ok(slo)
    }
}

pub(super) fn read(mut fields: Fields<'_, '_>) -> Slo {
    let bounds = Figure::all().filter_map(|figure| {
        let limit = fields.get(figure.key(), |value| limit(figure.unit(), value))?;
        Some(Bound { figure, limit })
    });
    let bounds = bounds.collect();
    fields.finish();
    Slo { bounds }
}

/// A limit, in the figure's unit.
fn limit(unit: Unit, value: &DeValue<'_>) -> Read<f64> {
    match unit {
        Unit::Microseconds => {
            let duration = values::duration(Duration::from_micros(1)..=DAY)(value)?;
            Ok(duration.as_secs_f64() * 1e6)
        }
        Unit::Share => values::share(value),
        Unit::Count | Unit::PerSecond => values::number(0.0..=1e12)(value),
        Unit::Bytes | Unit::BytesPerHour => Ok(values::bytes(0..=1 << 50)(value)? as f64),
    }
}
