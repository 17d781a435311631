//! What a migration file makes of a savepoint.

use super::read::{Said, SaidStep};
use super::toml::At;
use super::{Keyed, MigrationFile, StateChange, Steps};
use crate::error::{Error, Result};
use crate::model::{
    DataType, MaxParallelism, Schema, SchemaVersion, StateEntry, StateKind, evolve, key_of_timer,
    type_problem,
};
use crate::rewrite::decided::{Rewrite, Way};
use crate::rewrite::part::Part;
use crate::rewrite::rekey::Rekey;
use crate::rewrite::steps::{Problem, Recipe};
use crate::savepoint::Savepoint;
use std::sync::Arc;

impl MigrationFile {
    /// Decides what the file makes of a savepoint.
    ///
    /// # Errors
    ///
    /// [`Error::MigrationFile`] with the line and the column of what the savepoint does not have, or what does not go
    /// with what it has; [`Error::NameTaken`] and [`Error::KeysApart`] if the new savepoint could not be.
    pub fn apply(&self, savepoint: &Savepoint) -> Result<Rewrite> {
        let mut rewrite = Rewrite::of(savepoint);
        rewrite.label = Some((self.name.clone(), self.checksum));
        for change in &self.operators {
            let uid = change.uid.what.as_str();
            let changed = match &change.rename {
                Some(to) => rewrite.rename_operator(uid, &to.what),
                None => rewrite.drop_operator(uid),
            };
            rewrite = changed.map_err(|error| placed(&change.uid.at, &error))?;
        }
        for change in &self.states {
            rewrite = apply_state(rewrite, change)?;
        }
        if let Some(groups) = &self.max_parallelism {
            change_groups(&mut rewrite, groups.what);
        }
        rewrite.check()?;
        Ok(rewrite)
    }

    /// Decides how what the file has made of a savepoint is undone, of that one or of one that came of it: names go
    /// back, and values by the `down` steps.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply); [`Error::MigrationFile`] with the place of what has no way back: values without
    /// `down`, new keys, and what was dropped. The number of key groups stays as it is.
    pub fn apply_back(&self, savepoint: &Savepoint) -> Result<Rewrite> {
        let no_way = |at: &At, what: &str| {
            let hint =
                "start the older release from the savepoint that the migration was applied to".to_owned();
            Err(at.refuse(format!("found {what}, from where there is no way back"), Some(hint)))
        };
        let mut rewrite = Rewrite::of(savepoint);
        rewrite.label = Some((self.name.clone(), self.checksum));
        for change in &self.operators {
            let Some(now) = &change.rename else {
                return no_way(&change.uid.at, "an operator that is dropped");
            };
            let back = rewrite.rename_operator(now.what.as_str(), &change.uid.what);
            rewrite = back.map_err(|error| placed(&now.at, &error))?;
        }
        for change in &self.states {
            if change.is_dropped {
                return no_way(&change.at, "a state that is dropped");
            }
            if let Some(rekey) = &change.rekey {
                return no_way(&rekey.at, "new keys");
            }
            let renamed = self.operators.iter().find(|operator| operator.uid.what == change.uid.what);
            let uid = change.moved_to.as_ref().or_else(|| renamed?.rename.as_ref()).unwrap_or(&change.uid);
            let name = change.rename.as_ref().unwrap_or(&change.name);
            let at = rewrite
                .state(uid.what.as_str(), name.what.as_str())
                .map_err(|error| placed(&uid.at, &error))?;
            if change.rename.is_some() {
                rewrite = rewrite.rename_state(uid.what.as_str(), name.what.as_str(), &change.name.what)?;
            }
            if change.moved_to.is_some() {
                rewrite = rewrite.move_state(uid.what.as_str(), name.what.as_str(), &change.uid.what)?;
            }
            match (&change.down, &change.steps) {
                (Some(down), _) => {
                    let next = change.from.as_ref().map(|from| Said {
                        at: from.at.clone(),
                        what: SchemaVersion(from.what.0.saturating_add(1)),
                    });
                    let from = change.to.as_ref().or(next.as_ref());
                    let leg = Leg { from, steps: down, to: change.from.as_ref(), is_back: true };
                    change_values(&mut rewrite, change, &leg, at)?;
                }
                (None, Some(steps)) => return no_way(&steps.at, "`steps` without `down`"),
                (None, None) if change.to.is_some() => {
                    return no_way(&change.at, "a new version without `down`");
                }
                (None, None) => {}
            }
        }
        rewrite.check()?;
        Ok(rewrite)
    }
}

