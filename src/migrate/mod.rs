//! Old types to new ones: what a user writes, what happens by itself, and what is decided before anything starts.
//!
//! A state value has a schema, stored beside the data. A job declares the schema that it works with and the
//! migrations that lead to it; [`Chain`] puts both together, [`route_over`] decides for each stored schema how
//! its values get there, and [`plan`](plan()) says the same of a whole savepoint without the job's code.

mod back;
mod chain;
mod code;
mod description;
mod facts;
mod history;
mod insert;
mod laws;
pub mod lazy;
mod lineage;
mod plan;
mod plan_text;
mod project;
mod rename;
mod retire;
mod route;
mod rows;
mod status;
#[cfg(test)]
mod tests;
mod way_back;

pub use chain::{Chain, OldValues, Route, StepFailure};
pub(crate) use code::CodeRoute;
pub use code::{Code, MapFailure, MapValues, Mapped};
pub use description::{JobDescription, OperatorDescription, StateDescription, StepDescription};
pub use facts::StoredFacts;
pub use history::{StateHistory, VersionHistory, VersionPoint, version_history};
pub use insert::KeyedRows;
pub use laws::{BrokenLaw, Law, Laws, laws};
pub(crate) use lineage::records_ahead;
pub use lineage::{ChangedMigration, changed_migrations, lineage};
pub use plan::{
    Cost, OperatorPlan, Outcome, Plan, SchemaPlan, StatePlan, StepPlan, Verdict, Way, plan, plan_savepoint,
};
pub use project::project;
pub(crate) use project::{assemble, entries_of, list_of, parts_of, repeated, unlike};
pub(crate) use rename::adopted;
#[cfg(any(feature = "engine", test))]
pub(crate) use rename::check as check_renames;
pub use rename::{Place, Rename, adopt};
pub use retire::{Left, OldVersion, Retirement, retire};
pub use route::{RouteDecision, RouteError, route_over, route_with};
pub use rows::{Elements, Rows};
pub use status::{MigrationStatus, StateStatus, VersionRows, status};
pub use way_back::{Back, StateBack, WayBack};

use crate::error::BoxError;
use crate::model::Value;
use crate::state::State;

/// Leads one version of a state's type to the next.
///
/// A deterministic function of key and old value: it looks at nothing else, so that it gives the same result
/// whether it runs when a key is first touched or offline over all keys. A type is named by the schema version
/// in which it first appeared, a migration by the one it leads to.
///
/// # Examples
///
/// ```
/// use pitlane::migrate::Migration;
/// use pitlane::model::Value;
/// use pitlane::BoxError;
///
/// /// Adds the worst delay; carriers counted under version 1 start it at 0.
/// pub struct CountToV2;
///
/// impl Migration for CountToV2 {
///     type From = (String, i32);
///     type To = (String, i64, i32);
///     const TO: u32 = 2;
///
///     fn migrate(&self, _key: &Value, (carrier, delayed): Self::From) -> Result<Option<Self::To>, BoxError> {
///         Ok(Some((carrier, 0, delayed)))
///     }
/// }
/// ```
pub trait Migration: Send + Sync + 'static {
    /// The type that it takes.
    type From: State;
    /// The type that it makes.
    type To: State;
    /// The schema version that it takes.
    const FROM: u32 = <Self::From as State>::VERSION;
    /// The schema version that it makes.
    const TO: u32 = <Self::To as State>::VERSION;
    /// Counts the changes of what it does: a new one makes it another migration.
    ///
    /// Savepoints note name, types and revision of what their state went through. A migration that was used and is
    /// changed under the same revision would give one version two meanings, and nobody could tell; with a new one it
    /// is noticed.
    const REVISION: u32 = 1;
    /// The parts of old values that it lets go, such as `value.at`: `pitlane plan` says so before anything is lost.
    const DROPS: &'static [&'static str] = &[];
    /// Whether [`down`](Self::down) leads back, so that a release can be rolled back without losing what came since.
    const HAS_DOWN: bool = false;

    /// Makes the new value; `None` lets the key go.
    ///
    /// # Errors
    ///
    /// An error stops the job with the key and the value shown; nothing is changed then.
    fn migrate(&self, key: &Value, old: Self::From) -> Result<Option<Self::To>, BoxError>;

    /// Makes an old value of a new one, for a release that is rolled back: `./job migrate SAVEPOINT NEW --back` takes
    /// all rows back by it. `None` lets the key go. Say [`HAS_DOWN`](Self::HAS_DOWN) with it.
    ///
    /// # Errors
    ///
    /// Always, unless it is written; an error stops with the key and the value shown, and nothing is written.
    fn down(&self, _key: &Value, _new: Self::To) -> Result<Option<Self::From>, BoxError> {
        Err(format!("`{}` has no way back", self.name()).into())
    }

    /// Returns its name for people: that of its type.
    fn name(&self) -> String {
        short_name::<Self>()
    }
}

/// Returns the last segment of a type's path.
fn short_name<T: ?Sized>() -> String {
    let name = std::any::type_name::<T>();
    let plain = name.split('<').next().unwrap_or(name);
    plain.rsplit("::").next().unwrap_or(plain).to_owned()
}
