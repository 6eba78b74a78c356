//! The documents of this workspace, as the tests read them.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_e2e::artifacts;

/// One Markdown file.
pub struct Document {
    /// Relative to the workspace.
    pub path: PathBuf,
    pub text: String,
}

impl Document {
    pub fn open(path: &str) -> Self {
        let text = fs::read_to_string(artifacts::workspace().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.into(), text }
    }

    /// Every Markdown file that belongs to the workspace.
    pub fn all() -> Vec<Self> {
        let files = files(&|path| path.extension().is_some_and(|extension| extension == "md"));
        assert!(files.len() >= 8, "{files:?}");
        files.iter().map(|path| Self::open(path.to_str().unwrap())).collect()
    }

    /// The text below a heading, up to the next one of the same rank or a higher one.
    pub fn section(&self, heading: &str) -> String {
        let rank = heading.split(' ').next().unwrap().len();
        let ends =
            |line: &str| line.starts_with('#') && line.find(' ').is_some_and(|level| level <= rank);
        let mut lines = self.text.lines().skip_while(|line| *line != heading);
        assert!(lines.next().is_some(), "{}: no heading {heading:?}", self.path.display());
        lines.take_while(|line| !ends(line)).collect::<Vec<_>>().join("\n")
    }

    /// What stands in back quotes outside of code blocks. A span may continue on the next line.
    pub fn quoted(&self) -> Vec<String> {
        quoted(&self.prose())
    }

    /// The lines of code blocks, which are indented by four spaces.
    pub fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| line.strip_prefix("    "))
    }

    /// Everything that is not in a code block.
    pub fn prose(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.starts_with("    "));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// What stands in back quotes, with line breaks read as spaces.
pub fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(|part| part.replace('\n', " ")).collect()
}

/// Every file below the workspace that `wanted` takes, relative to it. What is built or hidden does
/// not count.
pub fn files(wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let root = artifacts::workspace();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if wanted(&path) {
                found.push(path.strip_prefix(&root).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}
