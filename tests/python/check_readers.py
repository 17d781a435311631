"""Reads the state files of savepoints with DuckDB, pyarrow and Polars, and compares what they see.

    check_readers.py PITLANE SAVEPOINT...

PITLANE is the command line of pitlane. For every state of a savepoint, each reader has to find as many rows as the
manifest says, and all of them the same rows; and what they find for some of the keys has to be what `pitlane get`
shows.
"""

import json
import math
import struct
import subprocess
import sys
from datetime import timezone
from pathlib import Path

import duckdb
import polars
import pyarrow.parquet

KEYS_TO_GET = 12
SAFE = 1 << 53
INTEGERS = {f"{sign}{bits}" for sign in "iu" for bits in (8, 16, 32, 64)}


def as_json(value, data_type):
    """Writes what a reader found in the way of `pitlane get --json`, by clauses TY-3 to TY-7 of the format."""
    kind, inner = next(iter(data_type.items())) if isinstance(data_type, dict) else (data_type, None)
    if kind == "option":
        if value is None:
            return None
        if isinstance(inner, dict) and "option" in inner:
            return {"some": as_json(value["some"], inner)}
        return {"some": None} if is_unit(inner) else as_json(value, inner)
    if is_unit(data_type):
        assert value is True, f"a unit is {value!r}"
        return {"unit": None, "tuple": [], "struct": {}}[kind]
    if kind in INTEGERS:
        return integer(value)
    if kind == "i128":
        return integer(int.from_bytes(value) - (1 << 127))
    if kind == "u128":
        return integer(int.from_bytes(value))
    if kind in ("bytes", "fixed_bytes"):
        return bytes(value).hex()
    if kind == "duration":
        return f"{value['secs']}{fraction(value['nanos'], 9)}s"
    if kind == "timestamp":
        value = value.astimezone(timezone.utc)
        return f"{value.year:04}-{value:%m-%dT%H:%M:%S}{fraction(value.microsecond, 6)}Z"
    if kind == "msgpack":
        return {"msgpack": bytes(value).hex()}
    if kind in ("list", "set"):
        return [as_json(item, inner) for item in value]
    if kind == "map":
        pairs = [(as_json(k, inner[0]), as_json(v, inner[1])) for k, v in entries(value, not isinstance(inner[0], str))]
        if not pairs or isinstance(inner[0], str) and inner[0] in INTEGERS | {"bool", "char", "string"}:
            return {key if isinstance(key, str) else json.dumps(key): value for key, value in pairs}
        return [list(pair) for pair in pairs]
    if kind == "tuple":
        return [as_json(value[f"f{index}"], part) for index, part in enumerate(inner)]
    if kind == "struct":
        return {field["name"]: as_json(value[field["name"]], field["type"]) for field in inner}
    if kind == "enum":
        return enumeration(value, inner)
    if kind in ("f32", "f64"):
        return floating(value, *((">f", "7fc00000") if kind == "f32" else (">d", "7ff8000000000000")))
    return value


def fraction(value, digits):
    return f".{value:0{digits}}".rstrip("0") if value else ""


def is_unit(data_type):
    return data_type in ("unit", {"tuple": []}, {"struct": []})


def integer(value):
    return str(value) if abs(value) > SAFE else value


def floating(value, layout, usual_nan):
    """The shortest digits that mean the same; a NaN that is not the usual one has its bits."""
    if math.isnan(value):
        bits = struct.pack(layout, value).hex()
        return "NaN" if bits == usual_nan else f"NaN(0x{bits})"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    shorter = (float(f"{value:.{digits}g}") for digits in range(1, 18))
    return next(f for f in shorter if struct.pack(layout, f) == struct.pack(layout, value))


def entries(value, is_columnar):
    """Readers show a map as a dictionary, as pairs, or as the structs that it consists of."""
    # DuckDB's way with keys that Python cannot hash.
    if isinstance(value, dict) and is_columnar:
        return zip(value["key"], value["value"])
    if isinstance(value, dict):
        return value.items()
    return [(item["key"], item["value"]) if isinstance(item, dict) else item for item in value]


def enumeration(value, variants):
    if isinstance(value, str):
        return value
    tag = value["tag"]
    variant = next(v for v in variants if v["name"] == tag)
    others = [v["name"] for v in variants if "payload" in v and v["name"] != tag]
    assert all(value[name] is None for name in others), f"{value!r} is of more than one variant"
    if "payload" not in variant:
        return tag
    payload = variant["payload"]
    data = value[tag]
    if isinstance(payload, dict) and "option" in payload:
        data = data["f0"]
    return {tag: as_json(data, payload)}


def read_duckdb(path):
    found = duckdb.execute("select * from read_parquet(?)", [str(path)])
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


READERS = {
    "DuckDB": read_duckdb,
    "pyarrow": lambda path: pyarrow.parquet.read_table(path).to_pylist(),
    # By way of Arrow: `to_dicts` makes dictionaries of maps, which fails for keys that Python cannot hash.
    "Polars": lambda path: polars.read_parquet(path).to_arrow().to_pylist(),
}


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
        for reader, read in READERS.items():
            rows = read(savepoint / file["path"])
            assert len(rows) == file["rows"], f"{reader}: {file['path']}: {len(rows)} rows, not {file['rows']}"
            key_type = state["key"]
            seen[reader] = [
                (
                    row["kg"] if key_type else row["idx"],
                    as_json(row["key"], key_type) if key_type else None,
                    as_json(row["value"], schema["type"]),
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
