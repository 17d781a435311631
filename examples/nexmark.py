"""Runs the Nexmark queries of `nexmark/`, kills them again and again, and compares what each has written in the end with
what DuckDB makes of the same events.

    nexmark.py JOB [q3 q5 ...] [--events 100000] [--events-per-s 1000] [--disorder 500] [--splits 4] [--kills 5] [--seed 1]
                   [--rate 5000] [--dir DIR]

JOB is the program that `cargo build --release --example nexmark` makes. Needs DuckDB (`pip install duckdb pytz`).
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from killed import is_equal, run_killed, used_by_jobs

# What each query means, by plain SQL over the events.
SALES = """
sales as (
    select id as auction, seller, category, max(price) as price, expires_ms as closed_ms
    from auctions join bids on auction = id and bids.at_ms >= auctions.at_ms and bids.at_ms < expires_ms
    group by all
)
"""
QUERIES = {
    "q0": "select * from bids",
    "q1": "select auction, bidder, price * 908 as price_thousandths, at_ms, extra from bids",
    "q2": "select auction, price from bids where auction % 123 = 0",
    "q3": """
        select name, city, state, auctions.id as auction from auctions join persons on seller = persons.id
        where category = 10 and state in ('OR', 'ID', 'CA')
    """,
    "q4": f"""
        with {SALES}, seconds as (
            select category, closed_ms // 1000 * 1000 + 1000 as until_ms, sum(price) as prices, count(*) as sales
            from sales group by all
        )
        select category, until_ms, sum(prices) over so_far // sum(sales) over so_far as average
        from seconds window so_far as (partition by category order by until_ms)
    """,
    "q5": """
        with counts as (
            select auction, count(*) as bids, (at_ms // 2000 - back) * 2000 + 10000 as until_ms
            from bids, generate_series(0, 4) as slides(back) group by all
        )
        select auction, bids, until_ms from counts qualify bids = max(bids) over (partition by until_ms)
    """,
    "q6": f"""
        with {SALES}
        select seller, auction, sum(price) over last_ten // count(*) over last_ten as average
        from sales window last_ten as (
            partition by seller order by closed_ms, auction rows between 9 preceding and current row)
    """,
    "q7": "select * from bids qualify price = max(price) over (partition by at_ms // 10000)",
    "q8": """
        select id, name, at_ms // 10000 * 10000 as from_ms from persons
        where exists (from auctions where seller = persons.id and auctions.at_ms // 10000 = persons.at_ms // 10000)
    """,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("queries", nargs="*", default=list(QUERIES), metavar="QUERY")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--events-per-s", type=int, default=1_000, help="of event time")
    parser.add_argument("--disorder", type=int, default=500, help="how many events in a row come in no order")
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--kills", type=int, default=5, help="of each query")
    parser.add_argument("--seed", type=int, default=1, help="decides when to kill, and how many workers go on")
    parser.add_argument("--rate", type=float, default=5_000, help="events a second of each split while it is killed")
    parser.add_argument("--dir", type=Path, help="where to work, a directory that is not there yet; kept")
    return parser.parse_args()


def main():
    given = arguments()
    where = given.dir or Path(tempfile.mkdtemp(prefix="nexmark-"))
    where.mkdir(exist_ok=given.dir is None)
    dice = random.Random(given.seed)
    env = {
        "NEXMARK_EVENTS": str(given.events),
        "NEXMARK_SPLITS": str(given.splits),
        "NEXMARK_EVENTS_PER_S": str(given.events_per_s),
        "NEXMARK_DISORDER": str(given.disorder),
        "NEXMARK_RATE": str(given.rate),
        "NEXMARK_OUT": str(where / "out"),
    }

    def run(name, kills):
        (where / name).mkdir()
        return run_killed([given.job.resolve(), name], where / name, env, kills, dice, {"NEXMARK_RATE"})

    run("events", 0)
    began, killed = time.monotonic(), 0
    for name in given.queries:
        killed_now = run(name, given.kills)
        killed += killed_now
        if killed_now < given.kills:
            print(f"{name} ended before {given.kills} kills; lower --rate")
    print(f"killed {killed} times, {time.monotonic() - began:.1f} s, {used_by_jobs()}")

    began = time.monotonic()
    database = duckdb.connect()
    for table in ["persons", "auctions", "bids"]:
        database.execute(f"create table {table} as from read_parquet('{where}/out/{table}/*.parquet')")
        print(f"{database.execute(f'select count(*) from {table}').fetchone()[0]} {table}")
    wrong = 0
    for name in given.queries:
        wrong += not is_equal(database, name, f"read_parquet('{where}/out/{name}/*.parquet')", QUERIES[name])
    print(f"DuckDB took {time.monotonic() - began:.1f} s")
    if given.dir is None and not wrong:
        shutil.rmtree(where)
    print("equal" if not wrong else f"not equal; see {where}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
