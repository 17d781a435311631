"""Reads the state files of savepoints with DuckDB, pyarrow and Polars, and compares what they see.

    check_readers.py PITLANE SAVEPOINT...

PITLANE is the command line of pitlane. For every state of a savepoint, each reader has to find as many rows as the
manifest says, and all of them the same rows; and what they find for some of the keys has to be what `pitlane get`
shows.
"""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import polars
import pyarrow.parquet
from read_spec import plain, shown

KEYS_TO_GET = 12
# What DuckDB is to see in place of numbers and bytes.
NATURAL = {
    "bool": "BOOLEAN",
    "i8": "TINYINT",
    "u64": "UBIGINT",
    "f32": "FLOAT",
    "char": "VARCHAR",
    "string": "VARCHAR",
    "bytes": "BLOB",
    "uuid": "UUID",
    "decimal": "DECIMAL",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ns": "TIMESTAMPTZ_NS",
    "local_date_time": "TIMESTAMP",
    "local_date_time_ns": "TIMESTAMP_NS",
    "date": "DATE",
    "time": "TIME_NS",
}


def rows_of(table):
    """Rows as dictionaries; what a reader found is taken as Arrow, since Python has no nanoseconds."""
    columns = {name: plain(table[name]) for name in table.column_names}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


READERS = {
    "DuckDB": lambda path: rows_of(duckdb.sql("select * from read_parquet($path)", params={"path": str(path)}).to_arrow_table()),
    "pyarrow": lambda path: rows_of(pyarrow.parquet.read_table(path)),
    "Polars": lambda path: rows_of(polars.read_parquet(path).to_arrow()),
}


def check_types(path, types):
    """Checks that plain columns have the types that people expect of them in SQL."""
    described = duckdb.sql("describe select * from read_parquet($path)", params={"path": str(path)}).fetchall()
    found = {name: kind for name, kind, *_ in described}
    for column, data_type in types.items():
        word, inner = (data_type, None) if isinstance(data_type, str) else next(iter(data_type.items()))
        wanted = NATURAL.get(word, found[column]) + (f"({inner[0]},{inner[1]})" if word == "decimal" else "")
        assert found[column] == wanted, f"{path}: DuckDB sees {column} as {found[column]}, not {wanted}"


def without_shown(value):
    """Leaves out what `get` adds to msgpack values for people."""
    if isinstance(value, dict):
        value = {name: without_shown(member) for name, member in value.items()}
        if "msgpack" in value:
            value.pop("shown", None)
    return [without_shown(item) for item in value] if isinstance(value, list) else value


def run(*command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def check_state(pitlane, savepoint, operator, state):
    place = f"{operator['uid']}/{state['name']}"
    found_rows = {}
    for file in state["files"]:
        schema = state["schemas"][file["schema"]]
        seen = {}
        check_types(savepoint / file["path"], {"value": schema["type"], **({"key": state["key"]} if state["key"] else {})})
        for reader, read in READERS.items():
            rows = read(savepoint / file["path"])
            assert len(rows) == file["rows"], f"{reader}: {file['path']}: {len(rows)} rows, not {file['rows']}"
            key_type = state["key"]
            seen[reader] = [
                (
                    row["kg"] if key_type else row["idx"],
                    shown(key_type, row["key"]) if key_type else None,
                    shown(schema["type"], row["value"]),
                )
                for row in rows
            ]
        for reader, rows in seen.items():
            for one, other in zip(rows, seen["pyarrow"]):
                assert one == other, f"{file['path']}: {reader} sees {one}, pyarrow {other}"
        for _, key, value in seen["pyarrow"] if state["key"] else []:
            found_rows[json.dumps(key)] = (key, value, schema["version"])
    total = sum(file["rows"] for file in state["files"])
    # The line for DuckDB that `inspect` shows; it finds all rows, unless no query could read all schemas.
    if state.get("sql"):
        duckdb.execute(state["sql"]).fetchall()
        found = len(duckdb.execute(state["sql"].removesuffix(" limit 5")).fetchall())
        assert found == total or 0 < found < total and len(state["schemas"]) > 1, f"{place}: SQL finds {found} rows"
    step = max(1, len(found_rows) // KEYS_TO_GET)
    for key, value, version in list(found_rows.values())[::step]:
        text = key if isinstance(key, str) else json.dumps(key)
        if "\0" in text:  # No argument of a program can have one.
            continue
        got = run(pitlane, "get", str(savepoint), place, text, "--json")
        assert without_shown(got["value"]) == value, f"{place} {text}: get has {got['value']}, readers {value}"
        assert got["schema_version"] == version, f"{place} {text}: get has version {got['schema_version']}"
    if state["key"]:
        assert len(found_rows) == total, f"{place}: {total - len(found_rows)} keys are there twice"
    print(f"  {place}: {total} rows, the same for {', '.join(READERS)}")


def not_for_plain_readers(savepoint):
    """Whether it is a checkpoint in layers or with shared files (clauses LY and SF): only savepoints are for all."""
    manifest = json.loads((savepoint / "manifest.json").read_text())
    return bool({"layers", "shared-files"} & set(manifest["features"]["read"]))


def main():
    pitlane, savepoints = sys.argv[1], sys.argv[2:]
    duckdb.sql("set timezone = 'UTC'")
    duckdb.sql("set arrow_lossless_conversion = true")
    for savepoint in map(Path, savepoints):
        print(savepoint)
        inspected = run(pitlane, "inspect", str(savepoint), "--json")
        if not_for_plain_readers(savepoint):
            continue
        for operator in inspected["operators"]:
            for state in operator["states"]:
                check_state(pitlane, savepoint, operator, state)
    assert savepoints, "no savepoint to read"


main()
