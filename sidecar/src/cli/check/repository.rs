//! What promotions would find in a checkout of their repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockgate_core::naming::Destination;
use lockgate_core::pipeline::{Per, Pipeline, Strategy, TargetId};
use lockgate_git::{Marker, Overlooked, markers};
use serde_json::{Value, json};

use crate::pipelines::{Problem, Severity, Snapshot};

/// A value that a promotion edits.
pub(super) struct Found {
    file: PathBuf,
    line: usize,
    marker: String,
    value: String,
}

impl Found {
    pub(super) fn json(&self) -> Value {
        json!({"file": self.file.display().to_string(), "line": self.line, "marker": self.marker, "value": self.value})
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} is {:?}", self.file.display(), self.line, self.marker, self.value)
    }
}

#[derive(Default)]
pub(super) struct Repository {
    pub(super) found: Vec<Found>,
    pub(super) problems: Vec<Problem>,
    /// What a person may want to know and need not mend.
    pub(super) notes: Vec<String>,
}

impl Repository {
    /// Searches a checkout for the markers of all pipelines.
    ///
    /// # Errors
    /// If the folder itself cannot be read.
    pub(super) fn read(folder: &Path, snapshot: &Snapshot) -> io::Result<Self> {
        let wanted = wanted(snapshot);
        let list: Vec<Marker> = wanted.keys().cloned().map(Marker::Promotion).collect();
        let list = markers::Wanted::new(&list);
        let mut repository = Self::default();
        let mut overlooked = Overlooked::default();
        let mut files = Vec::new();
        fs::read_dir(folder)?;
        repository.walk(folder, &mut files, &mut overlooked);
        files.sort();
        let mut seen = BTreeSet::new();
        let mut progress = Progress::new(files.len());
        for (index, file) in files.iter().enumerate() {
            progress.show(index);
            match fs::read(file) {
                Ok(text) => repository.search(file, &text, &list, &wanted, &mut seen),
                Err(error) => repository.problem(Severity::Error, file, 0, error.to_string()),
            }
        }
        if !overlooked.is_empty() {
            repository.notes.push(format!("{}: not looked into: {overlooked}", folder.display()));
        }
        repository.report_missing(folder, &wanted, &seen);
        Ok(repository)
    }

    fn search(
        &mut self,
        file: &Path,
        text: &[u8],
        list: &markers::Wanted,
        wanted: &BTreeMap<String, Wanted>,
        seen: &mut BTreeSet<String>,
    ) {
        let scan = markers::scan(text, list);
        for found in scan.found {
            seen.insert(found.marker.value());
            self.found.push(Found {
                file: file.to_owned(),
                line: found.line,
                marker: found.marker.to_string(),
                value: found.old,
            });
        }
        for passed in scan.passed_over {
            self.problem(Severity::Error, file, passed.line, passed.reason);
        }
        for off in scan.switched_off {
            self.notes.push(format!("{}:{}: {}", file.display(), off.line, off.reason));
        }
        for (line, value) in written(text) {
            if !wanted.contains_key(&value) {
                let message = format!("no pipeline promotes {{\"$promotion\": \"{value}\"}}");
                self.problem(Severity::Warning, file, line, message);
            }
        }
    }

    fn report_missing(
        &mut self,
        folder: &Path,
        wanted: &BTreeMap<String, Wanted>,
        seen: &BTreeSet<String>,
    ) {
        let addresses: BTreeSet<&String> = wanted.values().map(|wanted| &wanted.address).collect();
        // Of several repositories, only one is checked out here.
        let severity = if addresses.len() > 1 { Severity::Warning } else { Severity::Error };
        for (value, who) in wanted {
            let is_seen = |group: &Vec<String>| group.iter().any(|value| seen.contains(value));
            if !who.groups.iter().all(is_seen) {
                let message = format!(
                    "{} promotes into {}, and nothing in it is marked {{\"$promotion\": \"{value}\"}}",
                    who.pipeline, who.address
                );
                self.problem(severity, folder, 0, message);
            }
        }
    }

