//! `lockgate check`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use lockgate_core::naming::Destination;
use lockgate_core::pipeline::{Per, Pipeline, Strategy, TargetId};
use lockgate_git::{Marker, markers};
use serde_json::{Value, json};

use super::{End, Fault, Format, Outcome, Output, print, table::pretty};
use crate::{
    config::Config,
    pipelines::{Problem, Severity, Snapshot, read_files},
};

/// Validate Pipelines, Secrets, markers and the configuration, without a running sidecar
///
/// Reads the files, and all *.yaml and *.yml in the folders, as a sidecar would. Each problem names
/// file, line and the path in the document. Warns about keys that several endpoints share, missing
/// Secrets and weak keys. With --repository also looks for the markers that promotions will edit.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// Files and folders with Pipelines and Secrets
    #[arg(required_unless_present = "config", value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Check this configuration, and without FILES its pipelines folder
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder with a checkout of the repository that promotions edit
    #[arg(short, long, value_name = "FOLDER")]
    repository: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    output: Output,
}

impl Check {
    pub(super) fn run(mut self) -> Outcome {
        let mut configuration = Vec::new();
        if let Some(file) = &self.config {
            match Config::load(Some(file), &|_| None, &|_| None) {
                Ok(config) if self.files.is_empty() => self.files.push(config.pipelines),
                Ok(_) => {}
                Err(errors) => configuration = errors.iter().map(ToString::to_string).collect(),
            }
        }
        for file in &self.files {
            if let Err(error) = fs::metadata(file) {
                return Err(Fault::Usage(format!("{}: {error}", file.display())));
            }
        }
        let scan = read_files(&self.files);
        let snapshot = scan.snapshot();
        let mut problems = snapshot.problems().to_vec();
        let mut found = Vec::new();
        if let Some(folder) = &self.repository {
            let read = repository(folder, &snapshot).map_err(|error| {
                Fault::Usage(format!("--repository {}: {error}", folder.display()))
            })?;
            problems.extend(read.problems);
            found = read.found;
        }
        let errors = configuration.len()
            + problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let warnings = configuration.len() + problems.len() - errors;
        match self.output.format {
            Format::Json => print(&pretty(&json!({
                "pipelines": snapshot.pipelines().map(|pipeline| pipeline.key().to_string()).collect::<Vec<_>>(),
                "configuration": configuration,
                "problems": problems.iter().map(Problem::view).collect::<Vec<_>>(),
                "markers": found.iter().map(Found::json).collect::<Vec<_>>(),
            }))),
            Format::Text => {
                configuration.iter().for_each(|error| print(&format!("error: {error}")));
                problems.iter().for_each(|problem| {
                    print(&format!("{}: {problem}", problem.severity.as_str()))
                });
                found.iter().for_each(|found| {
                    print(&format!(
                        "marker: {}:{}: {} is {:?}",
                        found.file.display(),
                        found.line,
                        found.marker,
                        found.value
                    ))
                });
                for (file, line, kind) in &scan.other {
                    print(&format!("note: {}:{line}: {kind} is not read", file.display()));
                }
                let pipelines = snapshot.pipelines().count();
                print(&format!(
                    "{pipelines} {}, {errors} {}, {warnings} {}",
                    noun("pipeline", pipelines),
                    noun("error", errors),
                    noun("warning", warnings)
                ));
            }
        }
        Ok(if errors > 0 || (self.strict && warnings > 0) { End::Failed } else { End::Done })
    }
}

struct Found {
    file: PathBuf,
    line: usize,
    marker: String,
    value: String,
}

impl Found {
    fn json(&self) -> Value {
        json!({"file": self.file.display().to_string(), "line": self.line, "marker": self.marker, "value": self.value})
    }
}

#[derive(Default)]
struct Repository {
    found: Vec<Found>,
    problems: Vec<Problem>,
}

/// What the promotions of all pipelines would find in a checkout.
fn repository(folder: &Path, snapshot: &Snapshot) -> io::Result<Repository> {
    let wanted = wanted(snapshot);
    let list: Vec<Marker> = wanted.keys().cloned().map(Marker::Promotion).collect();
    let mut repository = Repository::default();
    let mut seen = BTreeSet::new();
    let mut files = BTreeSet::new();
    walk(folder, &mut files)?;
    for file in files {
        let text = fs::read(&file)?;
        if !contains(&text, PROMOTION) {
            continue;
        }
        let scan = markers::scan(&text, &list);
        for found in scan.found {
            seen.insert(found.marker.value());
            repository.found.push(Found {
                file: file.clone(),
                line: found.line,
                marker: found.marker.to_string(),
                value: found.old,
            });
        }
        for passed in scan.passed_over {
            repository.problems.push(problem(Severity::Error, &file, passed.line, passed.reason));
        }
        for (line, value) in written(&text) {
            if !wanted.contains_key(&value) {
                repository.problems.push(problem(
                    Severity::Warning,
                    &file,
                    line,
                    format!("no pipeline promotes {{\"$promotion\": \"{value}\"}}"),
                ));
            }
        }
    }
    let addresses: BTreeSet<&String> =
        wanted.values().map(|destination| &destination.address).collect();
    let severity = if addresses.len() > 1 { Severity::Warning } else { Severity::Error };
    for (value, destination) in &wanted {
        if destination.groups.iter().all(|group| group.iter().any(|value| seen.contains(value))) {
            continue;
        }
        let message = format!(
            "{} promotes into {}, and nothing in it is marked {{\"$promotion\": \"{value}\"}}",
            destination.pipeline, destination.address
        );
        repository.problems.push(Problem {
            severity,
            file: Some(folder.to_owned()),
            line: 0,
            path: String::new(),
            message,
            object: None,
        });
    }
    Ok(repository)
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

/// The values of all promotion markers in comments, with their lines.
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

/// All files below a folder but git's own; links are not followed.
fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if entry.file_name() != ".git" {
                walk(&entry.path(), files)?;
            }
        } else if kind.is_file() && entry.metadata()?.len() <= MAX_FILE {
            files.insert(entry.path());
        }
    }
    Ok(())
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window == word.as_bytes())
}

fn problem(severity: Severity, file: &Path, line: usize, message: String) -> Problem {
    Problem {
        severity,
        file: Some(file.to_owned()),
        line,
        path: String::new(),
        message,
        object: None,
    }
}

fn noun(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

const PROMOTION: &str = "\"$promotion\"";
/// A manifest is never larger.
const MAX_FILE: u64 = 4 << 20;

const EXAMPLES: &str = "\
Examples:
  lockgate check pipelines/
  lockgate check pipelines/ --repository ~/src/fleet
  lockgate check --config lockgate.yaml --strict
  kubectl get pipelines,secrets -n team -o yaml > team.yaml && lockgate check team.yaml

Exit codes: 0 no errors, 1 errors (with --strict also warnings), 2 wrong usage.";
