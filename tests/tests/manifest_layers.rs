//! The house has floors: an arrow goes down or not at all. The floors are written once, in
//! CONTRIBUTING.md; this compares them with the code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod documents;
mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use documents::{Document, files, quoted};
use layers::Crate;
use lockgate_e2e::artifacts;

/// The code block of a section, without its indentation.
fn block(section: &str) -> Vec<String> {
    section.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

/// From the top: the modules of each floor.
fn floors() -> Vec<Vec<String>> {
    let section = Document::open("CONTRIBUTING.md").section("### Floors inside the sidecar");
    let floor = |line: &String| {
        let names = line.split("  ").next().unwrap();
        names.split(" · ").map(str::to_owned).collect::<Vec<_>>()
    };
    let floors: Vec<_> = block(&section).iter().map(floor).collect();
    assert!(floors.len() > 8, "{floors:?}");
    floors
}

/// Arrows that go up or sideways today. Nothing may be added.
const UP: &[(&str, &str)] = &[];

/// Modules whose children form a circle today. Nothing may be added.
const CIRCLES: &[(&str, &str)] = &[
    ("filter/edge/src", ""),
    ("sidecar/src", "ledger::sqlite"),
    ("sidecar/src", "pipelines"),
    ("sidecar/core/src", ""),
    ("sidecar/git/src", ""),
    ("sidecar/forge/src", "github"),
    ("tests/src", ""),
    ("tests/src", "host"),
];

/// Files over 400 lines today. Nothing may be added.
const LONG: &[&str] = &[
    "sidecar/core/tests/promotion.rs",
    "sidecar/tests/promote_strategies.rs",
    "sidecar/tests/world/mod.rs",
];

#[test]
fn arrows_inside_the_sidecar_go_down_only() {
    let floors = floors();
    let level = |room: &str| floors.iter().position(|floor| floor.iter().any(|name| name == room));
    let section = Document::open("CONTRIBUTING.md").section("### Floors inside the sidecar");
    let forbidden = section.rsplit("although they are lower:").next().unwrap();
    let forbidden = quoted(forbidden);
    let (hand, never) = forbidden.split_first().unwrap();
    let mut wrong = BTreeSet::new();
    for (from, targets) in Crate::read("sidecar/src").rooms() {
        let Some(own) = level(&from) else {
            panic!("CONTRIBUTING.md gives {from} no floor");
        };
        for (to, file) in targets {
            let other = level(&to).unwrap_or_else(|| panic!("CONTRIBUTING.md: no floor for {to}"));
            if other <= own || (&from == hand && never.contains(&to)) {
                let known = UP.contains(&(&from, &to));
                if !known {
                    wrong.insert(format!("{from} → {to}, in {}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_list_of_exceptions_holds_what_is_mended() {
    let rooms = Crate::read("sidecar/src").rooms();
    for (from, to) in UP {
        let there = rooms.get(*from).is_some_and(|targets| targets.contains_key(*to));
        assert!(there, "{from} → {to} is gone: remove it from UP");
    }
    for (src, parent) in CIRCLES {
        let there = Crate::read(src).circles().iter().any(|(other, _)| other == parent);
        assert!(there, "{src} {parent} has no circle: remove it from CIRCLES");
    }
    for path in LONG {
        let lines = fs::read_to_string(artifacts::workspace().join(path))
            .map_or(0, |text| text.lines().count());
        assert!(lines > 400, "{path} has {lines} lines: remove it from LONG");
    }
}

#[test]
fn modules_of_one_parent_form_no_circle() {
    let mut wrong = Vec::new();
    for src in SOURCES {
        let circles = Crate::read(src).circles();
        wrong.extend(
            circles
                .into_iter()
                .filter(|(parent, _)| !CIRCLES.contains(&(src, parent)))
                .map(|(parent, circle)| format!("{src} {parent}: {}", circle.join(", "))),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const SOURCES: [&str; 9] = [
    "filter/src",
    "filter/edge/src",
    "sidecar/src",
    "sidecar/core/src",
    "sidecar/tls/src",
    "sidecar/git/src",
    "sidecar/forge/src",
    "sidecar/forge/fakes/src",
    "tests/src",
];

/// `[dependencies]` of a crate that are ours.
fn uses(folder: &str) -> BTreeSet<String> {
    let path = artifacts::workspace().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(path).unwrap();
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && line.starts_with("lockgate") {
            found.insert(line.split(['.', ' ', '=']).next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn crates_use_only_what_they_may() {
    let section = Document::open("CONTRIBUTING.md").section("### Which crate may use which");
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in block(&section) {
        let (name, list) = line.split_once("  ").unwrap();
        let list: BTreeSet<String> = match list.trim() {
            "nothing of ours" => BTreeSet::new(),
            "all of the above but lockgate-filter" => {
                allowed.keys().filter(|name| *name != "lockgate-filter").cloned().collect()
            }
            names => names.split(", ").map(str::to_owned).collect(),
        };
        allowed.insert(name.to_owned(), list);
    }
    let folders = [
        ("lockgate-edge", "filter/edge"),
        ("lockgate-core", "sidecar/core"),
        ("lockgate-api", "sidecar/api"),
        ("lockgate-filter", "filter"),
        ("lockgate-tls", "sidecar/tls"),
        ("lockgate-git", "sidecar/git"),
        ("lockgate-forge", "sidecar/forge"),
        ("lockgate", "sidecar"),
    ];
    assert_eq!(allowed.len(), folders.len());
    for (name, folder) in folders {
        let found = uses(folder);
        assert!(found.is_subset(&allowed[name]), "{name} uses {found:?}");
    }
}

#[test]
fn no_source_file_is_longer_than_400_lines() {
    let rust = files(&|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(rust.len() > 100);
    let mut wrong = Vec::new();
    for path in rust {
        let lines = fs::read_to_string(artifacts::workspace().join(&path)).unwrap().lines().count();
        if lines > 400 && !LONG.contains(&path.to_str().unwrap()) {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn comments_are_wrapped_at_100_columns() {
    let commented = files(&|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        [".rs", ".proto", ".sh", ".toml", ".yaml", ".yml"].iter().any(|end| name.ends_with(end))
            || name == "Makefile"
    });
    let mut wrong = Vec::new();
    for path in commented {
        let text = fs::read_to_string(artifacts::workspace().join(&path)).unwrap();
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let comment = trimmed.starts_with("//") || trimmed.starts_with("# ");
            // A table row, an address and a line of a diagram cannot be wrapped.
            let whole = ["| ", "http", "─"].iter().any(|part| trimmed.contains(part));
            if comment && !whole && line.chars().count() > 100 {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
