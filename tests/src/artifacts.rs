//! Where the built and downloaded pieces lie, and what to run when one is missing.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The Envoy that the tests were written against.
const ENVOY: &str = "envoy-1.40.0";
/// The Gitea that `tests/servers/gitea/go.mod` pins.
const GITEA: &str = "gitea-1.26.0";

/// The workspace that this crate was built in.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// `LOCKGATE_ENVOY`, else the binary in the cache folder.
///
/// # Errors
/// There is no such file.
pub fn envoy() -> Result<PathBuf> {
    existing("LOCKGATE_ENVOY", cache().join(ENVOY).join("bin/envoy"), "Envoy", "make test")
}

/// `LOCKGATE_GITEA`, else the binary in the cache folder; its templates lie beside it.
///
/// # Errors
/// There is no such file.
pub fn gitea() -> Result<PathBuf> {
    existing("LOCKGATE_GITEA", cache().join(GITEA).join("gitea"), "Gitea", "make e2e")
}

/// `LOCKGATE_WASM`, else the module that `make wasm` builds.
///
/// # Errors
/// There is no such file.
pub fn filter() -> Result<PathBuf> {
    let built = target().join("wasm32-unknown-unknown/wasm/lockgate_filter.wasm");
    existing("LOCKGATE_WASM", built, "the filter module", "make wasm")
}

/// `LOCKGATE_WASM_PANIC`, else the module of the build with the feature `panic-trigger`.
///
/// # Errors
/// There is no such file.
pub fn panicking_filter() -> Result<PathBuf> {
    let built = target().join("panic/wasm32-unknown-unknown/wasm/lockgate_filter.wasm");
    existing(
        "LOCKGATE_WASM_PANIC",
        built,
        "the filter module with the panic trigger",
        "make wasm-panic",
    )
}

/// `LOCKGATE_BIN`, else the binary that `make build` builds.
///
/// # Errors
/// There is no such file.
pub fn lockgate() -> Result<PathBuf> {
    existing("LOCKGATE_BIN", target().join("debug/lockgate"), "the lockgate binary", "make build")
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The folder for what is fetched once per machine: `LOCKGATE_CACHE`, else `lockgate` in the user's
/// cache folder.
fn cache() -> PathBuf {
    if let Some(folder) = env::var_os("LOCKGATE_CACHE") {
        return PathBuf::from(folder);
    }
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("lockgate")
}

fn existing(variable: &str, default: PathBuf, what: &str, make: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).map_or(default, PathBuf::from);
    if !path.is_file() {
        bail!("{what} is not at {}: run `{make}`, or set {variable}", path.display());
    }
    Ok(path)
}
