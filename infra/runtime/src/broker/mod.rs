//! Knative Eventing: the broker's ingress, its journal, and delivery to triggers.

mod attempt;
mod dead_letters;
mod delivery;
mod delivery_record;
mod dispatch;
pub(crate) mod flows;
mod ingress;
mod journal;
mod ping;
mod queue;
mod replay;
mod schema;
mod target;
mod upkeep;

pub use dead_letters::{DeadLetter, dead_letters, redrive};
pub use delivery_record::{Attempt, DeliveryRecord, DeliveryState, delivery_records};
pub use journal::JournalError;
pub use replay::{ReplayError, ReplayFrom, ReplayRequest, replay};

pub(crate) use attempt::Sender;
pub(crate) use dispatch::Triggers;
pub(crate) use ingress::{Broker, IngressConfig};
pub(crate) use journal::Journal;
pub(crate) use ping::run as run_ping;
pub(crate) use queue::{Replies, TriggerSpec};
pub(crate) use target::{Target, TargetSpec};
