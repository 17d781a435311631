"""What DuckDB and pyarrow take to read the files that the benchmark of the format has kept.

    cargo bench --bench format -- --keep DIR
    python benches/format/peers.py DIR          # with tests/python/requirements.txt installed

Prints a line of JSON a figure, as the benchmark does with --json: CPU time of the process per row, the least of some
turns, with one thread.
"""

import glob
import json
import resource
import sys

import duckdb
import pyarrow
import pyarrow.parquet

TURNS = 3

# Every column is looked at, so that none is left out.
AGGREGATES = {
    "A": "count(*), sum(kg), sum(key), count(*) filter (value.f0), sum(value.f1)",
    "B": "count(*), sum(kg), sum(length(key)), sum(length(value.name)), sum(value.score), sum(len(value.counts)), "
    "sum(value.last_seen_ms), sum(value.plan)",
}


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def least(rows, read):
    """The least CPU time of some turns, in nanoseconds a row; `read` returns the number of rows."""
    times = []
    for _ in range(TURNS):
        before = cpu_seconds()
        assert read() == rows
        times.append((cpu_seconds() - before) / rows * 1e9)
    return min(times)


def figure(name, value):
    print(json.dumps({"name": name, "value": round(value, 1), "unit": "CPU ns/row"}), flush=True)


def main(directory):
    pyarrow.set_cpu_count(1)
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    for state, aggregates in AGGREGATES.items():
        files = sorted(glob.glob(f"{directory}/{state}/state/*/*/*.parquet"))
        if not files:
            continue
        rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
        source = f"read_parquet({files})"

        def aggregated():
            return connection.execute(f"select {aggregates} from {source}").fetchone()[0]

        def to_arrow():
            return connection.execute(f"select * from {source}").to_arrow_table().num_rows

        def read_table():
            return sum(pyarrow.parquet.read_table(file, use_threads=False).num_rows for file in files)

        figure(f"{state} DuckDB {duckdb.__version__}, all columns aggregated", least(rows, aggregated))
        figure(f"{state} DuckDB {duckdb.__version__}, to Arrow", least(rows, to_arrow))
        figure(f"{state} pyarrow {pyarrow.__version__}, read_table", least(rows, read_table))


if __name__ == "__main__":
    main(sys.argv[1])
