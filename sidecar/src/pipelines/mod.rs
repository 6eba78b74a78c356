//! Where Pipelines and Secrets come from.
//!
//! ```text
//! source (Folder, Memory, …) ─ Update ─▶ Publisher ─ Snapshot ─▶ Catalog ─▶ everybody who reads
//! ```
//!
//! - A source says what changed ([`Change`]) and when it has looked at everything ([`Pass`]). It
//!   knows nothing of who reads, and readers know nothing of it.
//! - A change rebuilds and checks what it touches. A [`Snapshot`] never changes and is replaced as
//!   a whole; its version grows.
//! - An object whose document does not read stays what it was before. Until it is known for sure
//!   which endpoints exist, the snapshot says so: [`Snapshot::complete`], [`Snapshot::unreadable`].
//! - Everything that a person should know is a [`Problem`] with a [`Place`]: a file and a line, or
//!   an object.

mod catalog;
mod certainty;
mod check;
mod folder;
mod memory;
mod object;
mod publisher;
mod registry;
mod report;
mod snapshot;

pub use lockgate_core::pipeline::Severity;

pub use self::{
    catalog::Catalog,
    check::Rules,
    folder::{Folder, Scan, read_files},
    memory::Memory,
    object::{Kind, Location, Object, ObjectId, Place, Problem},
    publisher::{Change, Pass, Publisher, Source, Update},
    report::report,
    snapshot::Snapshot,
};
