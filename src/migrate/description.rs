//! What a job says of itself: `./job describe` prints it, and plans are made from it without running the job.
//!
//! A description has a protocol version of its own, read first, so that tools and jobs built with different
//! releases say so rather than misunderstand each other.

use super::code::Code;
use super::rename::{Place, Rename};
use crate::error::Error;
use crate::model::{
    DataType, Digest, JobName, MaxParallelism, OperatorTraits, OperatorUid, Schema, SchemaVersion, StateKind,
    StateName,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version of the description that this program writes and the latest that it reads.
pub(crate) const PROTOCOL: u32 = 1;

/// A job: its operators, their states, and the migrations that it has for them.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDescription {
    /// The name of the job.
    pub job: JobName,
    /// The release of its code.
    pub release: String,
    /// The number of key groups that it would have if it started empty.
    pub max_parallelism: MaxParallelism,
    /// The number of workers that it would start with, where that is known.
    pub workers: Option<u32>,
    /// The operators that have a uid.
    pub operators: Vec<OperatorDescription>,
    /// What had another name in earlier releases.
    pub renames: Vec<Rename>,
}

/// An operator with a uid; sources and sinks are operators too.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorDescription {
    /// Its identity.
    pub uid: OperatorUid,
    /// What it is: `source`, `flat_map_with_state`, `reduce`, `sink`, ...
    pub kind: String,
    /// What is to be known of its results.
    pub traits: OperatorTraits,
    /// Its states.
    pub states: Vec<StateDescription>,
}

/// A state, its current type and the migrations that lead to it.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDescription {
    /// The name of the state inside its operator.
    pub name: StateName,
    /// How it is scoped and shaped.
    pub kind: StateKind,
    /// The type of its keys, for keyed state.
    pub key: Option<DataType>,
    /// The schema that the job works with.
    pub schema: Schema,
    /// The migrations, oldest first.
    pub steps: Vec<StepDescription>,
    /// Whether its values expire, by the machine's clock.
    pub expires: bool,
    /// The migrations themselves, in the process that has them.
    pub code: Code,
}

/// A migration, without its code.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDescription {
    /// The name of its type.
    pub name: String,
    /// What it takes.
    pub from: Schema,
    /// The schema version that it leads to.
    pub to: SchemaVersion,
    /// Counts the changes of what it does.
    pub revision: u32,
    /// The parts of old values that it lets go, by its own word.
    pub drops: Vec<String>,
    /// Whether it leads back, too.
    pub has_down: bool,
}

impl StepDescription {
    /// Returns what tells the migration from others of its name: a hash over its name, its versions, the type that it
    /// takes and its revision.
    pub fn checksum(&self) -> Digest {
        let Self { name, from, to, revision, .. } = self;
        let fingerprint = Digest(from.fingerprint().0);
        let text = format!("migration {name:?} {} {fingerprint} {to} {revision}", from.version);
        Digest(Sha256::digest(text.as_bytes()).into())
    }
}

impl StateDescription {
    /// Returns the schemas at which stored values can enter: what each migration takes, and the current one.
    pub fn stages(&self) -> Vec<Schema> {
        self.steps.iter().map(|step| step.from.clone()).chain([self.schema.clone()]).collect()
    }
}

impl JobDescription {
    /// Returns the operator with this uid.
    pub fn operator(&self, uid: &OperatorUid) -> Option<&OperatorDescription> {
        self.operators.iter().find(|o| &o.uid == uid)
    }

    /// Returns the description as one JSON object, indented.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(&JobV1::from(self));
        text.expect("a description has only text keys and small numbers")
    }

    /// Reads a description that `program` printed.
    ///
    /// # Errors
    ///
    /// [`Error::Description`] if it is none, or of a later protocol.
    pub fn from_json(text: &str, program: &str) -> Result<Self, Error> {
        let wrong =
            |found: String, wanted: String| Error::Description { program: program.to_owned(), found, wanted };
        let json: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| wrong(format!("no JSON ({error})"), "a job's description".to_owned()))?;
        match json.get("protocol").and_then(serde_json::Value::as_u64) {
            Some(found) if found == u64::from(PROTOCOL) => {}
            Some(found) => return Err(wrong(format!("protocol {found}"), format!("protocol {PROTOCOL}"))),
            None => return Err(wrong("no `protocol`".to_owned(), "a job's description".to_owned())),
        }
        let wire: JobV1 = serde_json::from_value(json)
            .map_err(|error| wrong(error.to_string(), format!("a description of protocol {PROTOCOL}")))?;
        wire.check().map_err(|(found, wanted)| wrong(found, wanted))
    }
}

