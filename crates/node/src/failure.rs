//! What a command ends with when it cannot do what it was asked.

use std::fmt;

use crate::{catalogue::Code, exit::Exit};

/// An error for a person: its code, what is wrong, where, and what to do.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    what: String,
    place: Option<String>,
    remedy: Option<String>,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The failure with this code; `what` says what is wrong in this case.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), place: None, remedy: None }
    }

    /// Says where: a file and line, an address, a setting.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What is wrong, and where.
    #[must_use]
    pub fn found(&self) -> String {
        match &self.place {
            Some(place) => format!("{} ({place})", self.what),
            None => self.what.clone(),
        }
    }

    /// What to do; empty when nobody knows.
    #[must_use]
    pub fn advice(&self) -> &str {
        self.remedy.as_deref().unwrap_or_default()
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// How the program ends with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.code.exit()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.what)?;
        if let Some(place) = &self.place {
            write!(f, "\n  where: {place}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  do:    {remedy}")?;
        }
        write!(f, "\n  more:  posthorn explain {}", self.code)
    }
}

impl std::error::Error for Failure {}

/// What no command foresaw keeps its whole story.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::new(Code::Internal, format!("{error:#}")),
        }
    }
}
