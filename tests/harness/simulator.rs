//! The sender's side: a company whose people come, move and go, told in the vendor's words.
//!
//! [`Company`] lives through changes, by a seed or by script, and tells each as a [`SimEvent`];
//! [`Plan`] says how badly they travel; [`Sender`] signs, posts and retries them. [`truth`] knows what must
//! come of them: its fold shares no code with the product and never reads a body.

mod adversary;
mod changes;
mod company;
mod delivery;
mod event;
mod names;
mod payload;
mod provider;
mod sender;
mod story;
mod truth;

pub use adversary::history;
pub use company::{Company, GroupRef, OrganizationRef, PersonRef};
pub use delivery::{Delivery, Plan, deliveries};
pub use event::{Fact, SimEvent, Status};
pub use provider::Provider;
pub use sender::{PATH, Report, Sender, VENDOR_SCHEDULE};
pub use truth::{Exported, differences, parse_export, truth};
