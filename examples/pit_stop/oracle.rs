//! What the flights' jobs must come to, by plain code that shares nothing with them: no engine, no state types,
//! no migrations of theirs, and its own reading of the CSV.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// What a run comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Output by name of the sink and key, in the order of each key.
    pub output: BTreeMap<(String, String), Vec<Value>>,
    /// Final state by operator and key, as the newest release sees it.
    pub state: BTreeMap<(String, String), Value>,
}

struct Row {
    minute: i64,
    dep_delay: Option<i64>,
    arr_delay: Option<i64>,
    carrier: String,
    tail: String,
    dest: String,
    miles: i64,
}

/// Reads all flights from the compressed CSV.
fn rows(csv: &Path) -> Vec<Row> {
    let mut text = String::new();
    let file = std::fs::File::open(csv).expect("the input is there");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the input is text");
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().expect("a line with the columns").split(',').collect();
    let at = |name: &str| head.iter().position(|column| *column == name).expect("the column is there");
    let [month, day, sched, dep, arr] = ["month", "day", "sched_dep_time", "dep_delay", "arr_delay"].map(at);
    let [carrier, tail, dest, miles] = ["carrier", "tailnum", "dest", "distance"].map(at);
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize| fields[at].parse::<i64>().ok();
        assert_eq!(number(month), Some(1), "the days below count from the first of January 2013");
        let (days, clock) = (15_706 + number(day)? - 1, number(sched)?);
        Some(Row {
            minute: days * 24 * 60 + clock / 100 * 60 + clock % 100,
            dep_delay: number(dep),
            arr_delay: number(arr),
            carrier: fields[carrier].to_owned(),
            tail: fields[tail].to_owned(),
            dest: fields[dest].to_owned(),
            miles: number(miles)?,
        })
    };
    lines.map(|line| row(line).expect("a whole row")).collect()
}

/// Computes what comes of reading `csv` under release 1 up to row `change`, and from there on under release 2;
/// `None` is a run under release 1 alone.
pub fn outcome(csv: &Path, change: Option<u64>) -> Outcome {
    let change = change.map_or(usize::MAX, |rows| usize::try_from(rows).expect("a number of rows"));
    let mut output: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    // By carrier: the number of delayed flights, and the worst delay since the change.
    let mut carriers: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    // By aircraft: destination, minute of return, alerts, and the longest wait since the change.
    let mut aircraft: BTreeMap<String, (String, i64, i64, Option<i64>)> = BTreeMap::new();
    let rows = rows(csv);
    for (number, row) in rows.iter().enumerate() {
        let second = number >= change;
        if let Some(delay) = row.arr_delay.filter(|delay| *delay >= 15) {
            let (count, worst) = carriers.entry(row.carrier.clone()).or_insert((0, 0));
            *count += 1;
            if second {
                *worst = delay.max(*worst);
            }
            let record =
                if second { json!([row.carrier, worst, count]) } else { json!([row.carrier, count]) };
            output.entry(("carriers".to_owned(), row.carrier.clone())).or_default().push(record);
        }
        if row.tail.is_empty() {
            continue;
        }
        let before = aircraft.remove(&row.tail);
        let mut after = before;
        if let Some((from, back, alerts, worst)) = &mut after
            && row.minute < *back
        {
            let wait = *back - row.minute;
            *alerts += 1;
            let mut record = json!({"aircraft": row.tail, "from": from, "wait_min": wait, "alerts": alerts});
            if second {
                *worst = Some(worst.map_or(wait, |worst| worst.max(wait)));
                record["worst_wait_min"] = json!(worst);
            }
            output.entry(("alerts".to_owned(), row.tail.clone())).or_default().push(record);
        }
        if let Some(delay) = row.dep_delay {
            let back = row.minute + delay + 40 + row.miles / 4;
            let (alerts, worst) = after.map_or((0, None), |(_, _, alerts, worst)| (alerts, worst));
            after = Some((row.dest.clone(), back, alerts, worst));
        }
        if let Some(state) = after {
            aircraft.insert(row.tail.clone(), state);
        }
    }
    let only_first = change >= rows.len();
    let mut state = BTreeMap::new();
    for (carrier, (count, worst)) in carriers {
        let value = if only_first { json!([carrier, count]) } else { json!([carrier, worst, count]) };
        state.insert(("carriers".to_owned(), carrier), value);
    }
    for (tail, (dest, back, alerts, worst)) in aircraft {
        let back_ms = back * 60_000;
        let value = if only_first {
            json!({"dest": dest, "back_ms": back_ms, "alerts": alerts})
        } else {
            json!({"bound_for": dest, "back_ms": back_ms, "alerts": alerts, "worst_wait_min": worst})
        };
        state.insert(("aircraft".to_owned(), tail), value);
    }
    Outcome { output, state }
}
