//! Results as text: tables with a header, and lists of fields.

use std::fmt::Display;

use jiff::Timestamp;
use serde::Serialize;

/// Columns as wide as their widest cell, two spaces between them; empty cells are `-`.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|name| name.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| {
            let cell = if cell.is_empty() { "-" } else { cell };
            format!("{cell:<width$}")
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(header)).chain(rows).collect::<Vec<_>>().join("\n")
}

/// A line for each field that has a value, the values aligned.
pub(super) fn fields(fields: &[(&str, Option<String>)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default() + 1;
    let lines = fields.iter().filter_map(|(name, value)| {
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        Some(format!("{:<width$}  {value}", format!("{name}:")))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// In whole seconds.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `name (remark)`, or `name` without a remark.
pub(super) fn with_remark(name: impl Display, remark: &str) -> String {
    if remark.is_empty() { name.to_string() } else { format!("{name} ({remark})") }
}

pub(super) fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
