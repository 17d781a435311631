//! The current type of a state, the steps of code that lead to it, and their use on stored columns.

use super::Migration;
use super::back::{AnyColumn, AnyReader};
use super::code::Code;
use super::description::{StateDescription, StepDescription};
use super::project::project;
use super::route::{RouteDecision, RouteError, route_with};
use crate::error::{BoxError, Error, JobProblem};
use crate::model::{
    Change, ColumnMismatch, DataType, Evolution, Facts, NoFacts, OperatorUid, Schema, SchemaVersion,
    StateKind, StateName, Value, value_at,
};
use crate::state::{Read, State};
use arrow::array::ArrayRef;
use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The type `S` that a job works with today, and the migrations that lead to it from older ones.
///
/// # Examples
///
/// ```
/// use pitlane::migrate::Chain;
/// use pitlane::model::{DataType, Schema, SchemaVersion};
///
/// let chain = Chain::<(String, i64)>::current(2);
/// let stored = Schema {
///     version: SchemaVersion(1),
///     data_type: DataType::Tuple(vec![DataType::String, DataType::I32]),
/// };
/// let route = chain.route(&stored).expect("each i32 is an i64");
/// assert_eq!(route.changes()[0].to_string(), "value.1: i32 -> i64");
/// ```
pub struct Chain<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    current: Schema,
    /// Sorted by the version that they start from.
    steps: Vec<Arc<dyn Step<S>>>,
}

impl<S> Clone for Chain<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<S> fmt::Debug for Chain<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_list();
        for step in &self.inner.steps {
            shown.entry(&step.describe());
        }
        shown.entry(&self.inner.current).finish()
    }
}

impl<S: State> Chain<S> {
    /// Makes the chain of a type that has schema version `version` and no migrations.
    pub fn current(version: u32) -> Self {
        let current = Schema { version: SchemaVersion(version), data_type: S::data_type() };
        Self { inner: Arc::new(Inner { current, steps: Vec::new() }) }
    }

    /// Adds a migration; the order of adding does not matter.
    #[must_use]
    pub fn then<M: Migration>(self, migration: M) -> Self {
        let mut steps = self.inner.steps.clone();
        let at = steps.partition_point(|step| step.describe().from.version.0 <= M::FROM);
        steps.insert(at, Arc::new(migration));
        Self { inner: Arc::new(Inner { current: self.inner.current.clone(), steps }) }
    }

    /// Says which schema version the type is.
    #[must_use]
    pub fn at_version(self, version: u32) -> Self {
        let current = Schema { version: SchemaVersion(version), ..self.inner.current.clone() };
        Self { inner: Arc::new(Inner { current, steps: self.inner.steps.clone() }) }
    }

    /// Checks that the migrations lead one into the next and the last one to `S`, so that a gap is found
    /// before anything starts.
    ///
    /// # Errors
    ///
    /// [`JobProblem::BrokenChain`], for the operator `uid`.
    pub fn check(&self, uid: &str) -> Result<(), JobProblem> {
        let broken = |detail| Err(JobProblem::BrokenChain { uid: uid.to_owned(), detail });
        let current = &self.inner.current;
        let end = (current.clone(), TypeId::of::<S>(), "the state's type".to_owned());
        for (i, step) in self.inner.steps.iter().enumerate() {
            let StepDescription { name, from, to, .. } = step.describe();
            if from.version >= to {
                let from = from.version;
                let advice = format!(
                    "a type without `#[state(version = ..)]`, such as a number or a tuple, counts as version 1: say \
                     `const TO: u32 = {};` in the migration",
                    from.0 + 1
                );
                let advice = if to.0 == 1 { format!("; {advice}") } else { String::new() };
                return broken(format!("`{name}` leads from version {from} to {to}{advice}"));
            }
            let next = self.inner.steps.get(i + 1);
            let (schema, taken, taker) = next.map_or_else(
                || end.clone(),
                |next| {
                    let StepDescription { name, from, .. } = next.describe();
                    (from, next.types().0, format!("`{name}`"))
                },
            );
            if schema.version == from.version && next.is_some() {
                return broken(format!("`{name}` and {taker} both start from version {}", from.version));
            }
            if schema.version != to {
                let wanted = schema.version;
                return broken(if next.is_some() {
                    format!("`{name}` leads to version {to}, the next one, {taker}, starts from {wanted}")
                } else {
                    format!("`{name}`, the last one, leads to version {to}, {taker} has version {wanted}")
                });
            }
            if step.types().1 != taken {
                let (made, taken) = (step.made(), &schema.data_type);
                return broken(if made == *taken {
                    format!("`{name}` and {taker} have two Rust types for version {to}: {taken}")
                } else {
                    format!("`{name}` makes version {to} as {made}, {taker} has it as {taken}")
                });
            }
        }
        Ok(())
    }

