//! What the documents point to exists: links, headings, files, commands, flags and tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod documents;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use documents::{Document, files};
use lockgate_e2e::artifacts;

/// `](target)` and `[name]: target`.
fn links(document: &Document) -> Vec<String> {
    let prose = document.prose();
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let named = prose.lines().filter_map(|line| {
        let (name, target) = line.split_once("]: ")?;
        name.starts_with('[').then_some(target)
    });
    inline.chain(named).map(str::to_owned).collect()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

/// `a/./b/../c` → `a/c`.
fn plain(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(result.pop(), "{}", path.display()),
            Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut seen = 0;
    for document in Document::all() {
        for link in links(&document) {
            if link.starts_with("http") {
                continue;
            }
            seen += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                document.path.clone()
            } else {
                plain(&document.path.parent().unwrap().join(file))
            };
            let place = format!("{}: {link}", document.path.display());
            assert!(artifacts::workspace().join(&target).exists(), "{place}");
            if !fragment.is_empty() {
                let text = Document::open(target.to_str().unwrap()).text;
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line.trim_start_matches('#')) == fragment),
                    "{place}"
                );
            }
        }
    }
    assert!(seen > 20, "{seen} links");
}

#[test]
fn every_file_that_is_named_exists() {
    let top = ["filter/", "sidecar/", "envoy/", "k8s/", "tests/"];
    let mut seen = 0;
    for document in Document::all() {
        for name in document.quoted() {
            let is_path = top.iter().any(|folder| name.starts_with(folder));
            if !is_path || name.contains(['*', '<', '{', ' ']) {
                continue;
            }
            seen += 1;
            let exists = artifacts::workspace().join(&name).exists();
            assert!(exists, "{}: {name}", document.path.display());
        }
    }
    assert!(seen > 10, "{seen} files");
}

/// Every command line in back quotes or in a code block that begins with `program`.
fn commands(program: &str) -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    for document in Document::all() {
        let in_blocks = document.code().map(str::to_owned);
        for text in document.quoted().into_iter().chain(in_blocks) {
            for part in text.split("&&") {
                let part = part.split(" #").next().unwrap().split(" | ").next().unwrap();
                let mut words = part.split_whitespace();
                let Some(first) = words.next() else { continue };
                let named = first == program || first.ends_with(&format!("/{program}"));
                // A word alone is the program's name, and one in front of a column is a crate's.
                let column = part.contains(&format!("{program}  "));
                let words: Vec<String> = words.map(str::to_owned).collect();
                if named && !column && !words.is_empty() {
                    found.push((document.path.clone(), words));
                }
            }
        }
    }
    found
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = fs::read_to_string(artifacts::workspace().join("Makefile")).unwrap();
    let commands = commands("make");
    assert!(commands.len() > 5, "{commands:?}");
    for (document, words) in commands {
        for target in words.iter().filter(|word| !word.contains('=')) {
            let known = makefile.contains(&format!("\n{target}:"));
            assert!(known, "{}: make {target}", document.display());
        }
    }
}

#[test]
fn every_verb_and_flag_of_lockgate_that_is_named_exists() {
    let program = lockgate::cli::command();
    let commands = commands("lockgate");
    assert!(commands.len() > 8, "{commands:?}");
    for (document, words) in commands {
        let place = format!("{}: lockgate {}", document.display(), words.join(" "));
        if words[0].starts_with('-') {
            continue; // --version and --help
        }
        let verb = words[0].trim_end_matches(':');
        let verb = program.find_subcommand(verb).unwrap_or_else(|| panic!("{place}"));
        for flag in words[1..].iter().filter_map(|word| word.strip_prefix("--")) {
            let flag = flag.split('=').next().unwrap();
            let known = verb.get_arguments().any(|argument| argument.get_long() == Some(flag));
            assert!(known, "{place}: --{flag}");
        }
    }
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let rust = files(&|path| path.extension().is_some_and(|extension| extension == "rs"));
    let functions: BTreeSet<String> = rust
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(artifacts::workspace().join(path)).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let document = Document::open("SECURITY.md");
    let named: Vec<String> = document
        .quoted()
        .into_iter()
        .filter(|name| {
            name.matches('_').count() >= 3 && !name.starts_with("xff") && !name.contains(' ')
        })
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(functions.contains(&name), "{name}");
    }
}

#[test]
fn the_readme_is_short_and_every_document_is_wrapped() {
    let lines = Document::open("README.md").text.lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
    for document in Document::all() {
        for (number, line) in document.text.lines().enumerate() {
            let length = line.chars().count();
            let number = number + 1;
            assert!(length <= 100, "{}:{number} has {length} columns", document.path.display());
        }
    }
}
