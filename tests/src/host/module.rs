//! The compiled module and what it asks of its host.

use std::path::Path;

use anyhow::{Context, Result};
use wasmtime::Engine;

use super::calls;

/// A compiled filter; cheap to clone, so that every VM and thread has the same one.
#[derive(Clone)]
pub struct Module {
    pub(super) engine: Engine,
    pub(super) module: wasmtime::Module,
}

impl Module {
    /// # Errors
    /// The file is missing or is no valid module.
    pub fn load(path: &Path) -> Result<Self> {
        let engine = Engine::default();
        let module = wasmtime::Module::from_file(&engine, path)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("compiling {}", path.display()))?;
        Ok(Self { engine, module })
    }

    /// `module.name` of everything that is imported, sorted.
    pub fn imports(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .module
            .imports()
            .map(|import| format!("{}.{}", import.module(), import.name()))
            .collect();
        names.sort();
        names
    }

    /// The host calls that a VM can really make here, sorted: every other import traps.
    ///
    /// # Errors
    /// Never in practice: linking the host calls failed.
    pub fn provided(&self) -> Result<Vec<String>> {
        let mut names = calls::names(&self.engine)?;
        names.sort();
        Ok(names)
    }

    /// The names of all exports, sorted.
    pub fn exports(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.module.exports().map(|export| export.name().to_owned()).collect();
        names.sort();
        names
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Module").field("imports", &self.imports()).finish_non_exhaustive()
    }
}
