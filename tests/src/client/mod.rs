//! Clients of the edge: whole requests over HTTP/1.1 and HTTP/2, and raw bytes for what no client
//! would send.

mod answer;
mod edge;
mod h2;
mod request;

pub use answer::Answer;
pub use edge::{Connection, Edge, plain, plain_get};
pub use request::{Body, Request};
