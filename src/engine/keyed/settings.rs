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
    /// The version that `S` was said to be, apart from what migrations say.
    declared: Option<u32>,
    /// When its values expire, if they do.
    pub(crate) expiry: Option<Expiry>,
}

impl<S: State> Clone for StateSettings<S> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            chain: self.chain.clone(),
            declared: self.declared,
            expiry: self.expiry,
        }
    }
}

impl<S: State> StateSettings<S> {
    /// Makes the settings of a state of which nothing else is said.
    pub(crate) fn new(name: &str, version: u32) -> Self {
        Self { name: name.to_owned(), chain: Chain::current(version), declared: None, expiry: None }
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
        self.declared = Some(version);
    }

    /// Refuses migrations that do not lead to the type, or not to the version that it was said to be.
    fn check(&self, uid: &OperatorUid) -> Result<(), JobProblem> {
        self.chain.check(uid.as_str())?;
        let (leads_to, steps) = (self.chain.schema().version.0, self.chain.steps());
        match (self.declared.filter(|declared| *declared != leads_to), steps.last()) {
            (Some(declared), Some(last)) => {
                let detail = format!(
                    "`{}` leads to version {leads_to}, the state says that it has {declared}",
                    last.name
                );
                Err(JobProblem::BrokenChain { uid: uid.to_string(), detail })
            }
            _ => Ok(()),
        }
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
        self.check(uid)?;
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
        self.check(uid)?;
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
    const HAS_DOWN: bool = M::HAS_DOWN;

    fn migrate(&self, key: &Value, old: Self::From) -> Result<Option<Self::To>, BoxError> {
        let elements = old.into_iter().filter_map(|element| self.0.migrate(key, element).transpose());
        let elements = elements.collect::<Result<Vec<_>, _>>()?;
        Ok((!elements.is_empty()).then_some(elements))
    }

    fn down(&self, key: &Value, new: Self::To) -> Result<Option<Self::From>, BoxError> {
        let elements = new.into_iter().filter_map(|element| self.0.down(key, element).transpose());
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
    const HAS_DOWN: bool = M::HAS_DOWN;

    fn migrate(&self, key: &Value, old: Self::From) -> Result<Option<Self::To>, BoxError> {
        let entry = |(name, value)| self.0.migrate(key, value).transpose().map(|new| Ok((name, new?)));
        let entries = old.into_iter().filter_map(entry).collect::<Result<Self::To, BoxError>>()?;
        Ok((!entries.is_empty()).then_some(entries))
    }

    fn down(&self, key: &Value, new: Self::To) -> Result<Option<Self::From>, BoxError> {
        let entry = |(name, value)| self.0.down(key, value).transpose().map(|old| Ok((name, old?)));
        let entries = new.into_iter().filter_map(entry).collect::<Result<Self::From, BoxError>>()?;
        Ok((!entries.is_empty()).then_some(entries))
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::marker::PhantomData;

    /// Even numbers only; negative ones are an error either way.
    struct Halve;

    impl Migration for Halve {
        type From = i64;
        type To = i32;
        const TO: u32 = 2;
        const HAS_DOWN: bool = true;

        fn migrate(&self, _: &Value, old: i64) -> Result<Option<i32>, BoxError> {
            let half = i32::try_from(old / 2)?;
            if old < 0 { Err("negative".into()) } else { Ok((old % 2 == 0).then_some(half)) }
        }

        fn down(&self, _: &Value, new: i32) -> Result<Option<i64>, BoxError> {
            if new < 0 { Err("negative".into()) } else { Ok((new != 7).then_some(2 * i64::from(new))) }
        }
    }

    fn settings() -> StateSettings<i32> {
        StateSettings::new("halves", 1)
    }

    #[test]
    fn a_version_that_the_migrations_do_not_lead_to_is_refused() {
        let uid = OperatorUid::new("halves").expect("a name");
        let refusal = |settings: StateSettings<i32>| {
            let described = settings.describe::<u32>(&uid, StateKind::Value);
            described.map(|state| state.schema.version.0).map_err(|problem| problem.to_string())
        };
        let (mut before, mut after) = (settings(), settings());
        before.at_version(3);
        before.migrate(Halve);
        after.migrate(Halve);
        after.at_version(3);
        let start = "operator `halves`: the migrations do not form a chain: `Halve`";
        assert_eq!(refusal(before), Err(format!("{start} leads to version 2, the state says that it has 3")));
        assert_eq!(
            refusal(after),
            Err(format!("{start}, the last one, leads to version 2, the state's type has version 3"))
        );
        let mut same = settings();
        same.at_version(2);
        same.migrate(Halve);
        assert_eq!(refusal(same), Ok(2));
    }

    #[test]
    fn elements_and_values_of_maps_lead_back_as_they_lead_on() {
        let each = MigrateEach(Halve);
        assert!(each.down(&Value::Unit, vec![1, -1]).is_err());
        assert_eq!(each.down(&Value::Unit, vec![7]).ok(), Some(None), "nothing is left");
        assert_eq!(each.down(&Value::Unit, vec![1, 7, 2]).ok(), Some(Some(vec![2, 4])));
        let values = MigrateEachValue::<u8, _>(Halve, PhantomData);
        assert!(values.down(&Value::Unit, [(1, -1)].into()).is_err());
        assert_eq!(values.down(&Value::Unit, [(1, 7)].into()).ok(), Some(None));
        assert_eq!(values.down(&Value::Unit, [(1, 7), (2, 5)].into()).ok(), Some(Some([(2, 10)].into())));
        const { assert!(<MigrateEach<Halve>>::HAS_DOWN && <MigrateEachValue<u8, Halve>>::HAS_DOWN) }
    }
}
