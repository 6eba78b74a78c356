//! One request at the edge: headers, body and end in, the answer or the admission out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod charges;
mod doubt;
mod form;
mod limits;
mod proxy;
mod signatures;