    /// Returns the schema of `S`.
    pub fn schema(&self) -> Schema {
        self.inner.current.clone()
    }

    /// Returns the schemas at which stored values can enter: what each migration takes, and the current one.
    pub fn stages(&self) -> Vec<Schema> {
        let steps = self.inner.steps.iter().map(|step| step.describe().from);
        steps.chain([self.schema()]).collect()
    }

    /// Returns the migrations, without their code, oldest first.
    pub fn steps(&self) -> Vec<StepDescription> {
        self.inner.steps.iter().map(|step| step.describe()).collect()
    }

    /// Returns the migrations themselves, oldest first.
    pub(super) fn links(&self) -> &[Arc<dyn Step<S>>] {
        &self.inner.steps
    }

    /// Describes a state that has this chain, for plans made without the job's code.
    pub fn describe(&self, name: StateName, kind: StateKind, key: Option<DataType>) -> StateDescription {
        let code = Code(Some(Arc::new(self.clone())));
        StateDescription { name, kind, key, schema: self.schema(), steps: self.steps(), expires: false, code }
    }

    /// Decides how values that were stored with the schema `stored` become values of type `S`.
    ///
    /// # Errors
    ///
    /// Why they do not.
    pub fn route(&self, stored: &Schema) -> Result<Route<S>, RouteError> {
        self.route_with(stored, &NoFacts)
    }

    /// Decides as [`route`](Self::route), and asks for facts about the stored values where the types alone do not allow a
    /// change.
    ///
    /// # Errors
    ///
    /// Why they do not.
    pub fn route_with(&self, stored: &Schema, facts: &dyn Facts) -> Result<Route<S>, RouteError> {
        let decision = route_with(&self.stages(), stored, facts)?;
        Ok(Route { chain: self.clone(), decision, stored: stored.clone() })
    }
}

/// The way of values with one stored schema to the current type.
pub struct Route<S> {
    chain: Chain<S>,
    decision: RouteDecision,
    stored: Schema,
}

impl<S> Clone for Route<S> {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), decision: self.decision.clone(), stored: self.stored.clone() }
    }
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("decision", &self.decision).field("stored", &self.stored).finish()
    }
}

impl<S: State> Route<S> {
    /// Returns whether values are stored as `S` is today: same version, same type, no migration.
    pub fn is_identity(&self) -> bool {
        self.decision.same_schema && self.steps().is_empty()
    }

    /// Returns the schema that the values are stored with.
    pub fn stored(&self) -> &Schema {
        &self.stored
    }

    /// Returns what happens by rules alone, before the first step of code.
    pub fn changes(&self) -> &[Change] {
        &self.decision.evolution.changes
    }

    /// Returns how the values become current ones, if no migration is needed.
    pub(crate) fn by_rules_alone(&self) -> Option<&Evolution> {
        self.steps().is_empty().then_some(&self.decision.evolution)
    }

    /// Opens stored values, the column of a state file.
    ///
    /// # Errors
    ///
    /// [`ColumnMismatch`] if the column does not hold values of the stored type.
    pub fn open(&self, values: &ArrayRef) -> Result<OldValues<S>, ColumnMismatch> {
        let projected = project(&self.decision.evolution, values)?;
        let steps = self.steps();
        let reader = match steps.first() {
            None => Opened::Current(S::Reader::new(&projected)?),
            Some(first) => Opened::Old(first.open(&projected)?),
        };
        let stored = values.clone();
        let stored_type = self.stored.data_type.clone();
        Ok(OldValues { reader, steps: steps.into(), stored, stored_type })
    }