fn apply_state(mut rewrite: Rewrite, change: &StateChange) -> Result<Rewrite> {
    let (uid, name) = (change.uid.what.as_str(), change.name.what.as_str());
    let operator = rewrite.operator(uid).map_err(|error| placed(&change.uid.at, &error))?;
    let (_, state) = rewrite.state(uid, name).map_err(|error| placed(&change.name.at, &error))?;
    if rewrite.operators[operator].is_dropped {
        return Err(change
            .uid
            .at
            .refuse(format!("found a change of operator `{uid}`, which is dropped"), None));
    }
    if change.is_dropped {
        return rewrite.drop_state(uid, name);
    }
    if let Some(to) = &change.rename {
        rewrite = rewrite.rename_state(uid, name, &to.what)?;
    }
    if let Some(to) = &change.moved_to {
        rewrite = rewrite.move_state(uid, name, &to.what)?;
    }
    if change.steps.is_some() || change.to.is_some() {
        let none = Steps { at: change.at.clone(), steps: Vec::new() };
        let leg = Leg {
            from: change.from.as_ref(),
            steps: change.steps.as_ref().unwrap_or(&none),
            to: change.to.as_ref(),
            is_back: false,
        };
        change_values(&mut rewrite, change, &leg, (operator, state))?;
    }
    if let Some(keyed) = &change.rekey {
        change_keys(&mut rewrite, change, keyed, (operator, state))?;
    }
    Ok(rewrite)
}

/// The way of values from one version to another, or back.
struct Leg<'a> {
    from: Option<&'a Said<SchemaVersion>>,
    steps: &'a Steps,
    to: Option<&'a Said<SchemaVersion>>,
    is_back: bool,
}

/// Decides how values of each stored schema get to the new one.
fn change_values(
    rewrite: &mut Rewrite,
    change: &StateChange,
    leg: &Leg<'_>,
    at: (usize, usize),
) -> Result<()> {
    let savepoint = rewrite.savepoint.clone();
    let entry = &savepoint.manifest().operators[at.0].states[at.1];
    let steps = leg.steps;
    let base = base_of(entry, leg.from)?;
    let whole = recipe(Part::whole(&base.data_type), entry.key.as_ref(), steps)?;
    let made = whole.part.data_type();
    let version = match leg.to {
        Some(to) if to.what < base.version && !leg.is_back => {
            let problem = format!("found version {}, wanted one from {} on", to.what, base.version);
            return Err(to.at.refuse(problem, None));
        }
        Some(to) => to.what,
        None => SchemaVersion(base.version.0.saturating_add(1)),
    };
    if let Some(problem) = type_problem(&made) {
        return Err(steps.at.refuse(format!("found steps to a type that cannot be stored: {problem}"), None));
    }
    let schema = Schema { version, data_type: made };
    if schema.version == base.version && !schema.is_same(base) {
        let at = leg.to.map_or(&change.at, |to| &to.at);
        let problem = format!("found version {version} for another type than version {version} has");
        return Err(at.refuse(problem, Some("give the new type a new version".to_owned())));
    }
    let mut ways = Vec::new();
    for stored in &entry.schemas {
        if stored.is_same(&schema) {
            ways.push(Way::AsIs);
            continue;
        }
        let part = root_of(stored, base, change)?;
        ways.push(Way::Recipe(Arc::new(recipe(part, entry.key.as_ref(), steps)?)));
    }
    let what = match whole.changes.is_empty() {
        true => format!("schema version {} called {version}", base.version),
        false => whole.changes.join("; "),
    };
    let new = &mut rewrite.operators[at.0].states[at.1];
    new.ways = ways;
    new.schema = Some(schema);
    new.changes = whole.changes;
    let versions = Some((base.version, version));
    rewrite.note("migrate", at.0, Some(at.1), versions, what);
    Ok(())
}

/// Gives all rows new places, in another number of key groups.
fn change_groups(rewrite: &mut Rewrite, groups: MaxParallelism) {
    let before = rewrite.max_parallelism;
    if before == groups {
        return;
    }
    rewrite.max_parallelism = groups;
    let manifest = rewrite.savepoint.manifest();
    let is_placed = |state: &StateEntry| state.kind.is_keyed() && state.rows() > 0;
    let operators = manifest.operators.iter().enumerate();
    let placed: Vec<usize> =
        operators.filter(|(_, o)| o.states.iter().any(is_placed)).map(|(at, _)| at).collect();
    for at in placed.into_iter().filter(|at| !rewrite.operators[*at].is_dropped).collect::<Vec<_>>() {
        let what = format!("key groups {} -> {}", before.get(), groups.get());
        rewrite.note("migrate", at, None, None, what);
    }
}

