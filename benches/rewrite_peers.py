"""What DuckDB takes for the change that the benchmark of rewriting makes, with COPY.

    cargo bench --bench rewrite -- --keep DIR
    python benches/rewrite_peers.py DIR

Prints a line of JSON a figure: CPU time of the process per row, the least of three turns, with one thread.
"""

import glob
import json
import os
import resource
import sys
import tempfile

import duckdb

CHANGE = """select kg, key, {'name': value.name, 'score': value.score, 'counts': value.counts,
    'seen_ms': value.last_seen_ms, 'plan': value.plan::bigint, 'region': 'eu'} as value from read_parquet(%s)"""


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(directory):
    files = sorted(glob.glob(f"{directory}/B/state/*/*/*.parquet"))
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    rows = connection.execute(f"select count(*) from read_parquet({files})").fetchone()[0]
    for codec in ["snappy", "zstd"]:
        times = []
        for _ in range(3):
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                path = os.path.join(scratch, "new.parquet")
                before = cpu_seconds()
                connection.execute(f"copy ({CHANGE % files}) to '{path}' (format parquet, compression {codec})")
                times.append((cpu_seconds() - before) / rows * 1e9)
        name = f"DuckDB {duckdb.__version__}, COPY with {codec}"
        print(json.dumps({"name": name, "value": round(min(times), 1), "unit": "CPU ns/row"}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