#[derive(Serialize, Deserialize)]
struct JobV1 {
    protocol: u32,
    job: String,
    release: String,
    max_parallelism: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workers: Option<u32>,
    operators: Vec<OperatorV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    renames: Vec<RenameV1>,
}

#[derive(Serialize, Deserialize)]
struct RenameV1 {
    from: PlaceV1,
    to: PlaceV1,
}

#[derive(Serialize, Deserialize)]
struct PlaceV1 {
    uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct OperatorV1 {
    uid: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    states: Vec<StateV1>,
}

#[derive(Serialize, Deserialize)]
struct StateV1 {
    name: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<DataType>,
    schema: SchemaV1,
    #[serde(default)]
    steps: Vec<StepV1>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    expires: bool,
}

#[derive(Serialize, Deserialize)]
struct SchemaV1 {
    version: SchemaVersion,
    #[serde(rename = "type")]
    data_type: DataType,
}

#[derive(Serialize, Deserialize)]
struct StepV1 {
    name: String,
    from: SchemaV1,
    to: SchemaVersion,
    #[serde(default = "first_revision")]
    revision: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    drops: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_down: bool,
}

fn first_revision() -> u32 {
    1
}

impl From<&JobDescription> for JobV1 {
    fn from(job: &JobDescription) -> Self {
        let step = |s: &StepDescription| StepV1 {
            name: s.name.clone(),
            from: (&s.from).into(),
            to: s.to,
            revision: s.revision,
            drops: s.drops.clone(),
            has_down: s.has_down,
        };
        let state = |s: &StateDescription| StateV1 {
            name: s.name.to_string(),
            kind: s.kind.as_str().to_owned(),
            key: s.key.clone(),
            schema: (&s.schema).into(),
            steps: s.steps.iter().map(step).collect(),
            expires: s.expires,
        };
        let operator = |o: &OperatorDescription| OperatorV1 {
            uid: o.uid.to_string(),
            kind: o.kind.clone(),
            time: o.traits.time.map(|time| time.as_str().to_owned()),
            delivery: o.traits.delivery.map(|delivery| delivery.as_str().to_owned()),
            states: o.states.iter().map(state).collect(),
        };
        Self {
            protocol: PROTOCOL,
            job: job.job.to_string(),
            release: job.release.clone(),
            max_parallelism: job.max_parallelism.get(),
            workers: job.workers,
            operators: job.operators.iter().map(operator).collect(),
            renames: job
                .renames
                .iter()
                .map(|r| RenameV1 { from: (&r.from).into(), to: (&r.to).into() })
                .collect(),
        }
    }
}

impl From<&Schema> for SchemaV1 {
    fn from(schema: &Schema) -> Self {
        Self { version: schema.version, data_type: schema.data_type.clone() }
    }
}

impl From<SchemaV1> for Schema {
    fn from(wire: SchemaV1) -> Self {
        Self { version: wire.version, data_type: wire.data_type }
    }
}

/// Found and wanted.
type Wrong = (String, String);

impl JobV1 {
    fn check(self) -> Result<JobDescription, Wrong> {
        let groups = self.max_parallelism;
        Ok(JobDescription {
            job: JobName::new(&self.job).ok_or_else(|| not_a_name(&self.job))?,
            release: self.release,
            max_parallelism: MaxParallelism::new(groups)
                .ok_or_else(|| (format!("max_parallelism {groups}"), "1 to 32768".to_owned()))?,
            workers: self.workers,
            operators: self.operators.into_iter().map(OperatorV1::check).collect::<Result<_, _>>()?,
            renames: self.renames.into_iter().map(RenameV1::check).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Place> for PlaceV1 {
    fn from(place: &Place) -> Self {
        Self { uid: place.uid.to_string(), state: place.state.as_ref().map(ToString::to_string) }
    }
}

impl RenameV1 {
    fn check(self) -> Result<Rename, Wrong> {
        let Self { from, to } = self;
        Ok(Rename { from: from.check()?, to: to.check()? })
    }
}

impl PlaceV1 {
    fn check(self) -> Result<Place, Wrong> {
        let uid = OperatorUid::new(&self.uid).ok_or_else(|| not_a_name(&self.uid))?;
        let named = |name: String| StateName::new(&name).ok_or_else(|| not_a_name(&name));
        Ok(Place { uid, state: self.state.map(named).transpose()? })
    }
}

impl OperatorV1 {
    fn check(self) -> Result<OperatorDescription, Wrong> {
        Ok(OperatorDescription {
            uid: OperatorUid::new(&self.uid).ok_or_else(|| not_a_name(&self.uid))?,
            kind: self.kind,
            traits: OperatorTraits::parse(self.time.as_deref(), self.delivery.as_deref()),
            states: self.states.into_iter().map(StateV1::check).collect::<Result<_, _>>()?,
        })
    }
}

impl StateV1 {
    fn check(self) -> Result<StateDescription, Wrong> {
        let step = |s: StepV1| StepDescription {
            name: s.name,
            from: s.from.into(),
            to: s.to,
            revision: s.revision,
            drops: s.drops,
            has_down: s.has_down,
        };
        let kind = StateKind::parse(&self.kind);
        Ok(StateDescription {
            name: StateName::new(&self.name).ok_or_else(|| not_a_name(&self.name))?,
            kind: kind.ok_or_else(|| {
                (format!("state kind `{}`", self.kind), "`value`, `list` or `timers`".to_owned())
            })?,
            key: self.key,
            schema: self.schema.into(),
            steps: self.steps.into_iter().map(step).collect(),
            expires: self.expires,
            code: Code::default(),
        })
    }
}

fn not_a_name(found: &str) -> Wrong {
    (format!("{found:?}"), "a name: 1 to 255 bytes, no control characters, no space at either end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeBasis;

    fn alarm() -> JobDescription {
        let schema = |version, data_type| Schema { version: SchemaVersion(version), data_type };
        let v1 = schema(1, DataType::Tuple(vec![DataType::Bool, DataType::I64]));
        let state = StateDescription {
            name: StateName::new("activation").unwrap(),
            kind: StateKind::Value,
            key: Some(DataType::String),
            schema: schema(2, DataType::I64),
            steps: vec![StepDescription {
                name: "ActivationToV2".to_owned(),
                from: v1,
                to: SchemaVersion(2),
                revision: 1,
                drops: vec!["value.1".to_owned()],
                has_down: true,
            }],
            expires: true,
            code: Code::default(),
        };
        JobDescription {
            job: JobName::new("alarm").unwrap(),
            release: "0.2.0".to_owned(),
            max_parallelism: MaxParallelism::DEFAULT,
            workers: None,
            renames: vec![Rename {
                from: Place { uid: OperatorUid::new("alarm").unwrap(), state: StateName::new("on") },
                to: Place {
                    uid: OperatorUid::new("motion-alarm").unwrap(),
                    state: StateName::new("activation"),
                },
            }],
            operators: vec![OperatorDescription {
                uid: OperatorUid::new("motion-alarm").unwrap(),
                kind: "flat_map_with_state".to_owned(),
                traits: OperatorTraits { time: Some(TimeBasis::Processing), ..OperatorTraits::default() },
                states: vec![state],
            }],
        }
    }

    fn refusal(text: &str) -> String {
        JobDescription::from_json(text, "./alarm").unwrap_err().to_string()
    }

    #[test]
    fn a_description_of_a_later_protocol_is_refused_with_both_numbers() {
        let newer = alarm().to_json().replace("\"protocol\": 1", "\"protocol\": 2");
        assert_eq!(refusal(&newer), "./alarm does not describe a job: found protocol 2, wanted protocol 1");
    }

    #[test]
    fn text_that_is_no_description_is_refused() {
        assert_eq!(
            refusal("{}"),
            "./alarm does not describe a job: found no `protocol`, wanted a job's description"
        );
        assert!(refusal("usage: alarm").starts_with("./alarm does not describe a job: found no JSON ("));
        let nameless = alarm().to_json().replace("\"alarm\"", "\"\"");
        assert_eq!(
            refusal(&nameless),
            "./alarm does not describe a job: found \"\", wanted a name: 1 to 255 bytes, no control characters, \
             no space at either end"
        );
        let odd = alarm().to_json().replace("\"value\"", "\"heap\"");
        assert_eq!(
            refusal(&odd),
            "./alarm does not describe a job: found state kind `heap`, wanted `value`, `list` or `timers`"
        );
    }

    #[test]
    fn a_description_reads_back_from_its_json() {
        let text = alarm().to_json();
        assert_eq!(JobDescription::from_json(&text, "./alarm").unwrap(), alarm(), "{text}");
    }
}
