//! A text file, with what of it is code, what comment, and what test.

/// A file of the repository.
pub(crate) struct Source {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// The text with comments and the contents of strings blanked out, line for line.
    pub(crate) code: String,
    /// The text with everything but comments blanked out, line for line.
    pub(crate) comments: String,
    /// For each line, whether it is in a test.
    tests: Vec<bool>,
}

/// What the scanner is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text { raw_hashes: Option<usize> },
}

/// Whether files with this name are checked.
pub(crate) fn is_checked(name: &str) -> bool {
    [".rs", ".toml", ".md", ".proto"].iter().any(|ending| name.ends_with(ending))
}

impl Source {
    /// The file at `path` with this text.
    pub(crate) fn new(path: &str, text: String) -> Self {
        let path = path.replace('\\', "/");
        let is_rust = path.ends_with(".rs");
        let (code, comments) =
            if is_rust { separate(&text) } else { (String::new(), text.clone()) };
        let tests = test_lines(&path, &code);
        Self { path, text, code, comments, tests }
    }

    /// Whether it is Rust that people write.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.path.contains("/generated/")
    }

    /// Whether line `index`, from 0, is in a test.
    pub(crate) fn is_test(&self, index: usize) -> bool {
        self.tests.get(index).copied().unwrap_or(false)
    }

    /// Lines that are no test.
    pub(crate) fn line_count(&self) -> usize {
        (0..self.text.lines().count()).filter(|index| !self.is_test(*index)).count()
    }

    /// Whether the file is in this folder, or is this file.
    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Spaces before the first character of a line.
pub(crate) fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The code and the comments of `text`. What is blanked becomes one space a byte, so that both have
/// the lines of `text`.
fn separate(text: &str) -> (String, String) {
    let mut code = Vec::with_capacity(text.len());
    let mut comments = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let (mut at, mut state) = (0, State::Code);
    while at < bytes.len() {
        let (len, next) = step(&bytes[at..], state, at > 0 && is_word(bytes[at - 1]));
        let is_comment = |state| matches!(state, State::LineComment | State::BlockComment { .. });
        for byte in &bytes[at..at + len] {
            let blank = if *byte == b'\n' { b'\n' } else { b' ' };
            let in_comment = is_comment(state) || is_comment(next);
            let in_code = state == State::Code && next == State::Code && len == 1;
            code.push(if in_code { *byte } else { blank });
            comments.push(if in_comment { *byte } else { blank });
        }
        (at, state) = (at + len, next);
    }
    let text = |bytes| String::from_utf8(bytes).expect("characters are blanked whole or kept");
    (text(code), text(comments))
}

/// How many bytes the next piece takes and what comes after it.
fn step(rest: &[u8], state: State, after_word: bool) -> (usize, State) {
    match state {
        State::Code => step_code(rest, after_word),
        State::LineComment if rest[0] == b'\n' => (1, State::Code),
        State::LineComment => (1, state),
        State::BlockComment { depth } if rest.starts_with(b"/*") => {
            (2, State::BlockComment { depth: depth + 1 })
        }
        State::BlockComment { depth: 1 } if rest.starts_with(b"*/") => (2, State::Code),
        State::BlockComment { depth } if rest.starts_with(b"*/") => {
            (2, State::BlockComment { depth: depth - 1 })
        }
        State::BlockComment { .. } => (1, state),
        State::Text { raw_hashes: None } if rest[0] == b'\\' => (rest.len().min(2), state),
        State::Text { raw_hashes: None } if rest[0] == b'"' => (1, State::Code),
        State::Text { raw_hashes: Some(hashes) } if ends_raw(rest, hashes) => {
            (1 + hashes, State::Code)
        }
        State::Text { .. } => (1, state),
    }
}

fn step_code(rest: &[u8], after_word: bool) -> (usize, State) {
    if rest.starts_with(b"//") {
        return (2, State::LineComment);
    }
    if rest.starts_with(b"/*") {
        return (2, State::BlockComment { depth: 1 });
    }
    if rest[0] == b'"' {
        return (1, State::Text { raw_hashes: None });
    }
    if let Some((len, hashes)) = begins_raw(rest).filter(|_| !after_word) {
        return (len, State::Text { raw_hashes: Some(hashes) });
    }
    // A quote begins a character when one closes it, else a lifetime.
    if rest[0] == b'\'' {
        let body = if rest.get(1) == Some(&b'\\') { 3 } else { 2 };
        let close = rest.iter().skip(body).take(10).position(|byte| *byte == b'\'');
        let first = std::str::from_utf8(&rest[1..]).ok().and_then(|text| text.chars().next());
        let char_len = first.map_or(1, char::len_utf8);
        let is_char = body == 3 || rest.get(1 + char_len) == Some(&b'\'');
        if let Some(close) = close.filter(|_| is_char) {
            return (body + close + 1, State::Code);
        }
    }
    (1, State::Code)
}

/// The length of the beginning of a raw string, and its number of hashes.
fn begins_raw(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix = [&b"br"[..], b"cr", b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].iter().take_while(|byte| **byte == b'#').count();
    let quote = prefix.len() + hashes;
    (rest.get(quote) == Some(&b'"')).then_some((quote + 1, hashes))
}

fn ends_raw(rest: &[u8], hashes: usize) -> bool {
    rest[0] == b'"' && rest.len() > hashes && rest[1..=hashes].iter().all(|byte| *byte == b'#')
}

/// Whether a byte can be in the middle of a name.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_test_path(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// For each line, whether it is in a module behind `#[cfg(test)]`. Formatted code closes a module
/// at the indentation at which it opened it.
fn test_lines(path: &str, code: &str) -> Vec<bool> {
    let mut lines = Vec::new();
    let mut end: Option<usize> = None;
    let mut is_marked = false;
    for line in code.lines() {
        let trimmed = line.trim();
        let opens = is_marked && trimmed.contains("mod ") && trimmed.ends_with('{');
        if opens {
            end = Some(indentation(line));
        }
        lines.push(end.is_some() || is_test_path(path));
        if end == Some(indentation(line)) && trimmed == "}" {
            end = None;
        }
        is_marked = trimmed == "#[cfg(test)]" || (is_marked && trimmed.starts_with('#'));
    }
    lines
}
