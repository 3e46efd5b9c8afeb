//! Knative Eventing: the broker's ingress, its journal, and delivery to triggers.

mod attempt;
mod dead_letters;
mod delivery;
mod delivery_record;
mod dispatch;
mod ingress;
mod journal;
mod ping;
mod schema;
mod target;

pub use dead_letters::{DeadLetter, dead_letters, redrive};
pub use delivery_record::{Attempt, DeliveryRecord, DeliveryState, delivery_records};
pub use journal::JournalError;

pub(crate) use attempt::Sender;
pub(crate) use dispatch::{TriggerSpec, Triggers};
pub(crate) use ingress::{Broker, IngressConfig};
pub(crate) use journal::Journal;
pub(crate) use ping::run as run_ping;
pub(crate) use target::{Target, TargetSpec};
