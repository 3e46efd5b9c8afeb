//! The behaviours of Knative, without the cluster: manifests, filters, delivery, autoscaling, schedules.
//!
//! Everything here is pure. Nothing reads a clock, a file or the network: time is an argument, and what has to be done
//! about a decision is the caller's business.
//!
//! * [`manifest::Application`] is what a set of YAML documents asks for.
//! * [`filter::Filter`] says whether a trigger wants an event; [`cesql::Expression`] is its language.
//! * [`delivery::DeliveryPolicy`] says whether and when to try again, and what a dead letter carries.
//! * [`autoscaler`] turns measured load into a number of replicas.
//! * [`rollout::Rollout`] says how traffic moves to a new revision.
//! * [`cron::Schedule`] says when a ping source fires.

mod attribute;
pub mod autoscaler;
pub mod cesql;
pub mod cron;
pub mod delivery;
pub mod filter;
mod go_duration;
pub mod manifest;
pub mod rollout;