    fn steps(&self) -> &[Arc<dyn Step<S>>] {
        &self.chain.inner.steps[self.decision.entry..]
    }
}

/// Stored values that are read as values of the current type, row by row and in any order.
pub struct OldValues<S: State> {
    reader: Opened<S>,
    steps: Arc<[Arc<dyn Step<S>>]>,
    stored: ArrayRef,
    stored_type: DataType,
}

enum Opened<S: State> {
    Current(S::Reader),
    Old(Box<dyn OldReader<S>>),
}

impl<S: State> fmt::Debug for OldValues<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldValues").field("rows", &self.stored.len()).finish_non_exhaustive()
    }
}

impl<S: State> OldValues<S> {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// Reads a value that no migration has to run for; `None` if one has to.
    #[inline]
    pub(super) fn read_current(&self, row: usize) -> Option<S> {
        match &self.reader {
            Opened::Current(reader) => Some(reader.read(row)),
            Opened::Old(_) => None,
        }
    }

    /// Reads a value and takes it through the migrations; `None` if one lets the key go.
    ///
    /// `key` is asked only if there is a migration to run.
    ///
    /// # Errors
    ///
    /// The failure of a migration.
    ///
    /// # Panics
    ///
    /// If `row` is not below the number of rows.
    pub fn read(&self, row: usize, key: &dyn Fn() -> Value) -> Result<Option<S>, StepFailure> {
        match &self.reader {
            Opened::Current(reader) => Ok(Some(reader.read(row))),
            Opened::Old(reader) => reader.read(row, &key(), &self.steps).map_err(|failed| StepFailure {
                from: failed.from,
                to: failed.to,
                value: value_at(&self.stored, &self.stored_type, row).ok(),
                source: failed.source,
            }),
        }
    }
}

/// A migration did not answer for a value.
#[derive(Debug)]
pub struct StepFailure {
    /// The schema version that it starts from.
    pub from: SchemaVersion,
    /// The schema version that it leads to.
    pub to: SchemaVersion,
    /// The value as it was stored, before any migration.
    pub value: Option<Value>,
    /// What it said.
    pub source: BoxError,
}

/// Says what happened, without the key and the value.
impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "migration from version {} to {} failed: {}", self.from, self.to, self.source)
    }
}

impl StepFailure {
    /// Says which state and which key it is about: the error that the job stops with.
    pub fn into_error(self, uid: OperatorUid, state: StateName, key: &Value) -> Error {
        let value = self.value.map_or("that cannot be shown".to_owned(), |value| value.to_string());
        let (from, to, source) = (self.from, self.to, self.source);
        Error::MigrationFailed { uid, state, key: key.to_string(), value, from, to, source }
    }
}

/// The failure of a step that does not know what was stored.
pub(super) struct Failed {
    pub(super) from: SchemaVersion,
    pub(super) to: SchemaVersion,
    pub(super) source: BoxError,
}

/// Runs a user's migration, to whose caller a panic is a failure like any other: it knows the key and the value.
fn caught<T>(run: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(text.map_or_else(|| "it panicked".into(), |text| format!("it panicked: {text}").into()))
    })
}

/// A migration in a chain whose inner types only it knows; it hands on to the next, so that a value passes
/// all steps on the stack.
pub(super) trait Step<S>: Send + Sync {
    /// Its name and versions.
    fn describe(&self) -> StepDescription;

    /// What it takes and what it makes.
    fn types(&self) -> (TypeId, TypeId);

    /// The type that it makes.
    fn made(&self) -> DataType;

    /// Opens a column with values of the type that it takes.
    fn open(&self, values: &ArrayRef) -> Result<Box<dyn OldReader<S>>, ColumnMismatch>;

    /// Takes the value out of `old`, an `Option` of the type that it takes, through itself and `rest`.
    fn run(&self, old: &mut dyn Any, key: &Value, rest: &[Arc<dyn Step<S>>]) -> Result<Option<S>, Failed>;

