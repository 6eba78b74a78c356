//! Which module of a crate names which other one, read from its source text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lockgate_e2e::artifacts;

/// The path of a module below its crate: `promote::attempt` is `["promote", "attempt"]`.
pub type Module = Vec<String>;

/// One crate's modules and what they name. Code for tests does not count.
pub struct Crate {
    /// Module → the modules that it names, with the file that does.
    arrows: BTreeMap<Module, BTreeMap<Module, PathBuf>>,
}

impl Crate {
    /// Reads every file below `src`, relative to the workspace.
    pub fn read(src: &str) -> Self {
        let root = artifacts::workspace().join(src);
        let mut files = Vec::new();
        collect(&root, &mut files);
        assert!(!files.is_empty(), "{src}");
        let modules: BTreeMap<PathBuf, Module> =
            files.into_iter().map(|file| (file.clone(), module_of(&root, &file))).collect();
        let known: BTreeSet<&Module> = modules.values().collect();
        let mut arrows: BTreeMap<Module, BTreeMap<Module, PathBuf>> = BTreeMap::new();
        for (file, module) in &modules {
            let text = fs::read_to_string(file).unwrap();
            let named = arrows.entry(module.clone()).or_default();
            for path in paths(&without_comments(&text), module) {
                // `a::b::Type` names the module `a::b`: the longest known beginning.
                let longest = (1..=path.len()).rev().map(|n| path[..n].to_vec());
                if let Some(target) = longest.into_iter().find(|path| known.contains(path)) {
                    named.entry(target).or_insert_with(|| file.clone());
                }
            }
        }
        Self { arrows }
    }

    /// Room → the rooms that it names. A room is a module right below the crate.
    pub fn rooms(&self) -> BTreeMap<String, BTreeMap<String, PathBuf>> {
        self.siblings().remove(&Vec::new()).unwrap_or_default()
    }

    /// For each module with children: child → the siblings that it, or something in it, names.
    fn siblings(&self) -> BTreeMap<Module, BTreeMap<String, BTreeMap<String, PathBuf>>> {
        let mut result: BTreeMap<Module, BTreeMap<String, BTreeMap<String, PathBuf>>> =
            BTreeMap::new();
        for (from, targets) in &self.arrows {
            for (to, file) in targets {
                let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
                if shared < from.len() && shared < to.len() {
                    let children = result.entry(from[..shared].to_vec()).or_default();
                    let named = children.entry(from[shared].clone()).or_default();
                    named.entry(to[shared].clone()).or_insert_with(|| file.clone());
                }
            }
        }
        result
    }

    /// Siblings that name each other, directly or over others, under the name of their parent.
    pub fn circles(&self) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        for (parent, children) in self.siblings() {
            let reach = |from: &String| {
                let mut seen = BTreeSet::new();
                let mut open = vec![from.clone()];
                while let Some(next) = open.pop() {
                    for target in children.get(&next).into_iter().flat_map(BTreeMap::keys) {
                        if seen.insert(target.clone()) {
                            open.push(target.clone());
                        }
                    }
                }
                seen
            };
            let reached: BTreeMap<String, BTreeSet<String>> =
                children.keys().map(|child| (child.clone(), reach(child))).collect();
            let mut done = BTreeSet::new();
            for (child, targets) in &reached {
                if !targets.contains(child) || !done.insert(child.clone()) {
                    continue;
                }
                let circle: Vec<String> = targets
                    .iter()
                    .filter(|other| reached.get(*other).is_some_and(|back| back.contains(child)))
                    .cloned()
                    .collect();
                done.extend(circle.iter().cloned());
                found.push((parent.join("::"), circle));
            }
        }
        found
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" && name != "bin" {
            collect(&path, files);
        } else if name.ends_with(".rs") && !matches!(&*name, "tests.rs" | "lib.rs" | "main.rs") {
            files.push(path);
        }
    }
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are both `a::b`.
fn module_of(root: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

/// Without comments, and without the tests at the end of a file.
fn without_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next_is_module =
            lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line == "#[cfg(test)]" && next_is_module {
            break;
        }
        kept.push_str(line.split("//").next().unwrap());
        kept.push('\n');
    }
    kept
}

/// Every path in `text` that begins with `crate::` or `super::`, from the crate's root on.
fn paths(text: &str, module: &Module) -> Vec<Module> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        tree(&mut text[at + "crate::".len()..].chars().peekable(), &[], &mut found);
    }
    for (at, _) in text.match_indices("super::") {
        if text[..at].ends_with("super::") {
            continue; // seen with the first one
        }
        let mut rest = &text[at..];
        let mut base = module.clone();
        while let Some(further) = rest.strip_prefix("super::") {
            base.pop();
            rest = further;
        }
        tree(&mut rest.chars().peekable(), &base, &mut found);
    }
    found
}

/// One use tree: `a::{b, c::d}` after `prefix`.
fn tree(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    prefix: &[String],
    found: &mut Vec<Module>,
) {
    let blank = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
    };
    let mut path = prefix.to_vec();
    loop {
        blank(chars);
        if chars.next_if_eq(&'{').is_some() {
            loop {
                tree(chars, &path, found);
                blank(chars);
                if chars.next_if_eq(&',').is_none() {
                    break;
                }
                blank(chars);
                if chars.peek() == Some(&'}') {
                    break;
                }
            }
            blank(chars);
            let _closed = chars.next_if_eq(&'}');
            return;
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
        }
        if name.is_empty() {
            let _star = chars.next_if_eq(&'*');
            found.push(path);
            return;
        }
        if name == "as" {
            // `a as b`: the path has ended; the new name is of no interest.
            blank(chars);
            while chars.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
            found.push(path);
            return;
        }
        if name != "self" {
            path.push(name);
        }
        let mut ahead = chars.clone();
        if ahead.next() == Some(':') && ahead.next() == Some(':') {
            *chars = ahead;
            continue;
        }
        // `use a as b` has a blank before `as`; code such as `a as u32` ends here as well.
        let mut ahead = chars.clone();
        blank(&mut ahead);
        if ahead.next() == Some('a') && ahead.next() == Some('s') && ahead.next() == Some(' ') {
            while ahead.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
            *chars = ahead;
        }
        found.push(path);
        return;
    }
}

#[test]
fn a_use_tree_is_read_as_its_paths() {
    let module = vec!["a".to_owned(), "b".to_owned()];
    let text = "use crate::{x::{self, Y}, z as w, q};\nuse super::{c::D, super::e};\n\
                fn f() { super::super::g::h(); crate::app::start() as u32 }";
    let found: BTreeSet<String> =
        paths(text, &module).into_iter().map(|path| path.join("::")).collect();
    let expected = ["x", "x::Y", "z", "q", "a::c::D", "g::h", "app::start"];
    for path in expected {
        assert!(found.contains(path), "{path}: {found:?}");
    }
}
