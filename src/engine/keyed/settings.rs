//! What users say of a state, before the job runs.

use super::expiry::Expiry;
use crate::error::{BoxError, JobProblem};
use crate::migrate::{Chain, Migration, StateDescription};
use crate::model::{OperatorUid, StateKind, StateName, Value};
use crate::state::{Key, State};
use std::collections::BTreeMap;

/// The name of a state, its schema version, and the migrations that lead to its type.
pub(crate) struct StateSettings<S: State> {
    pub(crate) name: String,
    pub(crate) chain: Chain<S>,
    /// When its values expire, if they do.
    pub(crate) expiry: Option<Expiry>,
}

impl<S: State> Clone for StateSettings<S> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), chain: self.chain.clone(), expiry: self.expiry }
    }
}

impl<S: State> StateSettings<S> {
    /// Makes the settings of a state of which nothing else is said.
    pub(crate) fn new(name: &str, version: u32) -> Self {
        Self { name: name.to_owned(), chain: Chain::current(version), expiry: None }
    }

    /// Adds a migration; one that makes `S` says which schema version `S` is.
    pub(crate) fn migrate<M: Migration>(&mut self, migration: M) {
        let chain = self.chain.clone().then(migration);
        let makes_current = std::any::TypeId::of::<M::To>() == std::any::TypeId::of::<S>();
        self.chain = if makes_current { chain.at_version(M::TO) } else { chain };
    }

    /// Says which schema version `S` is.
    pub(crate) fn at_version(&mut self, version: u32) {
        self.chain = self.chain.clone().at_version(version);
    }

    pub(crate) fn state_name(&self) -> Result<StateName, JobProblem> {
        StateName::new(&self.name).ok_or_else(|| JobProblem::BadName { name: self.name.clone() })
    }

    /// Describes the state, refusing what cannot run.
    pub(crate) fn describe<K: Key>(
        &self,
        uid: &OperatorUid,
        kind: StateKind,
    ) -> Result<StateDescription, JobProblem> {
        let name = self.state_name()?;
        self.chain.check(uid.as_str())?;
        let expires = self.expiry.is_some();
        Ok(StateDescription { expires, ..self.chain.describe(name, kind, Some(K::data_type())) })
    }

    /// Refuses an expiry for a state that cannot have one; `what` it is.
    pub(crate) fn check_permanent(&self, uid: &OperatorUid, what: &str) -> Result<(), JobProblem> {
        match self.expiry {
            None => Ok(()),
            Some(_) => {
                let reason = format!("state `{}`: {what} does not expire", self.name);
                Err(JobProblem::BadState { uid: uid.to_string(), reason })
            }
        }
    }

    /// Describes operator state, a list of values, refusing what cannot run.
    pub(crate) fn describe_list(&self, uid: &OperatorUid) -> Result<StateDescription, JobProblem> {
        let name = self.state_name()?;
        self.chain.check(uid.as_str())?;
        Ok(self.chain.describe(name, StateKind::List, None))
    }
}

/// Leads a list to its next version by leading each of its elements there; elements that are let go leave it.
pub(crate) struct MigrateEach<M>(pub(crate) M);

impl<M: Migration> Migration for MigrateEach<M> {
    type From = Vec<M::From>;
    type To = Vec<M::To>;
    const FROM: u32 = M::FROM;
    const TO: u32 = M::TO;
    const REVISION: u32 = M::REVISION;
    const DROPS: &'static [&'static str] = M::DROPS;

    fn migrate(&self, key: &Value, old: Self::From) -> Result<Option<Self::To>, BoxError> {
        let elements = old.into_iter().filter_map(|element| self.0.migrate(key, element).transpose());
        let elements = elements.collect::<Result<Vec<_>, _>>()?;
        Ok((!elements.is_empty()).then_some(elements))
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

/// Leads a map to its next version by leading each of its values there; entries that are let go leave it.
pub(crate) struct MigrateEachValue<N, M>(pub(crate) M, pub(crate) std::marker::PhantomData<fn() -> N>);

impl<N: Key + Ord, M: Migration> Migration for MigrateEachValue<N, M> {
    type From = BTreeMap<N, M::From>;
    type To = BTreeMap<N, M::To>;
    const FROM: u32 = M::FROM;
    const TO: u32 = M::TO;
    const REVISION: u32 = M::REVISION;
    const DROPS: &'static [&'static str] = M::DROPS;

    fn migrate(&self, key: &Value, old: Self::From) -> Result<Option<Self::To>, BoxError> {
        let entry = |(name, value)| self.0.migrate(key, value).transpose().map(|new| Ok((name, new?)));
        let entries = old.into_iter().filter_map(entry).collect::<Result<Self::To, BoxError>>()?;
        Ok((!entries.is_empty()).then_some(entries))
    }

    fn name(&self) -> String {
        self.0.name()
    }
}
