//! Putting new values into a file.

use std::ops::Range;

use granit_parser::{Event, ScalarStyle};
use thiserror::Error;

use super::bind::Found;
use super::document::{Document, Kind, Node, parser};
use super::quoting::{fits_in_block, write_scalar};

/// Why a file cannot take a new value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The file does not parse, or is another one than was scanned.
    #[error("the file is not the one that was scanned")]
    Changed,
    /// The result would not be the same document with only these values changed.
    #[error("the new value cannot be written here without changing something else")]
    WouldBreak,
}

/// Gives each of `values` its new text. Everything outside these scalars stays byte for byte.
///
/// # Errors
/// [`EditError::Changed`] if `text` is not what [`super::scan`] read; [`EditError::WouldBreak`] if
/// the result, parsed again, is not the same sequence of events with just the new values.
pub fn edit(text: &[u8], values: &[(&Found, &str)]) -> Result<Vec<u8>, EditError> {
    let text = std::str::from_utf8(text).map_err(|_| EditError::Changed)?;
    let document = Document::parse(text).map_err(|_| EditError::Changed)?;
    let mut splices: Vec<(Range<usize>, String)> = Vec::with_capacity(values.len());
    for (found, value) in values {
        let node = document.of_event(found.event).ok_or(EditError::Changed)?;
        let Kind::Scalar { style, value: old, .. } = &node.kind else {
            return Err(EditError::Changed);
        };
        if node.is_missing() && found.old.is_empty() {
            let gap = document.gap(node).ok_or(EditError::Changed)?;
            splices.push((gap..gap, format!(" {}", write_scalar(value, *style, node.flow))));
            continue;
        }
        if *old != found.old {
            return Err(EditError::Changed);
        }
        match style {
            ScalarStyle::Literal | ScalarStyle::Folded => {
                splices.extend(block_splices(&document, node, value)?)
            }
            _ => splices.push((node.range.clone(), write_scalar(value, *style, node.flow))),
        }
    }
    splices.sort_by_key(|(range, _)| range.start);
    let edited = apply(text, &splices)?;
    verify(text, &edited, values)?;
    Ok(edited.into_bytes())
}

fn apply(text: &str, splices: &[(Range<usize>, String)]) -> Result<String, EditError> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut copied = 0;
    for (range, value) in splices {
        out.push_str(text.get(copied..range.start).ok_or(EditError::Changed)?);
        out.push_str(value);
        copied = range.end;
    }
    out.push_str(text.get(copied..).ok_or(EditError::Changed)?);
    Ok(out)
}

/// A block scalar becomes one line: its header gets the chomping that leaves no line break behind
/// the value (`|-`), the rest of the header line stays, and the lines of the body become one.
fn block_splices(
    document: &Document<'_>,
    node: &Node<'_>,
    value: &str,
) -> Result<[(Range<usize>, String); 2], EditError> {
    if !fits_in_block(value) {
        return Err(EditError::WouldBreak);
    }
    let content = document.slice(node.range.clone());
    let skipped = content.len() - content.trim_start().len();
    let first_line = document.line_of(node.range.start + skipped);
    let first = document.line(first_line).ok_or(EditError::WouldBreak)?;
    let first_text = document.slice(first);
    let indent = first_text.len() - first_text.trim_start_matches(' ').len();
    let body_end = node.range.start + content.trim_end().len();
    // Between header and body there are only blank lines: a comment there would be content.
    let (header_line, header) = (0..first_line)
        .rev()
        .filter_map(|line| Some((line, document.line(line)?)))
        .find(|(_, range)| !document.slice(range.clone()).trim().is_empty())
        .ok_or(EditError::WouldBreak)?;
    let comment =
        document.comment_from(header.start).filter(|comment| header.contains(&comment.start));
    let header_end = comment.map_or(header.end, |comment| comment.start);
    let header_text = document.slice(header.start..header_end).trim_end();
    let style_end =
        header_text.trim_end_matches(|c: char| matches!(c, '+' | '-' | '1'..='9')).len();
    if !header_text.get(..style_end).is_some_and(|text| text.ends_with(['|', '>'])) {
        return Err(EditError::WouldBreak);
    }
    let body_start = document.line(header_line + 1).ok_or(EditError::WouldBreak)?.start;
    Ok([
        (header.start + style_end..header.start + header_text.len(), "-".to_owned()),
        (body_start..body_end, format!("{:indent$}{value}", "")),
    ])
}

/// The edited text must read as the old one with the new values in place.
fn verify(old: &str, new: &str, values: &[(&Found, &str)]) -> Result<(), EditError> {
    let mut values: Vec<(usize, &str)> =
        values.iter().map(|(found, value)| (found.event, *value)).collect();
    values.sort_unstable_by_key(|(event, _)| *event);
    let mut values = values.into_iter().peekable();
    // A comment may come before or behind a value that was missing and now is not: comments are
    // compared among themselves.
    let is_comment = |event: &Event<'_>| matches!(event, Event::Comment(..));
    let events = |text, comments: bool| {
        parser(text)
            .map(|event| event.map(|(event, _)| event))
            .filter(move |event| event.as_ref().map_or(true, |event| is_comment(event) == comments))
    };
    let same_comments = |old: Event<'_>, new: Event<'_>| match (old, new) {
        (Event::Comment(old, _), Event::Comment(new, _)) => old == new,
        _ => false,
    };
    pairs(events(old, true), events(new, true), same_comments)?;
    let mut index = 0;
    pairs(events(old, false), events(new, false), |old, new| {
        let wanted = values.next_if(|(event, _)| *event == index).map(|(_, value)| value);
        index += 1;
        match (wanted, &old, &new) {
            (
                Some(wanted),
                Event::Scalar(_, _, anchor, tag),
                Event::Scalar(value, _, new_anchor, new_tag),
            ) => value.as_ref() == wanted && anchor == new_anchor && tag == new_tag,
            _ => old == new,
        }
    })
}

/// Whether both have the same number of events and each pair is alike.
fn pairs<'t, E>(
    mut old: impl Iterator<Item = Result<Event<'t>, E>>,
    mut new: impl Iterator<Item = Result<Event<'t>, E>>,
    mut same: impl FnMut(Event<'t>, Event<'t>) -> bool,
) -> Result<(), EditError> {
    loop {
        match (old.next(), new.next()) {
            (None, None) => return Ok(()),
            (Some(Ok(old)), Some(Ok(new))) if same(old.clone(), new.clone()) => {}
            _ => return Err(EditError::WouldBreak),
        }
    }
}
