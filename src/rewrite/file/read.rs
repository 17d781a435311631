//! Reading a migration file: what it says, checked as far as that goes without a savepoint.

use super::toml::{At, Member, Source, Table};
use super::{Keyed, MigrationFile, OperatorChange, StateChange, Steps};
use crate::error::Result;
use crate::model::{DataType, MaxParallelism, OperatorUid, SchemaVersion, StateName};
use crate::rewrite::expr::Syntax;
use crate::rewrite::path::Path;
use crate::rewrite::steps::{How, Step};

/// A thing and where the file says it.
#[derive(Clone, Debug)]
pub(in crate::rewrite) struct Said<T> {
    pub(super) at: At,
    pub(super) what: T,
}

/// A step, and where its parts stand.
#[derive(Clone, Debug)]
pub(in crate::rewrite) struct SaidStep {
    pub(super) at: At,
    pub(super) step: Step,
    /// Where the expression of the step stands, and its text.
    pub(super) expression: Option<(At, String)>,
}

const NAME: &str = "a name: 1 to 255 bytes, no control characters, no space at either end";

pub(super) fn read(source: Source<'_>, name: &str) -> Result<MigrationFile> {
    let mut top = source.parse()?;
    let named = top.take("name").map(|member| said(member, name_of)).transpose()?;
    let max_parallelism = top.take("max_parallelism").map(groups).transpose()?;
    let operators = tables(&mut top, "operator")?.into_iter().map(operator).collect::<Result<Vec<_>>>()?;
    let states = tables(&mut top, "state")?.into_iter().map(state).collect::<Result<Vec<_>>>()?;
    let at = top.at();
    top.end()?;
    if operators.is_empty() && states.is_empty() && max_parallelism.is_none() {
        let hint = "docs/migration-file.md shows examples of each change".to_owned();
        return Err(
            at.refuse("found no change, wanted `[[state]]`, `[[operator]]` or `max_parallelism`", Some(hint))
        );
    }
    for (i, operator) in operators.iter().enumerate() {
        if operators[..i].iter().any(|other| other.uid.what == operator.uid.what) {
            return Err(operator
                .uid
                .at
                .refuse(format!("found operator `{}` twice", operator.uid.what), None));
        }
    }
    for (i, state) in states.iter().enumerate() {
        let is_same =
            |other: &&StateChange| other.uid.what == state.uid.what && other.name.what == state.name.what;
        if states[..i].iter().any(|other| is_same(&other)) {
            let problem = format!("found state `{}` of operator `{}` twice", state.name.what, state.uid.what);
            let hint = "put all its steps into one `[[state]]`".to_owned();
            return Err(state.name.at.refuse(problem, Some(hint)));
        }
    }
    let content = super::toml::content(source.text).unwrap_or_default();
    Ok(MigrationFile {
        name: named.map_or_else(|| name.to_owned(), |named| named.what),
        checksum: crate::rewrite::checksum_of(&format!("migration file {content}")),
        max_parallelism,
        operators,
        states,
    })
}

fn tables<'a>(top: &mut Table<'a>, name: &'static str) -> Result<Vec<Table<'a>>> {
    top.take(name).map_or(Ok(Vec::new()), Member::tables)
}

fn said<T>(member: Member<'_>, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Said<T>> {
    let text = member.text()?;
    let what = read(&text).map_err(|problem| member.at.refuse(problem, None))?;
    Ok(Said { at: member.at, what })
}

fn name_of(text: &str) -> Result<String, String> {
    let name = StateName::new(text).map(|name| name.to_string());
    name.ok_or_else(|| format!("found {text:?}, wanted {NAME}"))
}

fn uid_of(text: &str) -> Result<OperatorUid, String> {
    OperatorUid::new(text).ok_or_else(|| format!("found {text:?}, wanted {NAME}"))
}

fn state_of(text: &str) -> Result<StateName, String> {
    StateName::new(text).ok_or_else(|| format!("found {text:?}, wanted {NAME}"))
}

fn groups(member: Member<'_>) -> Result<Said<MaxParallelism>> {
    let number = member.number()?;
    let groups = u16::try_from(number).ok().and_then(MaxParallelism::new);
    let what = groups.ok_or_else(|| member.at.refuse(format!("found {number}, wanted 1 to 32768"), None))?;
    Ok(Said { at: member.at, what })
}

fn operator(mut table: Table<'_>) -> Result<OperatorChange> {
    let uid = said(table.need("uid")?, uid_of)?;
    let rename = table.take("rename").map(|member| said(member, uid_of)).transpose()?;
    let is_dropped = flag(&mut table, "drop")?;
    let at = table.at();
    table.end()?;
    match (&rename, is_dropped) {
        (Some(_), true) => Err(at.refuse("found `rename` and `drop`, wanted one of them", None)),
        (None, false) => Err(at.refuse("found no change, wanted `rename` or `drop = true`", None)),
        _ => Ok(OperatorChange { uid, rename }),
    }
}

fn flag(table: &mut Table<'_>, name: &'static str) -> Result<bool> {
    table.take(name).map_or(Ok(false), |member| member.flag())
}

