//! Wraps comment lines that are too long, which the formatter leaves alone.
//!
//! Words that do not fit move to the front of the next line of the same paragraph, or to a new
//! line. Lists, headings, tables and code blocks begin a paragraph; a line of one word stays as it
//! is.

use std::fs;

use crate::tidy::{self, COLUMNS_MAX};

/// Wraps the comments of every file of the workspace that people write.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn wrap_all() -> anyhow::Result<()> {
    let root = crate::ci::root();
    for (path, text) in tidy::rust_files(root)? {
        let wrapped = wrap(&text);
        if wrapped != text {
            println!("wrapped {path}");
            fs::write(root.join(path), wrapped)?;
        }
    }
    Ok(())
}

fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut index = 0;
    while index < lines.len() {
        if let Some((fits, rest)) = split(&lines[index]) {
            let prefix = prefix(&fits).expect("only comments are split").to_owned();
            lines[index] = fits;
            match lines.get_mut(index + 1).filter(|next| continues(next, &prefix)) {
                Some(next) => next.insert_str(prefix.len(), &format!("{rest} ")),
                None => lines.insert(index + 1, format!("{prefix}{rest}")),
            }
        }
        index += 1;
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What fits of a comment line that is too long, and the words that do not.
fn split(line: &str) -> Option<(String, String)> {
    if line.chars().count() <= COLUMNS_MAX {
        return None;
    }
    let start = prefix(line)?.len();
    let limit = line.char_indices().nth(COLUMNS_MAX + 1).map_or(line.len(), |(at, _)| at);
    let at = line[start..limit].rfind(' ').filter(|at| *at > 0)? + start;
    Some((line[..at].to_owned(), line[at + 1..].to_owned()))
}

/// The indentation and the slashes of a comment line, with the space after them.
fn prefix(line: &str) -> Option<&str> {
    let comment = line.trim_start();
    let slashes = ["/// ", "//! ", "// "].into_iter().find(|start| comment.starts_with(start))?;
    Some(&line[..line.len() - comment.len() + slashes.len()])
}

/// Whether a line goes on with the paragraph of the line before it.
fn continues(line: &str, before: &str) -> bool {
    let text = line.strip_prefix(before).filter(|text| !text.trim().is_empty());
    text.is_some_and(|text| !text.starts_with(['-', '*', '#', '|', '`', '>', '=', ' ', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_do_not_fit_move_to_the_next_line_of_the_paragraph() {
        let word = "x".repeat(48);
        let text = format!("    /// {word} {word} last\n    /// and on\n    fn a() {{}}\n");
        let wrapped = format!("    /// {word}\n    /// {word} last and on\n    fn a() {{}}\n");
        assert_eq!(wrap(&text), wrapped);
        assert_eq!(wrap(&wrapped), wrapped);
    }

    #[test]
    fn lists_begin_a_paragraph_and_what_fits_stays() {
        let word = "x".repeat(96);
        let text = format!("//! {word} last\n//! - item\n");
        assert_eq!(wrap(&text), format!("//! {word}\n//! last\n//! - item\n"));
        let fits = format!("// {}\n", "é ".repeat(48) + "e");
        assert_eq!(wrap(&fits), fits);
        let endless = format!("// {}\n", "x".repeat(200));
        assert_eq!(wrap(&endless), endless);
    }
}
