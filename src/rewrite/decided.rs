//! What becomes of a savepoint: every operator, state and schema, decided before anything is written.

use super::rekey::Rekey;
use super::steps::Recipe;
use crate::error::{Error, Result};
use crate::migrate::MapValues;
use crate::model::text::counted;
use crate::model::{
    DataType, Digest, FileEntry, MaxParallelism, MigrationRecord, OperatorUid, Schema, SchemaVersion,
    StateEntry, StateKind, StateName, Value, key_of_timer,
};
use crate::savepoint::Savepoint;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// What becomes of a savepoint when it is rewritten.
///
/// Nothing is written before [`run`](super::run) carries it out.
#[derive(Clone, Debug)]
pub struct Rewrite {
    pub(super) savepoint: Savepoint,
    pub(super) max_parallelism: MaxParallelism,
    pub(super) operators: Vec<OperatorRewrite>,
    /// What the migration is called, and its checksum; a verb of the command line has none.
    pub(super) label: Option<(String, Digest)>,
    /// What the lineage gains.
    pub(super) records: Vec<MigrationRecord>,
}

/// What becomes of an operator.
#[derive(Clone, Debug)]
pub(super) struct OperatorRewrite {
    pub(super) uid: OperatorUid,
    pub(super) is_dropped: bool,
    pub(super) states: Vec<StateRewrite>,
}

/// What becomes of a state.
#[derive(Clone, Debug)]
pub(super) struct StateRewrite {
    /// The operator that it comes to lie in, by its new uid; its own if it does not say.
    pub(super) moved_to: Option<OperatorUid>,
    pub(super) name: StateName,
    pub(super) is_dropped: bool,
    /// The schema that all rows get; those that they have if it does not say.
    pub(super) schema: Option<Schema>,
    /// How rows of each stored schema get there.
    pub(super) ways: Vec<Way>,
    pub(super) rekey: Option<Arc<Rekey>>,
    /// What becomes of its rows in quarantine.
    pub(super) quarantine: Quarantine,
    /// What changes, for people.
    pub(super) changes: Vec<String>,
}

/// What becomes of rows in quarantine.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Quarantine {
    /// They stay there.
    #[default]
    Kept,
    /// They are tried again, and are there no more if they have a new value.
    Retried,
    /// They are left behind: those with these keys, or all.
    Dropped(Option<Vec<Value>>),
}

/// How values of one stored schema become new ones.
#[derive(Clone, Debug)]
pub(super) enum Way {
    AsIs,
    Recipe(Arc<Recipe>),
    Code(Arc<dyn MapValues>),
}

/// How much of a state file has to be done anew; the cheapest that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rung {
    /// The file is left behind: all of its rows were in quarantine.
    Dropped,
    /// The file is taken over as it is.
    AsIs,
    /// The file is taken over, and the manifest says how its values are read.
    Metadata,
    /// Encoded columns are copied, and only those that change are made anew.
    Chunks,
    /// Each row is read and written.
    Rows,
    /// Each row is read, gets its new place, and is sorted and written.
    Sorted,
}

impl Rung {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::AsIs => "as is",
            Self::Metadata => "metadata",
            Self::Chunks => "chunks",
            Self::Rows => "rows",
            Self::Sorted => "sorted",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is to become of a state: for people and for CI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOutlook {
    /// The operator that has the state.
    pub uid: OperatorUid,
    /// The name of the state.
    pub state: StateName,
    /// The number of rows.
    pub rows: u64,
    /// The size of its files.
    pub size_bytes: u64,
    /// The schema versions that rows are stored with.
    pub from: Vec<SchemaVersion>,
    /// What becomes of it.
    pub outcome: StateOutcome,
}

/// What is to become of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateOutcome {
    /// It is left behind.
    Dropped,
    /// It is in the new savepoint.
    Kept {
        /// The operator that has it there.
        uid: OperatorUid,
        /// Its name there.
        state: StateName,
        /// The schema version that all rows get; none if they keep theirs.
        to: Option<SchemaVersion>,
        /// How its rows get there: how much of how many has to be done.
        rungs: Vec<(Rung, u64)>,
        /// What changes.
        changes: Vec<String>,
    },
}