    /// Opens a column with values of the type that it takes, without knowing what becomes of them.
    fn open_taken(&self, values: &ArrayRef) -> Result<Box<dyn AnyReader>, ColumnMismatch>;

    /// Takes the value out of `new`, an `Option` of the type that it makes, back; gives one of the type that it takes.
    fn back(&self, new: &mut dyn Any, key: &Value) -> Result<Option<Box<dyn Any>>, Failed>;

    /// Begins a column with values of the type that it takes.
    fn column(&self) -> Box<dyn AnyColumn>;
}

impl<S: State, M: Migration> Step<S> for M {
    fn describe(&self) -> StepDescription {
        let from = Schema { version: SchemaVersion(M::FROM), data_type: M::From::data_type() };
        let drops = M::DROPS.iter().map(|&place| place.to_owned()).collect();
        StepDescription {
            name: self.name(),
            from,
            to: SchemaVersion(M::TO),
            revision: M::REVISION,
            drops,
            has_down: M::HAS_DOWN,
        }
    }

    fn types(&self) -> (TypeId, TypeId) {
        (TypeId::of::<M::From>(), TypeId::of::<M::To>())
    }

    fn made(&self) -> DataType {
        M::To::data_type()
    }

    fn open(&self, values: &ArrayRef) -> Result<Box<dyn OldReader<S>>, ColumnMismatch> {
        let reader = <M::From as State>::Reader::new(values)?;
        Ok(Box::new(Entry::<M::From> { reader, taken: PhantomData }))
    }

    fn run(&self, old: &mut dyn Any, key: &Value, rest: &[Arc<dyn Step<S>>]) -> Result<Option<S>, Failed> {
        let old = old.downcast_mut::<Option<M::From>>().and_then(Option::take);
        let old = old.expect("`check` has compared the types of neighbouring steps");
        let (from, to) = (SchemaVersion(M::FROM), SchemaVersion(M::TO));
        let made = caught(|| self.migrate(key, old)).map_err(|source| Failed { from, to, source })?;
        let mut made = Some(match made {
            None => return Ok(None),
            Some(made) => made,
        });
        match rest.split_first() {
            Some((next, rest)) => next.run(&mut made, key, rest),
            None => {
                let made: &mut dyn Any = &mut made;
                Ok(made.downcast_mut::<Option<S>>().and_then(Option::take))
            }
        }
    }

    fn open_taken(&self, values: &ArrayRef) -> Result<Box<dyn AnyReader>, ColumnMismatch> {
        super::back::reader::<M::From>(values)
    }

    fn back(&self, new: &mut dyn Any, key: &Value) -> Result<Option<Box<dyn Any>>, Failed> {
        let new = new.downcast_mut::<Option<M::To>>().and_then(Option::take);
        let new = new.expect("`check` has compared the types of neighbouring steps");
        let (from, to) = (SchemaVersion(M::TO), SchemaVersion(M::FROM));
        let made = caught(|| self.down(key, new)).map_err(|source| Failed { from, to, source })?;
        Ok(made.map(|made| Box::new(Some(made)) as Box<dyn Any>))
    }

    fn column(&self) -> Box<dyn AnyColumn> {
        super::back::column::<M::From>()
    }
}

/// An opened column with values of the type that the first step takes.
pub(super) trait OldReader<S>: Send {
    fn read(&self, row: usize, key: &Value, steps: &[Arc<dyn Step<S>>]) -> Result<Option<S>, Failed>;
}

struct Entry<T: State> {
    reader: T::Reader,
    taken: PhantomData<fn() -> T>,
}

impl<S: State, T: State> OldReader<S> for Entry<T> {
    fn read(&self, row: usize, key: &Value, steps: &[Arc<dyn Step<S>>]) -> Result<Option<S>, Failed> {
        let mut old = Some(self.reader.read(row));
        let (first, rest) = steps.split_first().expect("values that need no step are read as they are");
        first.run(&mut old, key, rest)
    }
}
