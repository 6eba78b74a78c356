//! A request until it is believed, without a proxy and without any IO.
//!
//! The filter (wasm32), the sidecar's own check of a signature and `lockgate send` run this same
//! code, so that a request is judged by one rule wherever it is judged. Everything is a function of
//! its arguments: the time comes in as `now`. There is no clock, no file, no logger, no async and
//! no global state.
//!
//! The judgement of one request is an [`Exchange`]: headers, body and end go in, [`Step`]s come
//! out. What a worker of the proxy keeps between requests is a [`Worker`].
//!
//! ```text
//!  headers ─ method, path ─ signature ─ type, encoding ─ declared length ─ pre-auth limit
//!     │                         (a refusal of a small declared body waits for its end)
//!  body ──── counted, hashed once; large ones need a place ─┐
//!  end of headers, of body, or trailers ────────────────────┴─ HMAC ─ who pays ─ limit ─ forward
//!  answer ── who really pays ─ relayed
//!  end of the stream ── unfinished: its source pays
//! ```
//!
//! Rules that hold throughout:
//! - An endpoint that does not exist takes the path of one that does, with dummy keys, to the same
//!   401. While it is not sure that it does not exist, that 401 is a 503, for all alike.
//! - The pre-authentication limit is read at the headers and charged for what turns out not to be
//!   authentic, or not to be a fresh event. A small request with one well-formed signature is
//!   verified whatever that limit says: nobody can shut fresh signed events out, not even from the
//!   same address.
//! - The endpoint's limit is charged for fresh events only. Old and repeated messages are forwarded
//!   as long as their source has budget.
//! - Without an [`Edge`] everything is answered 503: deny until told otherwise.
//!
//! | word | meaning |
//! | --- | --- |
//! | endpoint | namespace, pipeline and *reporting* environment: what a sender posts to ([`endpoint::Endpoint`]) |
//! | key | a secret shared with a sender, for the HMAC of a body ([`key::Key`]) |
//! | signature | what a sender puts into `X-Signature` ([`signature::Signature`]) |
//! | exchange | one request and its answer at the edge ([`Exchange`]) |
//! | delivery | one body posted to one endpoint; the same body again is the same delivery |
//! | charge | whose limit a delivery counts against: the endpoint's or its source's ([`Charge`]) |
//! | reply | status, headers and body that a sender gets ([`reply::Reply`]) |

#![deny(missing_docs)]

mod config;
pub mod endpoint;
mod exchange;
mod forward;
mod head;
pub mod key;
pub mod limit;
mod outcome;
pub mod reply;
mod settings;
pub mod signature;
mod signed_time;
mod sorted;
mod sync;
mod table;
pub mod units;
mod watch;
mod worker;

pub use config::{ConfigError, PluginConfig};
pub use exchange::{Exchange, Refusal, Step, Surroundings};
pub use forward::{Answer, Charge, Forward};
pub use head::Head;
pub use outcome::{AGE_METRIC, ENDPOINTS_METRIC, Outcome, SYNC_FAILED_METRIC, VERSION_METRIC};
pub use settings::{Certainty, DEFAULT_BODY_LIMIT, DEFAULT_WAIT, Edge, EdgeSettings, Freshness};
pub use sync::{Change, SYNC_DEADLINE, SyncAnswer, SyncQuestion, Syncer};
pub use table::{EndpointTable, Record};
pub use watch::Watch;
pub use worker::Worker;
