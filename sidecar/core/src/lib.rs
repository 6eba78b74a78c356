//! What an authentic event leads to, without any IO: pipelines, events, revisions, decisions, the
//! life of a promotion.
//!
//! Everything here is a function of its arguments: the time comes in as `now`, randomness as bytes,
//! YAML as a [`serde_json::Value`] that was parsed elsewhere. There is no clock, no file, no
//! logger, no async and no global state. What happens to a request before it is believed is in
//! [`lockgate_edge`].
//!
//! | word | meaning |
//! | --- | --- |
//! | pipeline | a user's `Pipeline` resource: one application and its environments in order ([`pipeline::Pipeline`]) |
//! | environment | one step of a pipeline, such as `dev`; it has targets ([`pipeline::Environment`]) |
//! | target | a namespace, in a cluster where one is named, that runs the application ([`pipeline::TargetId`]) |
//! | event | what Flux says happened to an object ([`event::Event`]) |
//! | revision | what an event reports, and the identity of what is promoted ([`revision::Revision`]) |
//! | version | what is written into a manifest for a revision ([`revision::Version`]) |
//! | decision | what follows from an event and from what is remembered ([`decide::Decision`]) |
//! | promotion | the intent to bring the next environment to a revision, and its life ([`promotion::Promotion`]) |
//! | strategy | how a promotion is carried out ([`pipeline::Strategy`]) |
//! | change | something that happens to a promotion ([`promotion::Change`]) |
//! | promotion branch | the branch that carries a promotion; whose it is decides what may be done to it ([`branch::Owner`]) |

pub mod address;
pub mod branch;
pub mod decide;
pub mod event;
pub mod naming;
pub mod pipeline;
pub mod promotion;
pub mod retry;
pub mod revision;
pub mod secret;
