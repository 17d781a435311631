//! What is to be known of an operator's results beside its state: the time that it goes by, how its output is delivered.

use std::fmt;

/// Which clock an operator goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// Times of the records' own: reprocessing gives the same results.
    Event,
    /// The time at which a record was read: reprocessing gives others.
    Ingestion,
    /// The time at which a record is processed: reprocessing gives others.
    Processing,
}

/// How often a record of the output may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each once, and only once it is committed.
    ExactlyOnce,
    /// Each at once; again after a failure, if it was not committed.
    AtLeastOnce,
}

/// What is to be known of an operator's results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorTraits {
    /// The clock that it goes by, if it goes by one.
    pub time: Option<TimeBasis>,
    /// How it delivers, if it writes.
    pub delivery: Option<Delivery>,
}

impl TimeBasis {
    const ALL: [Self; 3] = [Self::Event, Self::Ingestion, Self::Processing];

    /// Returns the word for it in manifests and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Ingestion => "ingestion",
            Self::Processing => "processing",
        }
    }

    /// Returns what a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|time| time.as_str() == word)
    }
}

impl Delivery {
    const ALL: [Self; 2] = [Self::ExactlyOnce, Self::AtLeastOnce];

    /// Returns the word for it in manifests and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        }
    }

    /// Returns what a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|delivery| delivery.as_str() == word)
    }
}

impl OperatorTraits {
    /// Reads the words for them; others than those that are known say nothing.
    pub(crate) fn parse(time: Option<&str>, delivery: Option<&str>) -> Self {
        Self { time: time.and_then(TimeBasis::parse), delivery: delivery.and_then(Delivery::parse) }
    }

    /// Returns why the results of a job with such an operator are not those of its input alone, if they are not.
    pub fn warnings(&self) -> Vec<Warning> {
        let time = self.time.filter(|time| *time != TimeBasis::Event).map(Warning::Time);
        let repeats = self.delivery == Some(Delivery::AtLeastOnce);
        time.into_iter().chain(repeats.then_some(Warning::Repeats)).collect()
    }
}

/// Why results are not those of the input alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// An operator goes by the machine's clock.
    Time(TimeBasis),
    /// An operator may write a record again after a failure.
    Repeats,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => {
                write!(
                    f,
                    "goes by {} time: processing the same input again gives other results",
                    time.as_str()
                )
            }
            Self::Repeats => {
                f.write_str("writes at least once: what was not committed is written again after a failure")
            }
        }
    }
}
