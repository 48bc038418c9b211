//! What a run leaves for people and programs: `summary.json`, and `report.html` made from it.

pub mod html;
mod markup;
pub mod number;
mod scale;
mod series;
pub mod slo;
pub mod summary;
mod svg;

use std::{fs, path::{Path, PathBuf}};

use anyhow::Context;

use summary::Summary;

/// Writes `report.html` into the folder of a run.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_html(summary: &Summary, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join(html::FILE);
    fs::write(&path, html::render(summary))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
