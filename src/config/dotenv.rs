//! `.env` files, read as python-dotenv reads them, so that an operator of the Python service can keep the file.
//!
//! A value is quoted singly, doubly or not at all. Only `${NAME}` and `${NAME:-default}` are replaced, a `$` alone stands for
//! itself. A line out of syntax is skipped and its number reported.

use std::collections::BTreeMap;

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct DotEnv {
    /// Values by name. A name without `=` has none.
    pub(super) values: BTreeMap<String, Option<String>>,
    /// Numbers of the lines at which broken statements begin.
    pub(super) broken: Vec<usize>,
}

/// Reads `text`. In `${NAME}`, a value from `outside` goes over one that the file has set before.
pub(super) fn read(text: &str, outside: impl Fn(&str) -> Option<String>) -> DotEnv {
    // As Python opens text files.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // Some editors put a byte order mark before the first name.
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(&text), at: 0 };
    let mut read = DotEnv::default();
    loop {
        reader.skip(is_space);
        if reader.rest().is_empty() {
            return read;
        }
        let line = reader.text.get(..reader.at).unwrap_or_default().matches('\n').count() + 1;
        match reader.binding() {
            Some(Binding { name: Some(name), value }) => {
                let value = value.map(|value| interpolate(&value, |name| known(&read, &outside, name)));
                read.values.insert(name, value);
            }
            Some(Binding { name: None, .. }) => {}
            None => {
                reader.skip(|c| c != '\n');
                read.broken.push(line);
            }
        }
    }
}

/// The value of `name`; `None` if neither knows it. A name without a value in the file is empty.
fn known(read: &DotEnv, outside: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    outside(name).or_else(|| read.values.get(name).map(|value| value.clone().unwrap_or_default()))
}

struct Binding {
    /// `None`: a comment.
    name: Option<String>,
    value: Option<String>,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Moves past all characters that `is_skipped` accepts, and returns them.
    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_skipped(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let has = self.rest().starts_with(prefix);
        if has {
            self.at += prefix.len();
        }
        has
    }

    /// One statement to the end of its line; `None` where it is out of syntax.
    fn binding(&mut self) -> Option<Binding> {
        self.export();
        if self.rest().starts_with('#') {
            self.skip(|c| c != '\n');
            return Some(Binding { name: None, value: None });
        }
        let name = Some(self.name()?);
        self.skip(is_blank);
        let value = if self.take("=") {
            let is_apart = !self.skip(is_blank).is_empty();
            // Without white space before it, `#` begins a value like any other character.
            Some(if is_apart && self.rest().starts_with('#') { String::new() } else { self.value()? })
        } else {
            None
        };
        let before = self.at;
        self.skip(is_blank);
        if self.rest().starts_with('#') {
            self.skip(|c| c != '\n');
        } else {
            self.at = before;
        }
        self.skip(is_blank);
        (self.take("\n") || self.rest().is_empty()).then_some(Binding { name, value })
    }

    /// Skips the word `export` before a name. Without white space behind it, it is a name itself.
    fn export(&mut self) {
        let before = self.at;
        if !self.take("export") || self.skip(is_blank).is_empty() {
            self.at = before;
        }
    }

    fn name(&mut self) -> Option<String> {
        let before = self.at;
        let name = if self.take("'") {
            let name = self.skip(|c| c != '\'');
            if !self.take("'") {
                // This line alone is out of syntax.
                self.at = before;
                return None;
            }
            name
        } else {
            self.skip(|c| c != '=' && c != '#' && !is_space(c))
        };
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn value(&mut self) -> Option<String> {
        match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            None | Some('\n') => Some(String::new()),
            Some(_) => {
                let line = self.skip(|c| c != '\n');
                Some(without_comment(line).trim_end_matches(is_space).to_owned())
            }
        }
    }

    /// From one quotation mark to the next that no backslash stands before, over lines.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let inner = self.rest().get(1..)?;
        let mut chars = inner.char_indices();
        let end = loop {
            match chars.next()? {
                (_, '\\') => drop(chars.next()),
                (at, c) if c == quote => break at,
                _ => {}
            }
        };
        self.at += 1 + end + 1;
        Some(unescape(inner.get(..end)?, quote))
    }
}

/// Up to white space before a `#`.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| line.get(..*at).is_some_and(|before| before.ends_with(is_space));
    line.match_indices('#').find(begins).map_or(line, |(at, _)| line.get(..at).unwrap_or(line))
}

fn unescape(text: &str, quote: char) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let stands_for = |next: char| match (next, quote) {
            ('\\' | '\'', _) | ('"', '"') => Some(next),
            ('a', '"') => Some('\x07'),
            ('b', '"') => Some('\x08'),
            ('f', '"') => Some('\x0c'),
            ('n', '"') => Some('\n'),
            ('r', '"') => Some('\r'),
            ('t', '"') => Some('\t'),
            ('v', '"') => Some('\x0b'),
            _ => None,
        };
        match chars.peek().copied().and_then(stands_for) {
            Some(escaped) if c == '\\' => {
                chars.next();
                plain.push(escaped);
            }
            _ => plain.push(c),
        }
    }
    plain
}

/// Puts values in the place of `${NAME}` and `${NAME:-default}`. An unknown name without a default is an empty one.
fn interpolate(text: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        whole.push_str(before);
        let inner = after.get(2..).unwrap_or_default();
        let name = inner.split([':', '}']).next().unwrap_or_default();
        let behind = inner.get(name.len()..).unwrap_or_default();
        let replaced = if let Some(next) = behind.strip_prefix('}') {
            Some(("", next))
        } else {
            behind.strip_prefix(":-").and_then(|default| default.split_once('}'))
        };
        if let Some((default, next)) = replaced {
            whole.push_str(&value_of(name).unwrap_or_else(|| default.to_owned()));
            rest = next;
        } else {
            whole.push_str("${");
            rest = inner;
        }
    }
    whole + rest
}

/// White space as Python's regular expressions have it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The same, on one line.
fn is_blank(c: char) -> bool {
    is_space(c) && c != '\n'
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        values: BTreeMap<String, Option<String>>,
    }

    /// What python-dotenv made of each, by `tests/fixtures/dotenv_cases.py`.
    #[test]
    fn everything_is_read_as_python_dotenv_reads_it() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/fixtures/dotenv_cases.json")).unwrap();
        assert!(cases.len() >= 300);
        let outside = |name: &str| match name {
            "OUTSIDE" => Some("from outside".to_owned()),
            "BOTH" => Some("outside wins".to_owned()),
            _ => None,
        };
        let wrong: Vec<_> = cases
            .into_iter()
            .filter_map(|Case { text, values }| {
                let read = read(&text, outside).values;
                (read != values).then(|| format!("{text:?}\n  read as {read:?}\n  Python  {values:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn broken_lines_are_told_by_their_number() {
        let read = read("A=1\n=2\nB='x' y\n\n\nC=\"unclosed\nD=4\n", |_| None);
        assert_eq!(read.broken, [2, 3, 6]);
        assert_eq!(read.values.len(), 2);
        let read = super::read("'A=1\nB=2\n", |_| None);
        assert_eq!((read.broken, read.values.len()), (vec![1], 1), "an open quotation mark costs its own line");
    }
}