/// Decides how rows get new keys.
fn change_keys(rewrite: &mut Rewrite, change: &StateChange, keyed: &Keyed, at: (usize, usize)) -> Result<()> {
    let savepoint = rewrite.savepoint.clone();
    let entry = &savepoint.manifest().operators[at.0].states[at.1];
    let key = match (entry.kind, &entry.key) {
        (StateKind::Timers, Some(timer)) => key_of_timer(timer).unwrap_or(timer),
        (StateKind::Value, Some(key)) => key,
        _ => {
            return Err(keyed.at.refuse(format!("found a {}, which has no keys", entry.kind.as_str()), None));
        }
    };
    let base = base_of(entry, change.from.as_ref())?;
    let mut roots = Vec::new();
    for stored in &entry.schemas {
        roots.push(root_of(stored, base, change)?);
    }
    let placed = |(at, text): &(At, String), problem: Problem| {
        let place = if problem.at.is_some() { at.inside(text, problem.at) } else { at.shown.clone() };
        Error::MigrationFile { place, problem: problem.text, hint: problem.hint }
    };
    let made = Rekey::new(&keyed.key, &roots, entry.kind, key, keyed.data_type.as_ref());
    let mut rekey = made.map_err(|problem| placed(&keyed.key_at, problem))?;
    if let Some((merge, merge_at)) = &keyed.merge {
        if entry.kind == StateKind::Timers {
            let problem = "found `merge` for timers, which are alike if time and key are, wanted none";
            return Err(merge_at.0.refuse(problem, None));
        }
        let new = &rewrite.operators[at.0].states[at.1];
        let values = new.schema.as_ref().unwrap_or(base).data_type.clone();
        rekey = rekey.merging(merge, &values).map_err(|problem| placed(merge_at, problem))?;
    }
    let what = format!("keys: {key} -> {}, computed", rekey.data_type);
    let new = &mut rewrite.operators[at.0].states[at.1];
    if new.schema.is_none() && entry.schemas.iter().any(|schema| !schema.is_same(base)) {
        // All rows go through the rules on their way anyhow, and end under one schema.
        new.schema = Some(base.clone());
        new.ways = entry
            .schemas
            .iter()
            .zip(roots)
            .map(|(stored, root)| match stored.is_same(base) {
                true => Way::AsIs,
                false => Way::Recipe(Arc::new(Recipe::new(root, Some(key)))),
            })
            .collect();
    }
    new.changes.push(what.clone());
    new.rekey = Some(Arc::new(rekey));
    rewrite.note("rekey", at.0, Some(at.1), None, what);
    Ok(())
}

/// How values of a stored schema become values of the one that the steps start from.
fn root_of(stored: &Schema, base: &Schema, change: &StateChange) -> Result<Part> {
    if stored.is_same(base) {
        return Ok(Part::whole(&base.data_type));
    }
    let evolution = evolve(&stored.data_type, &base.data_type).map_err(|mismatches| {
        let problem = format!(
            "found rows under version {}, which no rule leads to version {}: {}",
            stored.version, base.version, mismatches[0]
        );
        let hint = "migrate them first, with the job's code: `./job migrate SAVEPOINT NEW`".to_owned();
        change.name.at.refuse(problem, Some(hint))
    })?;
    Ok(Part::by_rules(&evolution))
}

/// The schema that the steps start from: the one that `from` names, else the first.
fn base_of<'e>(entry: &'e StateEntry, from: Option<&Said<SchemaVersion>>) -> Result<&'e Schema> {
    let Some(from) = from else { return Ok(&entry.schemas[0]) };
    entry.schemas.iter().find(|schema| schema.version == from.what).ok_or_else(|| {
        let there: Vec<_> = entry.schemas.iter().map(|schema| schema.version.to_string()).collect();
        let problem = format!("found no schema version {}; there is {}", from.what, there.join(", "));
        from.at.refuse(problem, None)
    })
}

fn recipe(part: Part, key: Option<&DataType>, steps: &Steps) -> Result<Recipe> {
    let mut recipe = Recipe::new(part, key);
    for SaidStep { at, step, expression } in &steps.steps {
        recipe.take(step).map_err(|problem| {
            let place = match expression {
                Some((at, text)) if problem.at.is_some() => at.inside(text, problem.at),
                _ => at.shown.clone(),
            };
            Error::MigrationFile { place, problem: problem.text, hint: problem.hint }
        })?;
    }
    Ok(recipe)
}

/// The same error, with the place in the file that led to it.
fn placed(at: &At, error: &Error) -> Error {
    at.refuse(error.to_string(), error.hint())
}
