//! What a run leaves for people and programs: `summary.json`, and `report.html` made from it.

pub mod check;
pub mod html;
mod markup;
pub mod number;
mod scale;
mod series;
pub mod slo;
pub mod summary;
mod svg;

use std::{fs, path::Path};

use anyhow::Context;

use self::summary::Summary;
use crate::compare::Comparison;

/// Writes the report of a run into a file, usually [`html::FILE`] in the run's folder.
///
/// # Errors
/// When the file cannot be written.
pub fn write_html(summary: &Summary, path: &Path) -> anyhow::Result<()> {
    fs::write(path, html::render(summary))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the page of two runs into a file.
///
/// # Errors
/// When the file cannot be written.
pub fn write_comparison(
    comparison: &Comparison,
    (a, b): (&Summary, &Summary),
    path: &Path,
) -> anyhow::Result<()> {
    fs::write(path, html::render_comparison(comparison, a, b))
        .with_context(|| format!("cannot write {}", path.display()))
}
