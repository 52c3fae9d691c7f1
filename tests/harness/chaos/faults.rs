//! The faults, each a script over a run.

mod broker;
mod crashes;
mod data;
mod database;
mod door;
mod outages;
mod soak;
mod telling;

use std::future::Future;
use std::pin::Pin;

use super::run::Run;
use super::site::Shape;

type Script = for<'a> fn(&'a mut Run) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// One fault.
pub struct Fault {
    /// `F16`.
    pub name: &'static str,
    /// What it does.
    pub title: &'static str,
    /// Whether it stops or starves servers, which must then be private.
    pub breaks_servers: bool,
    /// Whether everything runs before the script begins.
    pub(super) starts: bool,
    pub(super) shape: Shape,
    pub(super) script: Script,
}

/// A fault on the usual site and shared servers: `fault!("F16", "…", script)`, with other fields after it.
macro_rules! fault {
    ($name:literal, $title:literal, $script:ident $(, $field:ident: $value:expr)* $(,)?) => {
        #[allow(clippy::needless_update, reason = "some faults name every field")]
        $crate::chaos::faults::Fault {
            $($field: $value,)*
            ..$crate::chaos::faults::Fault::usual($name, $title, |run| Box::pin($script(run)))
        }
    };
}
use fault;

impl Fault {
    fn usual(name: &'static str, title: &'static str, script: Script) -> Self {
        Self { name, title, breaks_servers: false, starts: true, shape: Shape::default(), script }
    }
}

/// Every fault, by letter and number.
pub fn all() -> Vec<Fault> {
    let groups = [
        door::faults(),
        crashes::faults(),
        broker::faults(),
        database::faults(),
        data::faults(),
        outages::faults(),
        soak::faults(),
    ];
    let mut faults: Vec<Fault> = groups.into_iter().flatten().collect();
    faults.sort_by_key(|fault| {
        let (letter, number) = fault.name.split_at(1);
        (letter, number.parse::<u32>().unwrap_or(u32::MAX))
    });
    faults
}

/// The fault of this name.
///
/// # Errors
///
/// There is none; the error lists those there are.
pub fn find(name: &str) -> anyhow::Result<Fault> {
    let known = || all().iter().map(|fault| fault.name).collect::<Vec<_>>().join(" ");
    let found = all().into_iter().find(|fault| fault.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| anyhow::anyhow!("there is no fault {name}; there are {}", known()))
}
