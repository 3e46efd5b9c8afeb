//! Knative Eventing: the broker's ingress, its journal, and delivery to triggers.

mod attempt;
mod dead_letters;
mod delivery;
mod delivery_record;
mod dispatch;
pub(crate) mod eventing;
pub(crate) mod flows;
mod ingress;
mod journal;
mod listing;
mod ping;
mod queue;
mod replay;
mod schema;
mod shared;
mod statements;
mod target;
mod topology;
mod upkeep;

pub use dead_letters::{DeadLetter, dead_letters, discard, redrive};
pub use delivery_record::{Attempt, DeliveryRecord, DeliveryState, delivery_records};
pub use journal::JournalError;
pub use listing::{EventQuery, KeptEvent, kept_events};
pub use replay::{ReplayError, ReplayFrom, ReplayRequest, replay};

pub(crate) use attempt::Sender;
pub(crate) use dispatch::Delivering;
pub(crate) use ingress::Broker;
pub(crate) use journal::Journal;
pub(crate) use queue::{Replies, TriggerQueue, TriggerSpec};
pub(crate) use target::{Target, TargetSpec};
pub(crate) use topology::Topology;