    /// The files that promotions look at. Links are not followed, and a checkout inside this one is
    /// another repository.
    fn walk(&mut self, folder: &Path, files: &mut Vec<PathBuf>, overlooked: &mut Overlooked) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.problem(Severity::Error, folder, 0, error.to_string()),
        };
        for entry in entries.flatten() {
            let (Ok(kind), path) = (entry.file_type(), entry.path()) else { continue };
            if kind.is_dir() {
                if entry.file_name() != ".git" && !path.join(".git").exists() {
                    self.walk(&path, files, overlooked);
                }
            } else if !markers::is_manifest(entry.file_name().as_encoded_bytes()) {
            } else if kind.is_symlink() {
                overlooked.links += 1;
            } else if kind.is_file() {
                match entry.metadata() {
                    Ok(metadata) if metadata.len() > markers::LARGEST_SEARCHED => {
                        overlooked.huge += 1;
                    }
                    _ => files.push(path),
                }
            }
        }
    }

    fn problem(&mut self, severity: Severity, file: &Path, line: usize, message: String) {
        self.problems.push(Problem::in_line(severity, file, line, message));
    }
}

/// Tells a person who waits how far the search is.
struct Progress {
    files: usize,
    next: Instant,
    terminal: bool,
}

impl Progress {
    fn new(files: usize) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { files, next: Instant::now() + PROGRESS, terminal }
    }

    fn show(&mut self, done: usize) {
        if self.terminal && Instant::now() >= self.next {
            eprintln!("searched {done} of {} files", self.files);
            self.next = Instant::now() + PROGRESS;
        }
    }
}

/// Who wants a marker.
struct Wanted {
    pipeline: String,
    address: String,
    /// The markers of each destination that looks for it; one of them is enough for that
    /// destination.
    groups: Vec<Vec<String>>,
}

/// The markers that promotions with git look for.
fn wanted(snapshot: &Snapshot) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for pipeline in snapshot.pipelines() {
        for (environment, address, targets) in destinations(pipeline) {
            for target in &targets {
                let group = Destination {
                    pipeline: pipeline.key(),
                    environment: &environment,
                    target: target.as_ref(),
                }
                .markers();
                for marker in &group {
                    let entry = wanted.entry(marker.clone()).or_insert_with(|| Wanted {
                        pipeline: pipeline.key().to_string(),
                        address: address.clone(),
                        groups: Vec::new(),
                    });
                    entry.groups.push(group.clone());
                }
            }
        }
    }
    wanted
}

/// The environments that are promoted into by a commit: name, repository, and the targets, `None`
/// for all at once.
fn destinations(pipeline: &Pipeline) -> Vec<(String, String, Vec<Option<TargetId>>)> {
    let mut destinations = Vec::new();
    for environment in pipeline.environments().iter().skip(1) {
        let rules = pipeline.promotion_into(&environment.name);
        let address = match rules.strategy {
            Some(Strategy::Git(git)) => git.url,
            Some(Strategy::PullRequest(pull_request)) => pull_request.url,
            _ => continue,
        };
        let targets = match rules.per {
            Per::Environment => vec![None],
            Per::Target => environment.targets.iter().map(|target| Some(target.id())).collect(),
        };
        destinations.push((environment.name.clone(), address, targets));
    }
    destinations
}

/// The values of all promotion markers in comments, with their lines. What is in a line that is a
/// comment as a whole is switched off, unless the marker is all there is.
fn written(text: &[u8]) -> Vec<(usize, String)> {
    let text = String::from_utf8_lossy(text);
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once('#') else { continue };
        let Some(at) = comment
            .find(PROMOTION)
            .and_then(|at| comment.get(..at))
            .and_then(|before| before.rfind('{'))
        else {
            continue;
        };
        let before = comment.get(..at).unwrap_or_default().trim_start_matches('#').trim();
        if line.trim_start().starts_with('#') && !before.is_empty() {
            continue;
        }
        let mut values = serde_json::Deserializer::from_str(comment.get(at..).unwrap_or_default())
            .into_iter::<Value>();
        if let Some(Ok(value)) = values.next()
            && let Some(marker) = value.get("$promotion").and_then(Value::as_str)
        {
            found.push((index + 1, marker.to_owned()));
        }
    }
    found
}

const PROMOTION: &str = "\"$promotion\"";
/// Pause between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);
