"""Runs the job of `flights_year.rs` over a file of flights, kills it again and again, and compares what it has written
in the end with what DuckDB makes of the same file.

    flights_year.py JOB FLIGHTS.csv.gz [--kills 20] [--seed 1] [--rate 15000] [--months] [--dir DIR]

JOB is the program that `cargo build --release --example flights_year` makes. With `--months` the job reads a file for
each month, side by side. Needs DuckDB (`pip install duckdb pytz`).
"""

import argparse
import csv
import gzip
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from killed import is_equal, run_killed, used_by_jobs

# What the job is to write, each by plain SQL over the input, and how what it has written is read.
FLIGHTS = """
create table flights as
select *, (epoch_ms(make_date(year, month, day)::timestamp)
           + ((sched_dep_time // 100) * 60 + sched_dep_time % 100 + coalesce(dep_delay, 0)) * 60000)::bigint as left_ms
from read_csv('{csv}', header = true, nullstr = '',
              types = {{'tailnum': 'VARCHAR', 'dep_delay': 'BIGINT', 'arr_delay': 'BIGINT'}})
"""
OUTPUTS = {
    "carrier-days": (
        "read_parquet('{dir}/*.parquet')",
        """
        select carrier, (left_ms // 86400000) * 86400000 as day_ms, count(*) as flights,
               count(*) filter (dep_delay is null) as cancelled, count(*) filter (arr_delay >= 15) as delayed,
               coalesce(sum(arr_delay), 0) as arrival_delay_min, max(arr_delay) as worst_arrival_min
        from flights group by all
        """,
    ),
    "airport-hours": (
        "read_csv('{dir}/*.csv.gz', header = true)",
        """
        select origin as airport, (left_ms // 3600000 - back) * 3600000 as from_ms, count(*) as departures,
               sum(dep_delay) as departure_delay_min
        from flights, generate_series(0, 5) as hours(back) where dep_delay is not null group by all
        """,
    ),
    "duties": (
        "read_json('{dir}/*.jsonl.zst')",
        """
        with gaps as (
            select *, left_ms - lag(left_ms) over (partition by tailnum order by left_ms) > 28800000 as rested
            from flights where dep_delay is not null and tailnum is not null
        ), numbered as (
            select *, sum(coalesce(rested, false)::int) over (
                partition by tailnum order by left_ms rows unbounded preceding) as duty
            from gaps
        )
        select tailnum as aircraft, min(left_ms) as from_ms, max(left_ms) as last_ms, count(*) as departures,
               sum(distance) as miles
        from numbered group by tailnum, duty
        """,
    ),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("flights", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=15_000, help="rows a second of each file while it is killed")
    parser.add_argument("--months", action="store_true", help="read a file a month, side by side")
    parser.add_argument("--dir", type=Path, help="where to work, a directory that is not there yet; kept")
    return parser.parse_args()


def split_by_month(flights, target):
    """Writes a file a month, under names of one length so that they sort."""
    target.mkdir()
    files = {}
    with gzip.open(flights, "rt", newline="") as lines:
        rows = csv.reader(lines)
        head = next(rows)
        month = head.index("month")
        for row in rows:
            if row[month] not in files:
                file = gzip.open(target / f"{int(row[month]):02}.csv.gz", "wt", newline="", compresslevel=1)
                files[row[month]] = (file, csv.writer(file, lineterminator="\n"))
                files[row[month]][1].writerow(head)
            files[row[month]][1].writerow(row)
    for file, _ in files.values():
        file.close()


def compare(out, flights):
    """Compares each output with what DuckDB makes of the input; returns how many do not agree."""
    database = duckdb.connect()
    began = time.monotonic()
    database.execute(FLIGHTS.format(csv=flights))
    (rows,) = database.execute("select count(*) from flights").fetchone()
    print(f"{rows} flights")
    wrong = 0
    for name, (reader, query) in OUTPUTS.items():
        wrong += not is_equal(database, name, reader.format(dir=out / name), query)
    late = [path for path in (out / "late").glob("*.jsonl")] if (out / "late").exists() else []
    if late:
        print(f"records came too late: {late}")
        wrong += 1
    print(f"DuckDB took {time.monotonic() - began:.1f} s")
    return wrong


def main():
    given = arguments()
    where = given.dir or Path(tempfile.mkdtemp(prefix="flights-"))
    where.mkdir(exist_ok=given.dir is None)
    source = given.flights.resolve()
    if given.months:
        source = where / "months"
        split_by_month(given.flights, source)
    env = {"FLIGHTS_INPUT": str(source), "FLIGHTS_OUT": str(where / "out"), "FLIGHTS_RATE": str(given.rate)}
    dice, began = random.Random(given.seed), time.monotonic()
    killed = run_killed([given.job.resolve()], where, env, given.kills, dice, {"FLIGHTS_RATE"})
    print(f"killed {killed} times, {time.monotonic() - began:.1f} s, {used_by_jobs()}")
    if killed < given.kills:
        print(f"it ended before {given.kills} kills; lower --rate")
    wrong = compare(where / "out", given.flights.resolve())
    if given.dir is None and not wrong:
        shutil.rmtree(where)
    print("equal" if not wrong else f"not equal; see {where}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
