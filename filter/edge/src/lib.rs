//! A request until it is believed, without a proxy and without any IO.
//!
//! The filter (wasm32), the sidecar's own check of a signature and `lockgate send` run this same
//! code, so that a request is judged by one rule wherever it is judged. Everything is a function of
//! its arguments: the time comes in as `now`. There is no clock, no file, no logger, no async and
//! no global state.
//!
//! The judgement of one request is an [`Exchange`]: headers and lengths go in, [`Step`]s come out.
//!
//! ```text
//!  headers ─ method, path ─ signature ─ type, encoding ─ declared length ─ pre-auth limit
//!     │                         (a refusal of a small declared body waits for its end)
//!  body ──── counted, hashed once ────────────────┐
//!  end of headers, of body, or trailers ──────────┴─ finish: HMAC ─ endpoint's limit ─ forward
//! ```
//!
//! An endpoint that does not exist takes the path of one that does, with a dummy key, to the same
//! 401. The pre-authentication limit is read at the headers and charged only for what turns out not
//! to be authentic, and a small request with one well-formed signature is verified whatever the
//! limit says: nobody can shut signed events out, not even from the same address. Without an
//! [`Edge`] everything is answered 503: deny until told otherwise.
//!
//! | word | meaning |
//! | --- | --- |
//! | endpoint | namespace, pipeline and *reporting* environment: what a sender posts to ([`endpoint::Endpoint`]) |
//! | key | a secret shared with a sender, for the HMAC of a body ([`key::Key`]) |
//! | signature | what a sender puts into `X-Signature` ([`signature::Signature`]) |
//! | exchange | one request and its answer at the edge ([`Exchange`]) |
//! | delivery | one body posted to one endpoint; the same body again is the same delivery |
//! | reply | status, headers and body that a sender gets ([`reply::Reply`]) |

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
mod sync;
mod table;
pub mod units;

pub use config::{ConfigError, PluginConfig};
pub use exchange::{Admission, Body, Exchange, Refusal, Step, Surroundings};
pub use forward::{Answer, Charge, Forward};
pub use head::Head;
pub use outcome::{AGE_METRIC, ENDPOINTS_METRIC, Outcome, VERSION_METRIC};
pub use settings::{DEFAULT_BODY_LIMIT, DEFAULT_WAIT, Edge, EdgeSettings};
pub use sync::{Change, SYNC_DEADLINE, SyncAnswer, SyncQuestion, Syncer};
pub use table::{EndpointTable, Record};