fn state(mut table: Table<'_>) -> Result<StateChange> {
    let uid = said(table.need("operator")?, uid_of)?;
    let name = said(table.need("state")?, state_of)?;
    let rename = table.take("rename").map(|member| said(member, state_of)).transpose()?;
    let moved_to = table.take("move_to").map(|member| said(member, uid_of)).transpose()?;
    let is_dropped = flag(&mut table, "drop")?;
    let version = |member: Member<'_>| Ok(Said { what: SchemaVersion(member.number()?), at: member.at });
    let from = table.take("from").map(version).transpose()?;
    let to = table.take("to").map(version).transpose()?;
    let steps = table.take("steps").map(steps).transpose()?;
    let down = table.take("down").map(self::steps).transpose()?;
    let rekey = table.take("rekey").map(keyed).transpose()?;
    let at = table.at();
    table.end()?;
    let has_change =
        rename.is_some() || moved_to.is_some() || steps.is_some() || rekey.is_some() || to.is_some();
    if is_dropped && (has_change || down.is_some()) {
        return Err(at.refuse("found `drop` and another change, wanted one of them", None));
    }
    if !is_dropped && !has_change {
        let wanted = "`steps`, `to`, `rekey`, `rename`, `move_to` or `drop = true`";
        return Err(at.refuse(format!("found no change, wanted {wanted}"), None));
    }
    if let (Some(down), None) = (&down, &from) {
        let hint = "say `from = VERSION`, the version that the way back leads to".to_owned();
        return Err(down.at.refuse("found `down` without `from`", Some(hint)));
    }
    if let (Some(from), Some(to)) = (&from, &to)
        && from.what >= to.what
    {
        return Err(to.at.refuse(format!("found version {}, wanted one above {}", to.what, from.what), None));
    }
    Ok(StateChange { at, uid, name, rename, moved_to, is_dropped, from, to, steps, down, rekey })
}

fn steps(member: Member<'_>) -> Result<Steps> {
    let at = member.at.clone();
    Ok(Steps { at, steps: member.tables()?.into_iter().map(step).collect::<Result<_>>()? })
}

fn path(member: Member<'_>) -> Result<Path> {
    Ok(said(member, Path::parse)?.what)
}

fn data_type(member: Member<'_>) -> Result<DataType> {
    let text = member.text()?;
    text.parse().map_err(|error: crate::model::NotAType| {
        let place = member.at.inside(&text, Some(error.at));
        crate::error::Error::MigrationFile { place, problem: error.to_string(), hint: None }
    })
}

fn expression(member: Member<'_>) -> Result<(Syntax, (At, String))> {
    let text = member.text()?;
    let syntax = Syntax::parse(&text).map_err(|problem| {
        let place = member.at.inside(&text, Some(problem.at));
        crate::error::Error::MigrationFile { place, problem: problem.text, hint: None }
    })?;
    Ok((syntax, (member.at, text)))
}

const VERBS: [&str; 7] = ["rename", "drop", "add", "widen", "narrow", "move", "set"];

fn step(mut table: Table<'_>) -> Result<SaidStep> {
    let at = table.at();
    let mut found = VERBS.iter().filter_map(|verb| table.take(verb).map(|member| (*verb, member)));
    let first = found.next();
    let second = found.next().map(|(verb, _)| verb);
    drop(found);
    let Some((verb, member)) = first else {
        let verbs: Vec<_> = VERBS.iter().map(|verb| format!("`{verb}`")).collect();
        return Err(at.refuse(format!("found no step, wanted one of {}", verbs.join(", ")), None));
    };
    if let Some(second) = second {
        return Err(
            at.refuse(format!("found `{verb}` and `{second}`, wanted one step in each pair of braces"), None)
        );
    }
    let path = path(member)?;
    let mut said_expression = None;
    let mut take_expression = |member: Member<'_>| -> Result<Syntax> {
        let (syntax, said) = expression(member)?;
        said_expression = Some(said);
        Ok(syntax)
    };
    let step = match verb {
        "rename" => {
            Step::Rename { path, to: table.need("to")?.text()?, is_new: flag(&mut table, "new_identity")? }
        }
        "drop" => {
            Step::Drop { path, becomes: table.take("becomes").map(|member| member.text()).transpose()? }
        }
        "add" => {
            let data_type = table.take("type").map(data_type).transpose()?;
            let value = table.take("value").map(|member| member.json());
            let from = table.take("as").map(&mut take_expression).transpose()?;
            let how = match (value, from) {
                (Some(_), Some(_)) => {
                    return Err(at.refuse("found `value` and `as`, wanted one of them", None));
                }
                (Some(value), None) => How::Value(value),
                (None, Some(from)) => How::From(from),
                (None, None) => How::Absent,
            };
            Step::Add { path, data_type, how }
        }
        "widen" => Step::Widen { path, to: data_type(table.need("to")?)? },
        "narrow" => Step::Narrow {
            path,
            to: data_type(table.need("to")?)?,
            otherwise: table.take("otherwise").map(|member| member.json()),
        },
        "move" => Step::Move { path, to: self::path(table.need("to")?)? },
        _ => {
            let data_type = table.take("type").map(data_type).transpose()?;
            Step::Set { path, data_type, from: take_expression(table.need("as")?)? }
        }
    };
    // The other verbs are no members of this step: what is left over is shown beside its own.
    table.forget(&VERBS);
    table.end()?;
    Ok(SaidStep { at, step, expression: said_expression })
}

fn keyed(member: Member<'_>) -> Result<Keyed> {
    let at = member.at.clone();
    let mut table = member.table()?;
    let data_type = table.take("type").map(self::data_type).transpose()?;
    let (key, key_at) = expression(table.need("as")?)?;
    let merge = table.take("merge").map(expression).transpose()?;
    table.end()?;
    Ok(Keyed { at, data_type, key, key_at, merge })
}
