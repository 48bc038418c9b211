//! The text of a file of settings, and its tables read key by key with everything that is wrong.

use std::{cell::RefCell, collections::BTreeMap, fmt, ops::Range, rc::Rc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Problem, Problems, problem::Place};

/// Names at least this alike are taken for a slip of the keyboard.
const ALIKE_MIN: f64 = 0.7;
/// A line is shown no longer than this.
const LINE_CHARS_MAX: usize = 100;

/// Where each key stands, by its path.
pub(crate) type Places = BTreeMap<String, Range<usize>>;

/// A text and what was found wrong with it.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    name: &'a str,
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    places: Places,
    /// Each with where it is, for their order.
    problems: Vec<(usize, Problem)>,
}

impl<'a> Source<'a> {
    /// `name` is what people are told.
    pub(crate) fn new(text: &'a str, name: &'a str) -> Self {
        Self { text, name, found: RefCell::default() }
    }

    /// With the places of keys that were found by an earlier reading.
    pub(crate) fn again(text: &'a str, name: &'a str, places: &Places) -> Self {
        let found = Found { places: places.clone(), problems: Vec::new() };
        Self { text, name, found: RefCell::new(found) }
    }

    /// The outermost table.
    ///
    /// # Errors
    /// When the text is no TOML.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'a>>, Problems> {
        DeTable::parse(self.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let problem = self.problem(Some(span), String::new(), error.message().to_owned(), None);
            Problems(vec![problem])
        })
    }

    /// Notes what is wrong with a key, and goes on.
    pub(crate) fn refuse(&self, key: &str, what: impl Into<String>, help: impl Into<String>) {
        let span = self.span_of(key);
        self.refuse_at(span, key, what.into(), Some(help.into()).filter(|help| !help.is_empty()));
    }

    fn refuse_at(&self, span: Option<Range<usize>>, key: &str, what: String, help: Option<String>) {
        let start = span.as_ref().map_or(usize::MAX, |span| span.start);
        let problem = self.problem(span, key.to_owned(), what, help);
        self.found.borrow_mut().problems.push((start, problem));
    }

    /// Where a key stands; if it does not, where the table stands that it would be in.
    fn span_of(&self, key: &str) -> Option<Range<usize>> {
        let places = &self.found.borrow().places;
        let mut path = key;
        loop {
            if let Some(span) = places.get(path) {
                return Some(span.clone());
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    fn problem(
        &self,
        span: Option<Range<usize>>,
        key: String,
        what: String,
        help: Option<String>,
    ) -> Problem {
        let place = span.map(|span| self.place(&span));
        Problem { file: self.name.to_owned(), place, key, what, help }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = self.text[..start].rfind('\n').map_or(0, |end| end + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |end| start + end);
        let line = self.text[line_start..line_end].trim_end();
        let column = self.text[line_start..start].chars().count() + 1;
        let meant = self.text.get(start..span.end.min(line_end)).unwrap_or("").trim_end();
        let shown: String = line.chars().take(LINE_CHARS_MAX.max(column)).collect();
        let room = (shown.chars().count() + 1).saturating_sub(column);
        Place {
            line: self.text[..start].matches('\n').count() + 1,
            column,
            len: meant.chars().count().min(room).max(1),
            // A tab would move the marks below it.
            text: shown.replace(|c: char| c.is_control(), " "),
        }
    }

    /// Nothing is wrong.
    ///
    /// # Errors
    /// Everything that is, in the order of the file.
    pub(crate) fn finish(self) -> Result<Places, Problems> {
        let Found { places, mut problems } = self.found.into_inner();
        if problems.is_empty() {
            return Ok(places);
        }
        problems.sort_by_key(|(start, _)| *start);
        Err(Problems(problems.into_iter().map(|(_, problem)| problem).collect()))
    }
}

/// A value that is read: what it is, or what was expected instead.
pub(crate) type Read<T> = Result<T, String>;

/// A table whose keys are read one after the other; those that nobody asked for are refused when
/// it is [`finish`](Self::finish)ed.
pub(crate) struct Fields<'t, 'a> {
    source: &'t Source<'a>,
    table: &'t DeTable<'a>,
    path: Rc<str>,
    asked: Vec<&'static str>,
}

impl<'t, 'a> Fields<'t, 'a> {
    pub(crate) fn root(source: &'t Source<'a>, table: &'t DeTable<'a>) -> Self {
        Self { source, table, path: "".into(), asked: Vec::new() }
    }

    /// The path of a key of this table.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes what is wrong with a key of this table.
    pub(crate) fn refuse(&self, key: &str, what: impl Into<String>, help: impl Into<String>) {
        self.source.refuse(&self.path_of(key), what, help);
    }

    /// Notes what is wrong with this table as a whole.
    pub(crate) fn refuse_table(&self, what: impl Into<String>, help: impl Into<String>) {
        self.source.refuse(&self.path, what, help);
    }

    /// Notes that a key should not be there, if it is; it counts as asked for.
    pub(crate) fn refuse_present(&mut self, key: &'static str, what: &str, help: &str) {
        if self.find(key).is_some() {
            self.refuse(key, what, help);
        }
    }

    /// The file it is from.
    pub(crate) fn source(&self) -> &'t Source<'a> {
        self.source
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether a key is there and its value a table.
    pub(crate) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    fn find(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'a>>> {
        self.asked.push(key);
        let (name, value) = self.table.get_key_value(key)?;
        let mut span = name.span();
        // A value on the same line belongs to what is shown.
        if !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
            span.end = value.span().end.max(span.end);
        }
        self.source.found.borrow_mut().places.insert(self.path_of(key), span);
        Some(value)
    }

    /// A key that may be absent. A wrong value is noted, and as if absent.
    pub(crate) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'a>) -> Read<T>,
    ) -> Option<T> {
        let value = self.find(key)?.get_ref();
        match read(value) {
            Ok(value) => Some(value),
            Err(expected) => {
                let what = format!("it is {}, not {expected}", Shown(value));
                self.refuse(key, what, "");
                None
            }
        }
    }

    /// A key that must be there. Otherwise that is noted, and the fallback taken, with which
    /// nothing will be done.
    pub(crate) fn need<T>(
        &mut self,
        key: &'static str,
        example: &str,
        fallback: T,
        read: impl FnOnce(&DeValue<'a>) -> Read<T>,
    ) -> T {
        if !self.has(key) {
            self.asked.push(key);
            self.refuse_missing(key, example);
        }
        self.get(key, read).unwrap_or(fallback)
    }

    fn refuse_missing(&self, key: &str, example: &str) {
        let span = self.source.span_of(&self.path);
        let help = Some(format!("For example: {example}"));
        self.source.refuse_at(span, &self.path_of(key), "it is missing".to_owned(), help);
    }

    /// A table in this one. What is no table is noted, and as if absent.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Fields<'t, 'a>> {
        let value = self.find(key)?.get_ref();
        let path = self.path_of(key).into();
        self.as_table(value, path)
    }

    /// A table that must be there.
    pub(crate) fn need_table(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<Fields<'t, 'a>> {
        if !self.has(key) {
            self.refuse_missing(key, example);
        }
        self.table(key)
    }

    /// The tables of a list, each with a path by its `name`, or else its number from 1.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<Fields<'t, 'a>> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let DeValue::Array(list) = value.get_ref() else {
            let what = format!("it is {}, not a list of tables", Shown(value.get_ref()));
            self.refuse(key, what, format!("Each begins with [[{key}]]."));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(list.len());
        for (place, item) in list.iter().enumerate() {
            let name = item.get_ref().as_table().and_then(|table| table.get("name"));
            let name = name.and_then(|name| name.get_ref().as_str());
            let path = match name {
                Some(name) => format!("{}.{name}", self.path_of(key)),
                None => format!("{}.{}", self.path_of(key), place + 1),
            };
            self.source.found.borrow_mut().places.insert(path.clone(), item.span());
            tables.extend(self.as_table(item.get_ref(), path.into()));
        }
        tables
    }

    fn as_table(&self, value: &'t DeValue<'a>, path: Rc<str>) -> Option<Fields<'t, 'a>> {
        if let DeValue::Table(table) = value {
            return Some(Self { source: self.source, table, path, asked: Vec::new() });
        }
        self.source.refuse(&path, format!("it is {}, not a table", Shown(value)), "");
        None
    }

    /// Refuses keys that nobody asked for.
    pub(crate) fn finish(self) {
        for key in self.table.keys().filter(|key| !self.asked.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let mut known = self.asked.clone();
            known.sort_unstable();
            known.dedup();
            let help = match nearest(name, &known) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("Known here: {}.", known.join(", ")),
            };
            let what = "there is no such key".to_owned();
            self.source.refuse_at(Some(key.span()), &self.path_of(name), what, Some(help));
        }
    }
}

/// The known name most like another, if one is alike.
pub(crate) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let likeness = |known: &&str| strsim::jaro_winkler(&name.to_lowercase(), known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= ALIKE_MIN).then_some(*best)
}

/// A value as it stands in an error.
struct Shown<'v, 'a>(&'v DeValue<'a>);

impl fmt::Display for Shown<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DeValue::String(text) if text.chars().count() > 40 => f.write_str("a long text"),
            DeValue::String(text) => write!(f, "{text:?}"),
            DeValue::Integer(number) => number.fmt(f),
            DeValue::Float(number) => number.fmt(f),
            DeValue::Boolean(value) => value.fmt(f),
            DeValue::Datetime(_) => f.write_str("a date or time"),
            DeValue::Array(_) => f.write_str("a list"),
            DeValue::Table(_) => f.write_str("a table"),
        }
    }
}
