//! What is wrong with a scenario, where, and what to do.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// Where, from 1; none when it is about the file as a whole.
    pub place: Option<Place>,
    /// The key, with the tables it is in: `phase.storm.churn.per_s`. Empty when it is about none.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do: what is allowed, or the sum behind a refusal.
    pub help: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub len: usize,
    /// The line itself.
    pub text: String,
}

/// Everything that is wrong, in the order of the file; at least one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let gap = " ".repeat(number.len());
            let indent = " ".repeat(place.column - 1);
            let marks = "^".repeat(place.len);
            write!(f, "\n{gap} |\n{number} | {}\n{gap} | {indent}{marks}", place.text)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  {}", help.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}
