//! Text → typed configuration where the text may have many mistakes: what is wrong is cut out and noted, and the
//! rest is read on, so that one look tells them all.

use std::ops::Range;

use serde::Deserialize as _;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::Problem;
use super::types::Config;

/// Mistakes told at a time. Each costs another reading of the file.
const MOST: usize = 20;

/// What could be read, and the mistakes.
pub(super) struct Reading {
    /// Without what is wrong; nothing where even that cannot be read.
    pub(super) config: Option<Config>,
    /// Mistakes in the order of their lines.
    pub(super) problems: Vec<Problem>,
}

/// Where in a file something stands.
struct Place {
    /// `profiles.default.rungs[2].height`
    path: String,
    /// Where its key, or as an array's item itself, stands: no two things have that in common.
    cut: Range<usize>,
    /// How well it fits, the least is the best.
    fit: (u8, usize),
}

/// Reads a text.
pub(super) fn read(text: &str) -> Reading {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let told = |error: toml::de::Error| Problem {
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            key: String::new(),
            text: format!("is not TOML: {}", one_line(error.message())),
        };
        return Reading { config: None, problems: errors.into_iter().take(MOST).map(told).collect() };
    }
    let whole = table.clone();
    let mut problems = Vec::new();
    let config = loop {
        match Config::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(config) => break Some(config),
            Err(error) => {
                let span = error.span();
                let line = span.as_ref().map_or(0, |span| line_of(text, span.start));
                let place = span.and_then(|span| locate(whole.get_ref(), &span));
                let key = place.as_ref().map(|place| place.path.clone()).unwrap_or_default();
                let told = explain(&one_line(error.message()), &key);
                problems.push(Problem { line, key, text: told });
                let cut = place.is_some_and(|place| cut_out(table.get_mut(), &place.cut));
                if !cut || problems.len() >= MOST {
                    break None;
                }
            }
        }
    };
    problems.sort_by_key(|problem| problem.line);
    Reading { config, problems }
}

/// The line of an offset, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', " ")
}

/// What stands at `span`, or the innermost thing around it.
fn locate(table: &DeTable<'_>, span: &Range<usize>) -> Option<Place> {
    let mut best = None;
    in_table(table, "", span, &mut best);
    best
}

fn in_table(table: &DeTable<'_>, above: &str, span: &Range<usize>, best: &mut Option<Place>) {
    for (key, value) in table {
        let name = key.get_ref();
        let bare =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let name = if bare { name.to_string() } else { format!("{name:?}") };
        let path = if above.is_empty() { name } else { format!("{above}.{name}") };
        if key.span() == *span {
            offer(best, (0, 0), &path, key.span());
        }
        offer_value(best, &value.span(), span, &path, key.span());
        in_value(value.get_ref(), &path, span, best);
    }
}

fn in_value(value: &DeValue<'_>, path: &str, span: &Range<usize>, best: &mut Option<Place>) {
    match value {
        DeValue::Table(inner) => in_table(inner, path, span, best),
        DeValue::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let path = format!("{path}[{at}]");
                offer_value(best, &item.span(), span, &path, item.span());
                in_value(item.get_ref(), &path, span, best);
            }
        }
        _ => {}
    }
}

fn offer_value(
    best: &mut Option<Place>,
    at: &Range<usize>,
    span: &Range<usize>,
    path: &str,
    cut: Range<usize>,
) {
    if at == span {
        offer(best, (1, 0), path, cut);
    } else if at.start <= span.start && span.end <= at.end {
        offer(best, (2, at.len()), path, cut);
    }
}

fn offer(best: &mut Option<Place>, fit: (u8, usize), path: &str, cut: Range<usize>) {
    if best.as_ref().is_none_or(|best| fit <= best.fit) {
        *best = Some(Place { path: path.to_owned(), cut, fit });
    }
}

/// Takes one thing out; whether it was there.
fn cut_out(table: &mut DeTable<'_>, cut: &Range<usize>) -> bool {
    let name = table.keys().find(|key| key.span() == *cut).map(|key| key.get_ref().to_string());
    if let Some(name) = name {
        return table.remove(name.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| cut_out_of_value(value.get_mut(), cut))
}

fn cut_out_of_value(value: &mut DeValue<'_>, cut: &Range<usize>) -> bool {
    match value {
        DeValue::Table(inner) => cut_out(inner, cut),
        DeValue::Array(items) => {
            if items.iter().any(|item| item.span() == *cut) {
                *items = std::mem::replace(items, DeArray::new())
                    .into_iter()
                    .filter(|item| item.span() != *cut)
                    .collect();
                return true;
            }
            items.iter_mut().any(|item| cut_out_of_value(item.get_mut(), cut))
        }
        _ => false,
    }
}

/// Turns serde's message into a remedy. An unknown key names the nearest known one; a secret is not repeated.
fn explain(message: &str, key: &str) -> String {
    if message.starts_with("unknown field") {
        let mut quoted = message.split('`').skip(1).step_by(2);
        let unknown = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        let all = known.join(", ");
        return match nearest(unknown, &known) {
            Some(nearest) => format!("unknown key; did you mean `{nearest}`? (known here: {all})"),
            None => format!("unknown key (known here: {all})"),
        };
    }
    if key.starts_with("admission.keys") || key.starts_with("admission.secret") {
        // serde repeats the value, which is a key where it was written in the wrong place.
        if !message.starts_with("missing field") {
            return "is of the wrong type: a secret is text in quotes, keys are a list such as \
                    [{ key = \"…\", stream = \"…\" }]"
                .into();
        }
    }
    let plain = [
        (", expected a sequence", "; it must be a list: [ … ]"),
        (", expected a string", "; it must be text in quotes"),
        (", expected path string", "; it must be a path in quotes"),
        (", expected a boolean", "; it must be true or false"),
        (", expected f64", "; it must be a number"),
        (", expected u32", "; it must be a whole number from 0"),
        (", expected u64", "; it must be a whole number from 0"),
        (", expected usize", "; it must be a whole number from 0"),
        (", expected struct ", "; it must be a table of keys, not of type "),
    ];
    for (theirs, ours) in plain {
        if let Some((told, rest)) = message.split_once(theirs) {
            let rest = if ours.ends_with("type ") { "" } else { rest };
            return format!("{told}{}{rest}", ours.trim_end_matches(", not of type "));
        }
    }
    message.to_owned()
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(name, unknown);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.7).then_some(best)
}
