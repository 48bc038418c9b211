//! A comparison as a person reads it in a terminal.

use std::fmt::{self, Display, Formatter};

use super::{Comparison, Conclusion, Evidence, Finding, Row, RunName};
use crate::report::number;

/// The titles of the columns; all but the first two stand to the right.
const TITLES: [&str; 8] = ["phase", "figure", "A", "B", "change", "limit", "chance", "finding"];

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "A  {}", self.a)?;
        writeln!(f, "B  {}", self.b)?;
        writeln!(f)?;
        self.write_table(f)?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for refusal in &self.refusals {
            writeln!(f, "not comparable: {refusal}")?;
        }
        if !(self.notes.is_empty() && self.refusals.is_empty()) {
            writeln!(f)?;
        }
        f.write_str(self.conclusion.sentence())?;
        if self.conclusion == Conclusion::NotComparable {
            f.write_str(" `--anyway` compares nevertheless.")?;
        }
        Ok(())
    }
}

impl Display for RunName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, number::date(self.began_ms))?;
        match &self.server_version {
            Some(version) => write!(f, ", cluster {version}"),
            None => Ok(()),
        }
    }
}

impl Conclusion {
    /// It, for people.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::NotWorse => "B is not worse than A, as far as its limits go.",
            Self::Worse => "B is worse than A.",
            Self::NotComparable => "Nothing is concluded: the runs cannot be compared.",
        }
    }
}

impl Comparison {
    fn write_table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "There is no measured phase that both runs have.\n");
        }
        let mut lines = vec![TITLES.map(str::to_owned)];
        let mut phase = "";
        for row in &self.rows {
            // A phase is named once, where it begins.
            let name = if row.phase == phase { "" } else { &row.phase };
            phase = &row.phase;
            lines.push(row.cells(name));
        }
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..TITLES.len()).map(width).collect();
        for line in &lines {
            let mut text = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                match column {
                    0 => text += &format!("{cell:<width$}"),
                    1 | 7 => text += &format!("  {cell:<width$}"),
                    _ => text += &format!("  {cell:>width$}"),
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "chance: how often two equal runs would differ as much, by a rank test over stretches \
             of seconds that\nare long enough to be independent, corrected for the number of \
             figures; in brackets, how often B is\nthe greater of a pair of stretches.\n"
        )
    }
}

impl Row {
    /// The cells of a table; the phase is shown as `phase`.
    pub(crate) fn cells(&self, phase: &str) -> [String; 8] {
        let evidence = match self.evidence {
            Evidence::FigureAlone => "not tested".to_owned(),
            Evidence::TooFew { .. } => "too short".to_owned(),
            Evidence::RankTest { p, superiority, .. } => {
                let p = if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") };
                format!("{p} ({:.0} % B)", superiority * 100.0)
            }
        };
        [
            phase.to_owned(),
            self.title.to_owned(),
            number::of(self.unit, self.a),
            number::of(self.unit, self.b),
            self.change.map_or("–".to_owned(), number::change),
            self.limit.map_or(String::new(), |limit| format!("{:.1} %", limit * 100.0)),
            evidence,
            self.finding.words().to_owned(),
        ]
    }
}

impl Finding {
    fn words(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Unclear => "beyond the limit, perhaps by chance",
            Self::TooShort => "beyond the limit, too short to tell",
            Self::Better => "better",
            Self::Within => "within",
            Self::Shown => "",
        }
    }
}
