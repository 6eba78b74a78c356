//! What Lockgate is about, without any IO: types, parsing and decisions.
//!
//! The filter (wasm32) and the sidecar (host) run this same code, so that a request is judged by one rule wherever it is judged.
//! Everything here is a function of its arguments: the time comes in as `now`, randomness as bytes, YAML as a [`serde_json::Value`]
//! that somebody else has parsed. There is no clock, no file, no logger, no async and no global state.
//!
//! | word | meaning |
//! | --- | --- |
//! | pipeline | a user's `Pipeline` resource: one application and its environments in order ([`pipeline::Pipeline`]) |
//! | environment | one step of a pipeline, such as `dev`; it has targets ([`pipeline::Environment`]) |
//! | target | a namespace, in a cluster where one is named, that runs the application ([`pipeline::TargetId`]) |
//! | endpoint | namespace, pipeline and *reporting* environment: what a sender posts to ([`endpoint::Endpoint`]) |
//! | key | a secret shared with a sender, for the HMAC of a body ([`key::Key`]) |
//! | signature | what a sender puts into `X-Signature` ([`signature::Signature`]) |
//! | event | what Flux says happened to an object ([`event::Event`]) |
//! | delivery | one body posted to one endpoint; the same body again is the same delivery |
//! | revision | what an event reports, and the identity of what is promoted ([`revision::Revision`]) |
//! | version | what is written into a manifest for a revision ([`revision::Version`]) |
//! | decision | what follows from an event and from what is remembered ([`decide::Decision`]) |
//! | promotion | the intent to bring the next environment to a revision, and its life ([`promotion::Promotion`]) |
//! | strategy | how a promotion is carried out ([`pipeline::Strategy`]) |
//! | change | something that happens to a promotion ([`promotion::Change`]) |
//! | reply | status, headers and body that a sender gets ([`reply::Reply`]) |

pub mod decide;
pub mod edge;
pub mod endpoint;
pub mod event;
pub mod key;
pub mod limit;
pub mod naming;
pub mod pipeline;
pub mod promotion;
pub mod reply;
pub mod retry;
pub mod revision;
pub mod secret;
pub mod signature;
pub mod units;
