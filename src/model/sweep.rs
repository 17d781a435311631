//! Which rows of a savepoint workers take over although no record has touched them, and at what cost.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which of the rows that no record has touched are taken over in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweptRows {
    /// Those that have another schema than the job works with: so that old code can go.
    #[default]
    Old,
    /// All: so that a first touch costs no more than a later one.
    All,
}

/// What workers do in the background about rows of a savepoint that no record has touched.
///
/// As text it is `none`, `old` or `all`, and behind a comma the percentage, unless it is 10.
///
/// # Examples
///
/// ```
/// use pitlane::model::{Sweep, SweptRows};
///
/// assert_eq!("all,25".parse(), Ok(Sweep { rows: SweptRows::All, percent: 25 }));
/// assert_eq!("old".parse(), Ok(Sweep { rows: SweptRows::Old, percent: 10 }));
/// assert_eq!("none".parse(), Ok(Sweep::NONE));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Which rows.
    #[serde(default)]
    pub rows: SweptRows,
    /// The part of each worker's time that goes into it at most, in percent; 0 to leave the rows where they are.
    #[serde(default)]
    pub percent: u32,
}

impl Sweep {
    /// Leaves all rows where they are until they are touched.
    pub const NONE: Self = Self { rows: SweptRows::Old, percent: 0 };
    /// The percentage unless another one is given.
    pub const PERCENT: u32 = 10;
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.percent, self.rows) {
            (0, _) => f.write_str("none"),
            (percent, SweptRows::Old) => write!(f, "old,{percent}"),
            (percent, SweptRows::All) => write!(f, "all,{percent}"),
        }
    }
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted =
            || format!("found `{text}`, wanted none, old or all, or one of these and a percentage: all,25");
        let (rows, percent) = match text.split_once(',') {
            None => (text, Self::PERCENT),
            Some((rows, percent)) => (rows, percent.parse().map_err(|_| wanted())?),
        };
        if percent > 100 {
            return Err(format!("found {percent} %, wanted at most 100"));
        }
        match rows {
            "none" if text == rows => Ok(Self::NONE),
            "old" => Ok(Self { rows: SweptRows::Old, percent }),
            "all" => Ok(Self { rows: SweptRows::All, percent }),
            _ => Err(wanted()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_no_rows_or_more_than_all_time_is_refused() {
        for text in ["", "all,", "all,x", "all,101", "all,-1", "all,4294967296", "none,5", "ALL", "old,10,5"]
        {
            assert!(text.parse::<Sweep>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sweep_reads_back_from_its_text() {
        for percent in [0, 1, 100] {
            for rows in [SweptRows::Old, SweptRows::All] {
                let sweep = Sweep { rows, percent };
                let wanted = if percent == 0 { Sweep::NONE } else { sweep };
                assert_eq!(sweep.to_string().parse(), Ok(wanted));
            }
        }
    }
}