impl Rewrite {
    /// Leaves everything as it is.
    pub fn of(savepoint: &Savepoint) -> Self {
        let state = |entry: &StateEntry| StateRewrite {
            moved_to: None,
            name: entry.name.clone(),
            is_dropped: false,
            schema: None,
            ways: vec![Way::AsIs; entry.schemas.len()],
            rekey: None,
            quarantine: Quarantine::Kept,
            changes: Vec::new(),
        };
        let manifest = savepoint.manifest();
        let operators = manifest.operators.iter().map(|operator| OperatorRewrite {
            uid: operator.uid.clone(),
            is_dropped: false,
            states: operator.states.iter().map(state).collect(),
        });
        Self {
            savepoint: savepoint.clone(),
            max_parallelism: manifest.max_parallelism,
            operators: operators.collect(),
            label: None,
            records: Vec::new(),
        }
    }

    /// Returns the savepoint that is rewritten.
    pub fn savepoint(&self) -> &Savepoint {
        &self.savepoint
    }

    /// Gives an operator another uid.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`].
    pub fn rename_operator(mut self, uid: &str, to: &OperatorUid) -> Result<Self> {
        let at = self.operator(uid)?;
        let what = format!("operator `{uid}` renamed to `{to}`");
        self.operators[at].uid = to.clone();
        self.note("rename", at, None, None, what);
        Ok(self)
    }

    /// Gives a state another name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`]; [`Error::NoSuchState`].
    pub fn rename_state(mut self, uid: &str, state: &str, to: &StateName) -> Result<Self> {
        let (at, inside) = self.state(uid, state)?;
        self.operators[at].states[inside].name = to.clone();
        self.note("rename", at, Some(inside), None, format!("state `{state}` renamed to `{to}`"));
        Ok(self)
    }

    /// Moves a state to another operator, given by the uid that it has in the new savepoint; an operator that is not
    /// there comes into being.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`]; [`Error::NoSuchState`].
    pub fn move_state(mut self, uid: &str, state: &str, to: &OperatorUid) -> Result<Self> {
        let (at, inside) = self.state(uid, state)?;
        self.operators[at].states[inside].moved_to = Some(to.clone());
        self.note("move", at, Some(inside), None, format!("state `{state}` moved to operator `{to}`"));
        Ok(self)
    }

    /// Leaves an operator and its state behind.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`].
    pub fn drop_operator(mut self, uid: &str) -> Result<Self> {
        let at = self.operator(uid)?;
        self.operators[at].is_dropped = true;
        let rows: u64 = self.savepoint.manifest().operators[at].states.iter().map(StateEntry::rows).sum();
        self.note("drop", at, None, None, format!("dropped, {}", counted(rows, "row")));
        Ok(self)
    }

    /// Leaves a state behind.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`]; [`Error::NoSuchState`].
    pub fn drop_state(mut self, uid: &str, state: &str) -> Result<Self> {
        let (at, inside) = self.state(uid, state)?;
        self.operators[at].states[inside].is_dropped = true;
        let rows = self.savepoint.manifest().operators[at].states[inside].rows();
        self.note("drop", at, Some(inside), None, format!("dropped, {}", counted(rows, "row")));
        Ok(self)
    }

