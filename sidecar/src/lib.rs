//! The Lockgate sidecar: accepts authenticated promotion events from the edge and carries the
//! promotions out.
//!
//! | module | owns |
//! | --- | --- |
//! | [`config`] | `lockgate.yaml`, flags and environment variables |
//! | [`yaml`] | YAML text → JSON values with a line for every path |
//! | [`pipelines`] | the watched folder of Pipelines and Secrets, and the snapshot that everybody reads |
//! | [`grpc`] | `lockgate.v1.Gate`, what the filter calls |
//! | [`intake`] | one delivery: verify, judge, persist, answer |
//! | [`ledger`] | what must survive: the trait and its homes |
//! | [`strategy`] | carries one order out: mirrors, branches, pull requests, notifications |
//! | [`promote`] | which promotion runs when, and what its outcome means |
//! | [`http`] | the JSON view, the probes, the metrics page |
//! | [`view`] | typed structs of all that people and programs see |
//! | [`accept`] | how every listener takes connections |
//! | [`metrics`] | every metric the sidecar exports |
//! | [`cli`] | the verbs of the command line |
//! | [`app`] | wires all of the above; the only module that knows them all |

pub mod accept;
pub mod app;
pub mod cli;
pub mod config;
pub mod grpc;
pub mod http;
pub mod intake;
pub mod ledger;
pub mod metrics;
pub mod pipelines;
pub mod promote;
pub mod strategy;
pub mod view;
pub mod yaml;
