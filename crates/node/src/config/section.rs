//! A section of the configuration: a struct whose field docs are the reference text.

use crate::config::value::NotValid;

/// One setting, as the reference and `config default` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its section.
    pub section: &'static str,
    /// Its key in the section.
    pub key: &'static str,
    /// What it means: the doc of its field, one entry a line.
    pub doc: &'static [&'static str],
    /// Its value, as TOML.
    pub value: String,
    /// What may be written, for a reader who got it wrong.
    pub expected: &'static str,
    /// It must not be printed, and `KEY_file` names a file that holds it.
    pub is_secret: bool,
}

impl Setting {
    /// `section.key`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("POSTHORN__{}__{}", self.section, self.key).to_ascii_uppercase()
    }
}

/// A section of the configuration.
pub trait Section: Default {
    /// Its name.
    const NAME: &'static str;
    /// What it is about, one entry a line.
    const DOC: &'static [&'static str];

    /// Its settings with their present values.
    fn settings(&self) -> Vec<Setting>;

    /// Sets one.
    ///
    /// # Errors
    /// [`NotValid`]: the text is not a value for this key.
    ///
    /// # Panics
    /// When there is no such key: the caller has looked it up.
    fn set(&mut self, key: &str, text: &str) -> Result<(), NotValid>;
}

/// Makes a struct with defaults into a [`Section`].
macro_rules! section {
    ($(#[doc = $doc:literal])+ $name:ident = $section:literal {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $default:expr;)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type),+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl $crate::config::section::Section for $name {
            const NAME: &'static str = $section;
            const DOC: &'static [&'static str] = &[$($doc),+];

            fn settings(&self) -> Vec<$crate::config::section::Setting> {
                vec![$($crate::config::section::Setting {
                    section: $section,
                    key: stringify!($field),
                    doc: &[$($field_doc),+],
                    value: $crate::config::value::Value::to_toml(&self.$field),
                    expected: <$type as $crate::config::value::Value>::EXPECTED,
                    is_secret: stringify!($type) == "Secret",
                }),+]
            }

            fn set(
                &mut self,
                key: &str,
                text: &str,
            ) -> Result<(), $crate::config::value::NotValid> {
                match key {
                    $(stringify!($field) => {
                        self.$field = $crate::config::value::Value::parse(text)?;
                    })+
                    other => unreachable!("the key {other} was looked up"),
                }
                Ok(())
            }
        }
    };
}
pub(crate) use section;