    /// Leaves rows of a state behind that are in quarantine: those with these keys, or all of them.
    ///
    /// Timers of the keys, and what other states have of them, stay.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`]; [`Error::NoSuchState`]; [`Error::NotInQuarantine`] if there is none, or none with one of
    /// the keys; [`Error::Damaged`].
    pub fn drop_quarantined(mut self, uid: &str, state: &str, keys: Option<&[Value]>) -> Result<Self> {
        let (at, inside) = self.state(uid, state)?;
        let view = self.savepoint.operator(uid)?.state(state)?;
        let found = view.quarantined()?.map(|row| Ok(row?.key)).collect::<Result<Vec<_>>>()?;
        let entry = view.entry();
        let (operator, name) = (view.operator().uid.clone(), entry.name.clone());
        let missing = |key: Option<String>| {
            let (uid, state) = (operator.clone(), name.clone());
            Err(Error::NotInQuarantine { uid, state, key, rows: found.len() as u64 })
        };
        if found.is_empty() {
            return missing(None);
        }
        if let Some(key) = keys.unwrap_or_default().iter().find(|key| !found.contains(key)) {
            return missing(Some(key.to_string()));
        }
        let rows = keys.map_or(found.len(), <[_]>::len) as u64;
        let what = format!("{} in quarantine dropped", counted(rows, "row"));
        let new = &mut self.operators[at].states[inside];
        new.quarantine = Quarantine::Dropped(keys.map(<[_]>::to_vec));
        new.changes.push(what.clone());
        self.note("drop", at, Some(inside), None, what);
        Ok(self)
    }

    /// Notes for the lineage what is done to an operator or a state; `verb` is what it is called if it has no name.
    pub(super) fn note(
        &mut self,
        verb: &str,
        operator: usize,
        state: Option<usize>,
        versions: Option<(SchemaVersion, SchemaVersion)>,
        what: String,
    ) {
        let entry = &self.savepoint.manifest().operators[operator];
        let state = state.map(|state| entry.states[state].name.clone());
        let (name, checksum) = self.label.clone().unwrap_or_else(|| {
            let text = format!(
                "{verb} {:?} {:?} {what:?}",
                entry.uid.as_str(),
                state.as_ref().map(StateName::as_str)
            );
            (verb.to_owned(), super::checksum_of(&text))
        });
        self.records.push(MigrationRecord {
            name,
            checksum,
            uid: entry.uid.clone(),
            state,
            versions,
            savepoint: Some(self.savepoint.id().clone()),
            what,
        });
    }

    pub(super) fn operator(&self, uid: &str) -> Result<usize> {
        self.savepoint.operator(uid)?;
        let operators = &self.savepoint.manifest().operators;
        Ok(operators.iter().position(|o| o.uid.as_str() == uid).unwrap_or_default())
    }

    pub(super) fn state(&self, uid: &str, state: &str) -> Result<(usize, usize)> {
        let at = self.operator(uid)?;
        let view = self.savepoint.operator(uid)?;
        view.state(state)?;
        let inside = view.entry().states.iter().position(|s| s.name.as_str() == state);
        Ok((at, inside.unwrap_or_default()))
    }

    /// Returns the states with the operators that have them now, and what becomes of them.
    pub(super) fn states(
        &self,
    ) -> impl Iterator<Item = (&crate::model::OperatorEntry, &StateEntry, &OperatorRewrite, &StateRewrite)>
    {
        let pairs = self.savepoint.manifest().operators.iter().zip(&self.operators);
        pairs.flat_map(|(entry, operator)| {
            entry.states.iter().zip(&operator.states).map(move |(state, new)| (entry, state, operator, new))
        })
    }

    /// How much has to be done for a file.
    pub(super) fn rung(&self, entry: &StateEntry, new: &StateRewrite, file: &FileEntry) -> Rung {
        let is_placed = entry.kind != StateKind::List;
        let moves = self.max_parallelism != self.savepoint.manifest().max_parallelism || new.rekey.is_some();
        if is_placed && moves && file.rows > 0 {
            return Rung::Sorted;
        }
        match &new.quarantine {
            Quarantine::Dropped(None) if file.quarantined => return Rung::Dropped,
            Quarantine::Retried | Quarantine::Dropped(_) if file.quarantined => return Rung::Rows,
            _ => {}
        }
        match &new.ways[file.schema] {
            // A savepoint has no layers: what newer ones cover is left out.
            _ if entry.is_layered() => Rung::Rows,
            Way::AsIs => Rung::AsIs,
            Way::Recipe(recipe) if recipe.changes_nothing() => Rung::Metadata,
            // Chunks are put together of columns up to the values alone.
            Way::Recipe(_) if file.touched || file.quarantined => Rung::Rows,
            Way::Recipe(_) => Rung::Chunks,
            Way::Code(_) => Rung::Rows,
        }
    }

