//! Rows, their statistics, and where they go.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use jiff::Timestamp;
use lockgate_e2e::artifacts;
use serde::Serialize;

/// One line of the result. `ratio` is ours ÷ reference; with a bound it is the ratio that must not
/// exceed it, or where there is no reference, `ours`.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub unit: &'static str,
    pub ours: f64,
    pub reference: Option<String>,
    pub reference_value: Option<f64>,
    pub ratio: Option<f64>,
    /// Distance between the quartiles of what the bound is about.
    pub spread: Option<f64>,
    pub bound: Option<f64>,
    pub within: Option<bool>,
}

/// Everything measured in one run.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    commit: String,
    date: String,
    rows: Vec<Row>,
}

impl Report {
    pub fn new() -> Self {
        let report = Self {
            machine: machine(),
            commit: commit(),
            date: Timestamp::now().to_string(),
            rows: Vec::new(),
        };
        println!("{} · commit {} · {}", report.machine, report.commit, report.date);
        report
    }

    /// A figure of our own; `bound` limits it.
    pub fn value(&mut self, name: &str, unit: &'static str, samples: &[f64], bound: Option<f64>) {
        let ours = median(samples);
        let row = Row {
            name: name.to_owned(),
            unit,
            ours,
            reference: None,
            reference_value: None,
            ratio: None,
            spread: spread(samples),
            bound,
            within: bound.map(|bound| ours <= bound),
        };
        self.add(row);
    }

    /// Ours beside a reference, sample by sample from the same rounds; `bound` limits ours ÷
    /// reference.
    pub fn ratio(
        &mut self,
        name: &str,
        unit: &'static str,
        ours: &[f64],
        reference: (&str, &[f64]),
        bound: Option<f64>,
    ) {
        let (reference_name, theirs) = reference;
        let ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .filter(|(_, theirs)| **theirs > 0.0)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        let ratio = median(&ratios);
        let row = Row {
            name: name.to_owned(),
            unit,
            ours: median(ours),
            reference: Some(reference_name.to_owned()),
            reference_value: Some(median(theirs)),
            ratio: Some(ratio),
            spread: spread(&ratios),
            bound,
            within: bound.map(|bound| ratio <= bound),
        };
        self.add(row);
    }

    /// A heading of the printed table.
    pub fn section(&self, title: &str) {
        println!("\n{title}");
        println!(
            "{:<58} {:>10} {:>10} {:>7} {:>7} {:>7}",
            "", "ours", "reference", "ratio", "spread", "bound"
        );
    }

    fn add(&mut self, row: Row) {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let name = match &row.reference {
            Some(reference) => format!("{} ({}) ÷ {reference}", row.name, row.unit),
            None => format!("{} ({})", row.name, row.unit),
        };
        let verdict = match row.within {
            Some(true) => " ok",
            Some(false) => " OVER",
            None => "",
        };
        println!(
            "{name:<58} {:>10} {:>10} {:>7} {:>7} {:>7}{verdict}",
            short(row.ours),
            number(row.reference_value),
            number(row.ratio),
            number(row.spread),
            number(row.bound),
        );
        self.rows.push(row);
    }

    /// Writes `target/bench.json` and says what is over its bound.
    pub fn finish(self) -> Result<()> {
        let path = artifacts::target().join("bench.json");
        fs::write(&path, serde_json::to_string_pretty(&self)? + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
        let bounded = self.rows.iter().filter(|row| row.bound.is_some()).count();
        let over: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.within == Some(false))
            .map(|row| row.name.as_str())
            .collect();
        println!(
            "\n{} of {bounded} bounded rows are within their bound; written to {}",
            bounded - over.len(),
            path.display()
        );
        for name in over {
            println!("over its bound: {name}");
        }
        Ok(())
    }
}

/// The middle value; 0 of nothing.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The value below which `share` of the samples lie.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a position in a short list"
    )]
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

fn spread(samples: &[f64]) -> Option<f64> {
    (samples.len() > 1).then(|| quantile(samples, 0.75) - quantile(samples, 0.25))
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = kernel.split(['-', '+']).next().unwrap_or_default().trim().to_owned();
    format!("{cores} × {model}, Linux {version}")
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        Command::new("git").current_dir(artifacts::workspace()).args(arguments).output().ok()
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"]).filter(|output| output.status.success());
    let Some(head) = head else { return "none".to_owned() };
    let changed = git(&["status", "--porcelain"]).is_some_and(|output| !output.stdout.is_empty());
    let id = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    if changed { format!("{id} with changes") } else { id }
}
