//! Settings: values with units, secrets from files, unknown names refused.
//!
//! Both binaries declare their settings with clap; this crate holds what clap does not know: how a
//! duration, a size or a list of networks is written, which names exist at all, where a secret may come
//! from, and which values may never reach production. Nothing here reads a setting on its own except
//! [`resolve`], which looks for `<NAME>_FILE`.

mod cidrs;
pub mod duration;
mod environment;
mod error;
pub mod names;
mod secret;
pub mod size;

pub use cidrs::Cidrs;
pub use duration::Steps;
pub use environment::{DEVELOPMENT_ONLY, Environment, refuse_development_values};
pub use error::SettingError;
pub use names::{ALL, environment_variables, refuse_unknown};
pub use secret::{Secret, resolve, resolve_text};
