//! How answers look to people: sizes, times and tables.

pub(super) use crate::model::text::{counted, grouped, share, size};
use crate::model::time::civil;
use std::io::{self, Write};

/// Shows a point in time in UTC: `2013-01-31T23:59:00Z`, with milliseconds if there are any.
pub(super) fn time(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let in_day = ms.rem_euclid(DAY_MS);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = if millis == 0 { String::new() } else { format!(".{millis:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{millis}Z")
}

/// As [`time`], for times that are never before 1970.
pub(super) fn time_of(ms: u64) -> String {
    time(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// A watermark, or that there is none yet.
pub(super) fn watermark(ms: Option<i64>) -> String {
    match ms {
        None => "none yet".to_owned(),
        // The last event has been read: no time is later.
        Some(i64::MAX) => "end".to_owned(),
        Some(ms) => time(ms),
    }
}

/// Shows how long something took or takes, with its two largest units: `310 ms`, `8.2 s`, `13 d 4 h`.
pub(super) fn duration(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", (ms / 100) as f64 / 10.0),
        60_000..3_600_000 => format!("{minutes} min {} s", seconds % 60),
        3_600_000..86_400_000 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// Text from a file or a job, which must not steer the terminal: control characters are shown by their numbers.
fn harmless(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// The side on which the cells of a column line up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows of cells in columns that line up.
pub(super) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts a table with a head; a title that starts with `>` lines its column up on the right.
    pub(super) fn with_head(titles: &[&str]) -> Self {
        let mut table = Self::new(titles);
        table.row(titles.iter().map(|title| title.trim_start_matches('>').to_owned()));
        table
    }

    /// Starts a table without a head; of `columns`, those that are `>` line up on the right.
    pub(super) fn new(columns: &[&str]) -> Self {
        let align = |c: &&str| if c.starts_with('>') { Align::Right } else { Align::Left };
        Self { aligns: columns.iter().map(align).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the last column are not shown.
    pub(super) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| harmless(cell.into())).collect());
    }

    /// Writes the rows, each after `indent`, without spaces at their ends.
    pub(super) fn write(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.aligns.len()).map(width).collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for ((cell, align), width) in row.iter().zip(&self.aligns).zip(&widths) {
                let padding = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => line.extend([cell, &padding, "  "]),
                    Align::Right => line.extend([&padding, cell.as_str(), "  "]),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_never_reach_1024() {
        let sizes = [0, 1023, 1024, 1_048_575, 12_478_054, u64::MAX];
        assert_eq!(sizes.map(size), ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "11.9 MiB", "16384.0 PiB"]);
    }

    #[test]
    fn times_are_civil_dates_in_utc_also_before_1970_and_on_leap_days() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(time(1_479_399_631_000), "2016-11-17T16:20:31Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00Z");
        assert_eq!(time(-62_135_596_800_000), "0001-01-01T00:00:00Z");
        for extreme in [i64::MIN, i64::MAX] {
            assert!(time(extreme).ends_with('Z'));
        }
    }

    #[test]
    fn durations_have_two_units() {
        let shown = [999, 8_250, 61_000, 3_660_000, 1_137_600_000].map(duration);
        assert_eq!(shown, ["999 ms", "8.2 s", "1 min 1 s", "1 h 1 min", "13 d 4 h"]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&[""]);
        table.row(["a\u{1b}[2Jb\nä"]);
        let mut out = Vec::new();
        table.write(&mut out, "").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a\\u{1b}[2Jb\\nä\n");
    }

    #[test]
    fn a_table_lines_up_without_spaces_at_the_ends() {
        let mut table = Table::with_head(&["NAME", ">ROWS", "NOTE"]);
        table.row(["a", "1\u{2009}000", ""]);
        table.row(["längster", "7", "x"]);
        let mut out = Vec::new();
        table.write(&mut out, "  ").unwrap();
        let wanted = "  NAME       ROWS  NOTE\n  a         1\u{2009}000\n  längster      7  x\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
