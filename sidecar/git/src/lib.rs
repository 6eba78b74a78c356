//! Git without a checkout.
//!
//! One bare [`Mirror`] per repository: it fetches incrementally, finds version markers through an
//! index keyed by blob id, splices one scalar in memory, builds blobs, trees and the commit in
//! memory, and pushes one branch with compare-and-swap. Nothing is ever written to a work tree.
//!
//! Everything here blocks: call it where blocking is allowed. A mirror may be shared between
//! threads; its operations take turns. Two processes must not share a folder of mirrors.
//!
//! ```text
//! fetch ──► find ──► commit ──► push
//!  tips      markers   objects    old value → new value, or PushRace
//! ```
//!
//! This crate knows no forge and no Pipeline: which branch, which marker and which message are its
//! caller's business.

mod commit_id;
mod error;
pub mod markers;
mod mirror;
mod remote;
mod signing;
mod transport;
mod words;

pub use lockgate_core::address::{AddressPolicy, RemoteUrl, UrlError};

pub use crate::commit_id::CommitId;
pub use crate::error::GitError;
pub use crate::markers::{ImagePart, Marker};
pub use crate::mirror::commit::{Commit, CommitMeta, CommitOutcome, FileChange};
pub use crate::mirror::index::{Occurrence, Overlooked, Search, Skipped};
pub use crate::mirror::{Ahead, Branches, LARGEST_OBJECT, Mirror, Tips};
pub use crate::remote::{Credentials, Remote};
pub use crate::signing::SigningKey;