    pub(super) fn state_outlooks(&self) -> Vec<StateOutlook> {
        let outlook = |(operator, entry, to, new): (
            &crate::model::OperatorEntry,
            &StateEntry,
            &OperatorRewrite,
            &StateRewrite,
        )| {
            let mut rungs: Vec<(Rung, u64)> = Vec::new();
            for file in &entry.files {
                let rung = self.rung(entry, new, file);
                match rungs.iter_mut().find(|(known, _)| *known == rung) {
                    Some((_, rows)) => *rows += file.rows,
                    None => rungs.push((rung, file.rows)),
                }
            }
            rungs.sort();
            let outcome = if to.is_dropped || new.is_dropped {
                StateOutcome::Dropped
            } else {
                StateOutcome::Kept {
                    uid: new.moved_to.clone().unwrap_or_else(|| to.uid.clone()),
                    state: new.name.clone(),
                    to: new.schema.as_ref().map(|schema| schema.version),
                    rungs,
                    changes: new.changes.clone(),
                }
            };
            StateOutlook {
                uid: operator.uid.clone(),
                state: entry.name.clone(),
                rows: entry.rows(),
                size_bytes: entry.size_bytes(),
                from: entry.rows_by_version().into_keys().collect(),
                outcome,
            }
        };
        self.states().map(outlook).collect()
    }

    /// Checks that nothing gets a name that something else has, and that keys stay keys of one operator.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`]; [`Error::KeysApart`].
    pub fn check(&self) -> Result<()> {
        let kept = || self.operators.iter().filter(|operator| !operator.is_dropped);
        let mut uids = HashSet::new();
        if let Some(twice) = kept().find(|operator| !uids.insert(&operator.uid)) {
            return Err(Error::NameTaken { what: "operators", name: twice.uid.to_string() });
        }
        let mut names = HashSet::new();
        // Whether the operator's states came together or got new keys, and the types of its keys as they will be.
        let mut keys: Vec<(&OperatorUid, bool, DataType, &StateName)> = Vec::new();
        for (_, entry, operator, new) in
            self.states().filter(|(_, _, o, new)| !o.is_dropped && !new.is_dropped)
        {
            let uid = new.moved_to.as_ref().unwrap_or(&operator.uid);
            if !names.insert((uid, &new.name)) {
                return Err(Error::NameTaken { what: "states", name: format!("{uid}/{}", new.name) });
            }
            let key = match (&new.rekey, entry.kind, &entry.key) {
                (Some(rekey), ..) => rekey.data_type.clone(),
                (None, StateKind::List, _) | (None, _, None) => continue,
                (None, StateKind::Timers, Some(timer)) => key_of_timer(timer).unwrap_or(timer).clone(),
                (None, _, Some(key)) => key.clone(),
            };
            let same_operator = || {
                self.states().filter(|(_, _, o, n)| {
                    !o.is_dropped && !n.is_dropped && n.moved_to.as_ref().unwrap_or(&o.uid) == uid
                })
            };
            let is_left = |(_, entry, _, new): &(_, &StateEntry, _, &StateRewrite)| {
                new.rekey.is_none() && entry.kind != StateKind::List && entry.rows() > 0
            };
            if let (Some(_), Some((.., other))) = (&new.rekey, same_operator().find(is_left)) {
                return Err(Error::HalfRekeyed {
                    uid: uid.clone(),
                    state: new.name.clone(),
                    other: other.name.clone(),
                });
            }
            let is_changed = new.rekey.is_some() || new.moved_to.is_some();
            for (_, was_changed, known, state) in keys.iter().filter(|(known, ..)| *known == uid) {
                if *known != key && (is_changed || *was_changed) {
                    return Err(Error::KeysApart {
                        uid: uid.clone(),
                        state: (*state).clone(),
                        key: known.to_string(),
                        other: new.name.clone(),
                        other_key: key.to_string(),
                    });
                }
            }
            keys.push((uid, is_changed, key, &new.name));
        }
        Ok(())
    }
}
