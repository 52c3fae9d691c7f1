//! What a directory says, as values: identifiers, envelopes, and the vendor's payloads parsed into
//! [`DirectoryEvent`]s that carry the [`Version`] by which the store decides what is newer.
//!
//! Pure: no socket, no clock but the one handed in, no log line.

pub mod clock;
mod envelope;
mod event;
mod fields;
mod id;
mod payload;
mod peek;
mod reason;
mod scan;
mod version;

pub use envelope::{BodyHash, Envelope, Source};
pub use event::{
    Change, DirectoryEvent, DirectoryState, GroupChange, GroupStatus, OrganizationChange, OrganizationStatus,
    Profile, UserChange, UserStatus,
};
pub use id::{DeliveryId, EnvironmentId, EventId, GroupId, InvalidId, OrganizationId, UserId};
pub use peek::{Lane, Peek, RoutingKey};
pub use reason::ReasonCode;
pub use scan::Unreadable;
pub use version::{OccurredAt, Version};
