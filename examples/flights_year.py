"""Runs the job of `flights_year.rs` over a file of flights, kills it again and again, and compares what it has written
in the end with what DuckDB makes of the same file.

    flights_year.py JOB FLIGHTS.csv.gz [--kills 20] [--seed 1] [--rate 15000] [--months] [--dir DIR]

JOB is the program that `cargo build --release --example flights_year` makes. With `--months` the job reads a file for
each month, side by side. Needs DuckDB (`pip install duckdb pytz`).
"""

import argparse
import csv
import gzip
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

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


def run(job, where, source, kills, rate, dice):
    """Runs the job to its end, killing it `kills` times before; returns how often it was killed, and how long it took."""
    env = {**os.environ, "FLIGHTS_INPUT": str(source), "FLIGHTS_OUT": str(where / "out")}
    killed, began = 0, time.monotonic()
    while True:
        workers = dice.randint(1, 3)
        args = [job, "run", "--data", where / "data", "--run-dir", where / "run"]
        args += ["--workers", str(workers), "--checkpoint-interval-ms", "100"]
        # The last attempt reads as fast as it can.
        env_now = {**env, "FLIGHTS_RATE": str(rate)} if killed < kills else env
        with open(where / "job.log", "ab") as log:
            attempt = subprocess.Popen(args, env=env_now, stdout=log, stderr=log)
            try:
                status = attempt.wait(dice.uniform(0.05, 1.5) if killed < kills else 600)
            except subprocess.TimeoutExpired:
                attempt.send_signal(signal.SIGKILL)
                attempt.wait()
                killed += 1
                continue
        if status:
            sys.exit(f"the job ended with {status}:\n{(where / 'job.log').read_text()}")
        return killed, time.monotonic() - began


def compare(out, flights):
    """Compares each output with what DuckDB makes of the input; returns how many do not agree."""
    database = duckdb.connect()
    began = time.monotonic()
    database.execute(FLIGHTS.format(csv=flights))
    (rows,) = database.execute("select count(*) from flights").fetchone()
    print(f"{rows} flights")
    wrong = 0
    for name, (reader, query) in OUTPUTS.items():
        columns = [column[0] for column in database.execute(query).description]
        reader = reader.format(dir=out / name)
        database.execute(f"create or replace temp table wanted as {query}")
        database.execute(f"create or replace temp table found as select {', '.join(columns)} from {reader}")
        counts = {}
        for one, other in [("found", "wanted"), ("wanted", "found")]:
            counts[one] = database.execute(f"select count(*) from {one}").fetchone()[0]
            left = database.execute(f"select * from {one} except all select * from {other}").fetchall()
            if left:
                print(f"{name}: {len(left)} rows are {one} alone, such as {left[:3]}")
                wrong += 1
        print(f"{name:15} {counts['found']} rows found, {counts['wanted']} wanted")
        if not counts["wanted"]:
            sys.exit(f"{name}: DuckDB finds nothing, so nothing was compared")
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
    killed, seconds = run(given.job.resolve(), where, source, given.kills, given.rate, random.Random(given.seed))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"killed {killed} times, {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU, "
          f"at most {used.ru_maxrss / 1024:.0f} MiB")
    if killed < given.kills:
        print(f"it ended before {given.kills} kills; lower --rate")
    wrong = compare(where / "out", given.flights.resolve())
    if given.dir is None and not wrong:
        shutil.rmtree(where)
    print("equal" if not wrong else f"not equal; see {where}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
