//! Writing markup: whatever comes from outside is escaped.

use std::fmt::{self, Display, Write};

/// Appends formatted text to a `String`.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        write!($out, $($arg)*).expect("a String takes everything")
    }};
}
pub(super) use put;

/// A text as it stands between tags and within quoted attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(character)?,
                // What XML cannot hold is shown, so that nothing vanishes.
                other if other.is_control() => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Data as it stands within a `script` element: no `<` can end it.
#[must_use]
pub(super) fn script_data(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let text = Escaped("<b title=\"x\" class='y'>&\u{1b}[0m").to_string();
        assert_eq!(text, "&lt;b title=&quot;x&quot; class=&#39;y&#39;&gt;&amp;\u{fffd}[0m");
        let data = script_data(&serde_json::json!({"a": "</script>"}));
        assert_eq!(data, r#"{"a":"\u003c/script>"}"#);
    }
}
