//! Amazon SQS in the place of a broker.
//!
//! Each trigger has a queue; whoever emits an event sends it to the queues of all triggers that want it. The routing
//! table is made of the same manifests that Knative gets: a trigger's filter says what enters its queue, its delivery
//! says how often and after which waits a message is tried, and its dead letter sink is a queue too.
//!
//! * [`Routes`] is the table: which queues there are, who hears them, and what goes in.
//! * [`Queues`] sends, postpones and buries messages.
//! * An event over [`CLAIM_BYTES`] leaves its data in S3 and carries a reference to them (`dataref`, a documented
//!   CloudEvents extension).

mod args;
mod claims;
mod error;
mod message;
mod queues;
mod routes;

pub use args::{CLAIM_BYTES, SqsArgs};
pub use claims::CLAIM_BYTES_MAX;
pub use error::{Error, OpenError};
pub use queues::{Inbound, Queues};
pub use routes::{MESSAGE_GROUP, Queue, Routes};
