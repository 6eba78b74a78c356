//! `lockgate check`.

mod repository;

use std::{fs, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{End, Fault, Format, Outcome, Output, print, table::pretty};
use crate::{
    config::Config,
    pipelines::{Problem, Rules, Severity, read_files},
};
use repository::{Found, Repository};

/// Validate Pipelines, Secrets, markers and the configuration, without a running sidecar
///
/// Reads the files, and all *.yaml and *.yml in the folders, as a sidecar would. Each problem names
/// file, line and the path in the document. Warns about keys that several endpoints share, missing
/// Secrets and weak keys. With --repository also looks for the markers that promotions will edit,
/// in the files that promotions look at.
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
        let mut rules = None;
        if let Some(file) = &self.config {
            match Config::load(Some(file), &|_| None, &|name| std::env::var(name).ok()) {
                Ok(config) => {
                    rules = Some(Rules::from(&config));
                    if self.files.is_empty() {
                        self.files.push(config.pipelines);
                    }
                }
                Err(errors) => configuration = errors.iter().map(ToString::to_string).collect(),
            }
        }
        for file in &self.files {
            if let Err(error) = fs::metadata(file) {
                return Err(Fault::Usage(format!("{}: {error}", file.display())));
            }
        }
        let scan = read_files(&self.files, rules.unwrap_or_else(any_address));
        let snapshot = &scan.snapshot;
        let mut problems: Vec<Problem> = snapshot.problems().cloned().collect();
        let mut repository = Repository::default();
        if let Some(folder) = &self.repository {
            repository = Repository::read(folder, snapshot).map_err(|error| {
                Fault::Usage(format!("--repository {}: {error}", folder.display()))
            })?;
            problems.append(&mut repository.problems);
        }
        let errors = configuration.len()
            + problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let warnings = configuration.len() + problems.len() - errors;
        match self.output.format {
            Format::Json => print(&pretty(&json!({
                "pipelines": snapshot.pipelines().map(|pipeline| pipeline.key().to_string()).collect::<Vec<_>>(),
                "configuration": configuration,
                "problems": problems.iter().map(Problem::view).collect::<Vec<_>>(),
                "markers": repository.found.iter().map(Found::json).collect::<Vec<_>>(),
                "notes": repository.notes,
            }))),
            Format::Text => {
                configuration.iter().for_each(|error| print(&format!("error: {error}")));
                problems.iter().for_each(|problem| {
                    print(&format!("{}: {problem}", problem.severity.as_str()))
                });
                repository.found.iter().for_each(|found| print(&format!("marker: {found}")));
                repository.notes.iter().for_each(|note| print(&format!("note: {note}")));
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

/// Without a configuration nobody says which addresses are allowed, so every one that is understood
/// is: `http` and `file` too.
fn any_address() -> Rules {
    let mut rules = Rules::default();
    rules.addresses.allow_insecure = vec!["http://".to_owned(), "file://".to_owned()];
    rules
}

fn noun(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

const EXAMPLES: &str = "\
Examples:
  lockgate check pipelines/
  lockgate check pipelines/ --repository ~/src/fleet
  lockgate check --config lockgate.yaml --strict
  kubectl get pipelines,secrets -n team -o yaml > team.yaml && lockgate check team.yaml

Exit codes: 0 no errors, 1 errors (with --strict also warnings), 2 wrong usage.";
