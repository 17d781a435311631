#!/usr/bin/env python3
"""An independent reader of pitlane savepoints, written from format-spec/v1.md alone.

It shares no code with pitlane: JSON and hashes are Python's, Parquet is pyarrow's, XXH3 is the package xxhash. It reads
every golden savepoint in fixtures/v1, checks each clause that concerns readers, decodes every value, and compares with
expected.json; every savepoint in fixtures/broken must be refused. Comments name the clauses.

    python3 -m venv .venv && .venv/bin/pip install -r tests/python/requirements.txt
    .venv/bin/python tests/python/read_spec.py [-v]
    .venv/bin/python tests/python/read_spec.py SAVEPOINT...

With savepoints it reads those, and says what is wrong with them; rows are compared with `rows.json`, if that lies beside.
"""

import datetime
import hashlib
import json
import math
import pathlib
import re
import struct
import sys

import pyarrow
import pyarrow.parquet
import xxhash

SAFE = 1 << 53


class Refused(Exception):
    """The savepoint breaks a clause."""


def check(holds, clause, what):
    if not holds:
        raise Refused(f"{clause}: {what}")


# ---- Manifest (section 2)


def canonical(value):
    """MF-2. Python sorts text by code points, which is the order of its UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def no_fraction(text):
    raise Refused(f"MF-2: the number {text}")


def whole_number(text):
    check(abs(int(text)) <= SAFE, "MF-2", f"the number {text}")
    return int(text)


def digest(text, digits=64):
    check(isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", text), "MF-10", f"the digest {text}")
    return text


def number(text, low=0, high=(1 << 64) - 1):
    """MF-6."""
    check(isinstance(text, str) and re.fullmatch(r"0|-?[1-9][0-9]*", text), "MF-6", f"the number {text!r}")
    check(low <= int(text) <= high, "MF-6", f"the number {text}")
    return int(text)


def name(text):
    """MF-8."""
    check(isinstance(text, str) and 1 <= len(text.encode()) <= 255, "MF-8", f"the name {text!r}")
    is_control = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    check(not is_control and text == text.strip(), "MF-8", f"the name {text!r}")
    return text


def path(text):
    """MF-9."""
    check(isinstance(text, str) and len(text.encode()) <= 1024, "MF-9", "a long path")
    check(all(part not in ("", ".", "..") for part in text.split("/")), "MF-9", f"the path {text}")
    check(not any(c == "\\" or ord(c) < 32 or 127 <= ord(c) < 160 for c in text), "MF-9", f"the path {text!r}")
    check(text != "manifest.json", "MF-9", "the manifest as a state file")
    return text


def members(value, required, optional=()):
    """MF-6: the members are there; others are ignored (MF-15)."""
    check(isinstance(value, dict), "MF-6", f"{value} in place of an object")
    missing = [member for member in required if member not in value]
    check(not missing, "MF-6", f"no {missing}")
    return value


def once(values, clause):
    values = list(values)
    check(len(set(values)) == len(values), clause, f"something twice in {values}")


def read_manifest(data):
    check(len(data) <= 67108864, "MF-1", "a large manifest")
    try:
        manifest = json.loads(data.decode(), parse_float=no_fraction, parse_int=whole_number, parse_constant=no_fraction)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Refused(f"MF-1: {error}") from error
    version = members(members(manifest, ["format"])["format"], ["name", "major", "minor"])
    check(version["name"] == "pitlane", "MF-3", "another format")
    check(version["major"] == 1, "MF-3", f"format {version['major']}.{version['minor']}, this reader knows 1")
    check(canonical(manifest).encode() == data, "MF-2", "another spelling")
    members(manifest, ["features", "root", "kind", "created_ms", "writer", "job", "epoch", "labels"])
    members(manifest, ["max_parallelism", "parallelism", "sources", "operators"])
    for feature in members(manifest["features"], ["read", "write"])["read"]:
        check(feature in ("mixed-schemas", "layers", "quarantine", "shared-files"), "MF-4", f"the feature {feature}")
    without_root = {member: value for member, value in manifest.items() if member != "root"}
    root = hashlib.sha256(canonical(without_root).encode()).hexdigest()
    check(root == digest(manifest["root"]), "MF-5", f"the root hash {root}")
    check(manifest["kind"] in ("savepoint", "checkpoint"), "MF-6", "another kind")
    check(1 <= manifest["max_parallelism"] <= 32768 and manifest["parallelism"] >= 1, "MF-7", "parallelism")
    number(manifest["created_ms"]), number(manifest["epoch"])
    job = members(manifest["job"], ["name", "release", "branch", "attempt"])
    name(job["name"]), number(job["attempt"])
    if "parent" in manifest:
        digest(manifest["parent"], 16)
    for source in manifest["sources"]:
        name(members(source, ["uid", "positions"])["uid"])
        for position in source["positions"]:
            members(position, ["split", "offset", "records", "finished"])
            number(position["offset"]), number(position["records"])
            if "watermark_ms" in position:
                number(position["watermark_ms"], -(1 << 63), (1 << 63) - 1)
        once((position["split"] for position in source["positions"]), "MF-14")
    for migration in manifest.get("migrations", []):
        check_migration(migration)
    once((canonical(migration) for migration in manifest.get("migrations", [])), "MF-17")
    once((source["uid"] for source in manifest["sources"]), "MF-8")
    once((members(operator, ["uid", "kind", "states"])["uid"] for operator in manifest["operators"]), "MF-8")
    files = []
    for operator in manifest["operators"]:
        name(operator["uid"])
        once((members(state, ["name"])["name"] for state in operator["states"]), "MF-8")
        for state in operator["states"]:
            check_state(state, manifest)
            files += all_files(state)
    once((file["path"] for file in files), "MF-9")
    check(sum(number(file["rows"]) for file in files) < 1 << 64, "MF-10", "many rows")
    check(sum(number(file["size_bytes"]) for file in files) < 1 << 64, "MF-10", "many bytes")
    return manifest


def check_migration(migration):
    """MF-17."""
    members(migration, ["name", "checksum", "operator", "what"])
    check(isinstance(migration["name"], str) and isinstance(migration["what"], str), "MF-6", "a migration without text")
    digest(migration["checksum"]), name(migration["operator"])
    if "state" in migration:
        name(migration["state"])
    if "savepoint" in migration:
        digest(migration["savepoint"], 16)
    check(("from" in migration) == ("to" in migration), "MF-17", "one of `from` and `to`")
    for version in (migration.get("from", 0), migration.get("to", 0)):
        check(isinstance(version, int) and 0 <= version < 1 << 32, "MF-6", f"the schema version {version!r}")


def all_files(state):
    return state["files"] + state.get("tombstones", [])


def check_state(state, manifest):
    members(state, ["name", "kind", "schemas", "files"])
    name(state["name"])
    check(state["kind"] in ("value", "list", "timers"), "MF-6", f"the kind {state['kind']}")
    keyed = state["kind"] != "list"
    check(keyed == ("key" in state), "MF-13", "a key type")
    if keyed:
        check_type(state["key"])
        check(has_encoding(state["key"]), "KE-1", f"the key type {state['key']}")
    if state["kind"] == "timers":
        timer = {"struct": [{"name": "at_ms", "type": "i64"}, {"name": "key", "type": key_of_timer(state)}]}
        check(state["key"] == timer, "TM-1", f"timers of the type {state['key']}")
    schemas = state["schemas"]
    check(schemas, "MF-11", "no schema")
    check(len(schemas) == 1 or "mixed-schemas" in manifest["features"]["read"], "MF-4", "no `mixed-schemas`")
    for schema in schemas:
        members(schema, ["version", "fingerprint", "type"])
        check_type(schema["type"])
        check(fingerprint(schema["type"]) == schema["fingerprint"], "MF-11", "another fingerprint")
        check(state["kind"] != "timers" or schema["type"] == "unit", "TM-1", "timers with values")
    once(((schema["version"], schema["fingerprint"]) for schema in schemas), "MF-11")
    for file in state.get("tombstones", []):
        # LY-3: read below as a file of the schema behind all others.
        check("layer" in file and "schema" not in file, "LY-1", "tombstones without layer, or with a schema")
    for file in all_files(state):
        members(file, ["path", "rows", "sha256", "size_bytes", "tail_bytes", "tail_sha256"])
        path(file["path"]), digest(file["sha256"]), digest(file["tail_sha256"])
        size, tail = number(file["size_bytes"]), number(file["tail_bytes"])
        check(tail >= 12 and tail + 4 <= size < 1 << 63, "MF-10", f"{tail} of {size} bytes")
        if file in state["files"]:
            check(0 <= members(file, ["schema"])["schema"] < len(schemas), "MF-11", f"schema {file['schema']}")
        of_checkpoint = manifest["kind"] == "checkpoint"
        if "layer" in file:
            check(1 <= file["layer"] < 1 << 32, "LY-1", f"layer {file['layer']}")
            check(keyed and of_checkpoint and "layers" in manifest["features"]["read"], "LY-2", "layers")
        if "base" in file:
            check(of_checkpoint and "shared-files" in manifest["features"]["read"], "SF-3", "shared files")
            check("/" not in path(file["base"]) and len(file["base"].encode()) <= 255, "SF-2", f"the base {file['base']}")
        if "touched" in file:
            check(file["touched"] is True, "EX-1", f"touched: {file['touched']}")
            check(state["kind"] == "value" and file in state["files"], "EX-2", "times of what does not expire")
        if "quarantined" in file:
            check(file["quarantined"] is True, "QU-1", f"quarantined: {file['quarantined']}")
            check(state["kind"] == "value" and file in state["files"], "QU-2", "no rows of values in quarantine")
            check("quarantine" in manifest["features"]["read"], "QU-2", "no `quarantine`")
        check(("key_groups" in file) == (keyed and number(file["rows"]) > 0), "MF-12", "key groups")
        if "key_groups" in file:
            first, last = file["key_groups"]
            check(0 <= first <= last < manifest["max_parallelism"], "MF-12", f"key groups {first}-{last}")


def key_of_timer(state):
    """TM-1: the type of the part `key`; `None` if there is no such part."""
    word, fields = parts(state["key"])
    return next((field["type"] for field in fields if field["name"] == "key"), None) if word == "struct" else None


# ---- Types and schemas (section 5)

INTEGERS = {f"{sign}{bits}": (sign == "i", bits) for sign in "iu" for bits in (8, 16, 32, 64, 128)}
# TY-9: the units in a second of the types that count from 1970, and what tells those in UTC.
TIMES = {
    "timestamp": (10**6, "Z"),
    "timestamp_ns": (10**9, "Z"),
    "local_date_time": (10**6, ""),
    "local_date_time_ns": (10**9, ""),
}
WORDS = {*INTEGERS, *TIMES, "bool", "f32", "f64", "char", "string", "bytes", "uuid", "duration", "date", "time", "unit", "msgpack"}
DURATION = (("secs", "u64"), ("nanos", "u32"))
DAY_NANOS = 86_400 * 10**9
DEEPEST = 32


def parts(data_type):
    """The word of a type and what belongs to it."""
    return (data_type, None) if isinstance(data_type, str) else next(iter(data_type.items()))


def check_type(data_type, depth=1):
    """TY-1, TY-4, TY-10, SC-5, SC-6."""
    check(depth <= DEEPEST, "TY-10", f"a type {depth} levels deep")
    deeper = depth + 1
    if isinstance(data_type, str):
        return check(data_type in WORDS, "TY-1", f"the type {data_type}")
    check(isinstance(data_type, dict) and len(data_type) == 1, "TY-1", f"the type {data_type}")
    word, inner = parts(data_type)
    if word == "fixed_bytes":
        check(isinstance(inner, int) and 1 <= inner <= 1048576, "TY-1", f"{inner} bytes")
    elif word == "decimal":
        check(isinstance(inner, list) and len(inner) == 2, "TY-1", f"the decimal {inner}")
        check(all(type(number) is int for number in inner), "TY-1", f"the decimal {inner}")
        check(1 <= inner[0] <= 38 and 0 <= inner[1] <= inner[0], "TY-1", f"the decimal {inner}")
    elif word in ("option", "list"):
        check_type(inner, deeper)
    elif word == "set":
        check_type(inner, deeper)
        check(has_encoding(inner), "TY-4", f"a set of {inner}")
    elif word == "map":
        check_type(inner[0], deeper), check_type(inner[1], deeper)
        check(len(inner) == 2 and has_encoding(inner[0]), "TY-4", f"a map of {inner}")
    elif word == "tuple":
        for part in inner:
            check_type(part, deeper)
    elif word == "struct":
        for field in inner:
            check_type(members(field, ["name", "type"])["type"], deeper)
            json.loads(field.get("default", "null"))
        once((field["name"] for field in inner), "SC-5")
        once((identity(field) for field in inner), "SC-5")
        once((field_id(identity(field)) for field in inner), "SC-5")
        check(all(field["name"] and identity(field) for field in inner), "SC-5", "an empty name")
    elif word == "enum":
        for variant in inner:
            if "payload" in members(variant, ["name"]):
                check_type(variant["payload"], deeper)
        once((variant["name"] for variant in inner), "SC-5")
        once((identity(variant) for variant in inner), "SC-5")
        with_data = [variant for variant in inner if "payload" in variant]
        once(["tag", *(variant["name"] for variant in with_data)], "SC-5")
        once([field_id("tag"), *(field_id(identity(variant)) for variant in with_data)], "SC-5")
        check(inner and all(variant["name"] for variant in inner), "SC-5", "an empty enum or name")
    else:
        raise Refused(f"TY-1: the type {word}")


def has_encoding(data_type):
    """KE-1."""
    word, inner = parts(data_type)
    if word in ("option", "list"):
        return has_encoding(inner)
    if word == "tuple":
        return all(map(has_encoding, inner))
    if word == "struct":
        return all(has_encoding(field["type"]) for field in inner)
    if word == "enum":
        return all(has_encoding(variant["payload"]) for variant in inner if "payload" in variant)
    return word not in ("f32", "f64", "set", "map", "msgpack")


def identity(field):
    """SC-2."""
    return field.get("was", field["name"])


def field_id(text):
    """SC-3: FNV-1a."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return (value & 0x3FFFFFFF) + 100


def fingerprint(data_type):
    """SC-4."""
    return hashlib.sha256(canonical(stored(data_type)).encode()).hexdigest()


def stored(data_type):
    word, inner = parts(data_type)
    if inner is None or word in ("fixed_bytes", "decimal"):
        return data_type
    if word in ("option", "list", "set"):
        return {word: stored(inner)}
    if word in ("map", "tuple"):
        return {word: [stored(part) for part in inner]}
    kept = []
    for part in inner:
        kept.append({member: part[member] for member in ("name", "was") if member in part})
        for member in ("type", "payload"):
            if member in part:
                kept[-1][member] = stored(part[member])
    return {word: kept}


def is_option(data_type):
    return parts(data_type)[0] == "option"


def has_data(variants):
    return any("payload" in variant for variant in variants)


def columns(label, data_type, ident, depth=1, optional=None):
    """TY-2 to TY-11: the lines in which pyarrow shows the column of a type."""
    word, inner = parts(data_type)
    if word == "option":
        if is_option(inner):
            some = columns("some", inner, field_id("some"), depth + 1)
            return group(label, ident, depth, True, "", some)
        return columns(label, inner, ident, depth, True)
    optional = bool(optional)

    def leaf(physical, logical=""):
        repetition = "optional" if optional else "required"
        return [f"{'  ' * depth}{repetition} {physical} field_id={ident} {label}{logical};"]

    if word in INTEGERS:
        signed, bits = INTEGERS[word]
        if bits == 128:
            return leaf("fixed_len_byte_array(16)")
        logical = f" (Int(bitWidth={bits}, isSigned={str(signed).lower()}))"
        return leaf("int64" if bits == 64 else "int32", "" if signed and bits >= 32 else logical)
    plain = {"bool": "boolean", "unit": "boolean", "f32": "float", "f64": "double", "bytes": "binary", "msgpack": "binary"}
    if word in plain:
        return leaf(plain[word])
    if word in ("char", "string") or word == "enum" and not has_data(inner):
        return leaf("binary", " (String)")
    if word == "duration":
        secs, nanos = (columns(name, kind, field_id(name), depth + 1) for name, kind in DURATION)
        return group(label, ident, depth, optional, "", secs + nanos)
    if word in TIMES:
        per_second, zone = TIMES[word]
        unit = "microseconds" if per_second == 10**6 else "nanoseconds"
        details = "is_from_converted_type=false, force_set_converted_type=false"
        return leaf("int64", f" (Timestamp(isAdjustedToUTC={str(zone == 'Z').lower()}, timeUnit={unit}, {details}))")
    if word == "date":
        return leaf("int32", " (Date)")
    if word == "time":
        return leaf("int64", " (Time(isAdjustedToUTC=false, timeUnit=nanoseconds))")
    if word == "fixed_bytes":
        return leaf(f"fixed_len_byte_array({inner})")
    if word == "uuid":
        return leaf("fixed_len_byte_array(16)", " (UUID)")
    if word == "decimal":
        precision, scale = inner
        bits = next(bits for bits in range(8, 136, 8) if 10**precision <= 1 << bits - 1)
        physical = "int32" if precision <= 9 else "int64" if precision <= 18 else f"fixed_len_byte_array({bits // 8})"
        return leaf(physical, f" (Decimal(precision={precision}, scale={scale}))")
    if word in ("tuple", "struct") and not inner:
        return leaf("boolean")
    if word in ("list", "set"):
        element = columns("element", inner, -1, depth + 2)
        return listed(label, ident, depth, optional, element)
    if word == "map":
        deeper = depth + (3 if is_option(inner[0]) else 2)
        entry = columns("key", inner[0], -1, deeper) + columns("value", inner[1], -1, deeper)
        if is_option(inner[0]):
            return listed(label, ident, depth, optional, group("element", -1, depth + 2, False, "", entry))
        return group(label, ident, depth, optional, " (Map)", repeated("entries", depth + 1, entry))
    if word == "tuple":
        fields = [(f"f{i}", part, field_id(f"f{i}"), None) for i, part in enumerate(inner)]
    elif word == "struct":
        fields = [(field["name"], field["type"], field_id(identity(field)), None) for field in inner]
    else:
        fields = [("tag", "string", field_id("tag"), None)]
        for variant in inner:
            if "payload" in variant:
                payload = {"tuple": [variant["payload"]]} if is_option(variant["payload"]) else variant["payload"]
                fields.append((variant["name"], payload, field_id(identity(variant)), True))
    content = [line for field in fields for line in columns(*field[:3], depth + 1, field[3])]
    return group(label, ident, depth, optional, "", content)


def group(label, ident, depth, optional, logical, content):
    indent, repetition = "  " * depth, "optional" if optional else "required"
    return [f"{indent}{repetition} group field_id={ident} {label}{logical} {{", *content, f"{indent}}}"]


def repeated(label, depth, content):
    return [f"{'  ' * depth}repeated group field_id=-1 {label} {{", *content, f"{'  ' * depth}}}"]


def listed(label, ident, depth, optional, element):
    return group(label, ident, depth, optional, " (List)", repeated("list", depth + 1, element))


# ---- Values (section 8), and keys (section 4)


def plain(array):
    """The values of an array as Python's own, where times are the numbers that they are stored as.

    pyarrow makes dates of them, which Python has for the years 1 to 9999 and to the microsecond only.
    """
    if isinstance(array, pyarrow.ChunkedArray):
        return [value for chunk in array.chunks for value in plain(chunk)]
    if isinstance(array.type, pyarrow.Bool8Type):  # DuckDB's, where Parquet has bits.
        return [None if value is None else value != 0 for value in plain(array.storage)]
    if isinstance(array, pyarrow.ExtensionArray):
        return plain(array.storage)
    kind, present = array.type, array.is_valid().to_pylist()
    if pyarrow.types.is_temporal(kind):
        return array.view(pyarrow.int32() if kind.bit_width == 32 else pyarrow.int64()).to_pylist()
    if pyarrow.types.is_struct(kind):
        fields = [(kind.field(i).name, plain(array.field(i))) for i in range(kind.num_fields)]
        rows = ({name: column[row] for name, column in fields} for row in range(len(array)))
        return [row if there else None for row, there in zip(rows, present)]
    if pyarrow.types.is_map(kind) or pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        is_map = pyarrow.types.is_map(kind)
        items = list(zip(plain(array.keys), plain(array.items))) if is_map else plain(array.values)
        ends = array.offsets.to_pylist()
        rows = (items[start:end] for start, end in zip(ends, ends[1:]))
        return [row if there else None for row, there in zip(rows, present)]
    return array.to_pylist()


def wide(word, data):
    """TY-7."""
    value = int.from_bytes(data, "big")
    return value - (1 << 127) if word == "i128" else value


def shown_float(word, value):
    """VJ-3."""
    if math.isnan(value):
        size, usual = (">f", 0x7FC00000) if word == "f32" else (">d", 0x7FF8000000000000)
        bits = int.from_bytes(struct.pack(size, value), "big")
        return "NaN" if bits == usual else f"NaN({bits:#x})"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if word == "f32":
        for digits in range(1, 10):
            if struct.pack("<f", float(f"{value:.{digits}g}")) == struct.pack("<f", value):
                return float(f"{value:.{digits}g}")
    return value


def entries(value):
    """The pairs of a map: dicts where it is a list of groups (TY-4), and to some readers always."""
    return [(pair["key"], pair["value"]) if isinstance(pair, dict) else pair for pair in value]


def variant_of(variants, value):
    """TY-5: the tag, the type of its data if it has some, and the data."""
    tag = value["tag"] if has_data(variants) else value
    check(tag in [variant["name"] for variant in variants], "TY-5", f"the variant {tag}")
    payload = None
    for variant in variants:
        if "payload" in variant:
            if variant["name"] == tag:
                payload = variant["payload"]
            check((value[variant["name"]] is not None) == (variant["name"] == tag), "TY-5", "data of another variant")
    data = None if payload is None else value[tag]
    return tag, payload, data["f0"] if payload is not None and is_option(payload) else data


def shown(data_type, value):
    """VJ-1 to VJ-9: the JSON form of what pyarrow made of a column."""
    word, inner = parts(data_type)
    if word == "option":
        if value is None:
            return None
        if is_option(inner):
            return {"some": shown(inner, value["some"])}
        return {"some": shown(inner, value)} if inner == "unit" else shown(inner, value)
    check(value is not None, "TY-3", f"no value of the type {word}")
    if word in INTEGERS:
        value = wide(word, value) if INTEGERS[word][1] == 128 else value
        return value if abs(value) <= SAFE else str(value)
    if word in ("f32", "f64"):
        return shown_float(word, value)
    if word in ("unit", "tuple", "struct") and not inner:
        check(value is True, "TY-6", "a false unit")
        return {"unit": None, "tuple": [], "struct": {}}[word]
    if word == "char":
        check(len(value) == 1, "TY-1", f"the char {value!r}")
    if word in ("bytes", "fixed_bytes"):
        return value.hex()
    if word == "duration":
        check(value["nanos"] < 10**9, "TY-9", "a second of nanoseconds")
        return f"{value['secs']}{fraction(value['nanos'], 9)}s"
    if word in TIMES:
        per_second, zone = TIMES[word]
        day, in_day = divmod(value, 86_400 * per_second)
        return f"{shown_date(day)}T{shown_time(in_day, per_second)}{zone}"
    if word == "date":
        return shown_date(value)
    if word == "time":
        check(0 <= value < DAY_NANOS, "TY-9", f"{value} nanoseconds of a day")
        return shown_time(value, 10**9)
    if word == "uuid":
        return "-".join(value.hex()[start:end] for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
    if word == "decimal":
        digits = str(abs(unscaled(inner, value))).rjust(inner[1] + 1, "0")
        sign = "-" if value < 0 else ""
        return f"{sign}{digits[:-inner[1]]}.{digits[-inner[1]:]}" if inner[1] else sign + digits
    if word == "msgpack":
        return {"msgpack": value.hex()}
    if word in ("list", "set"):
        if word == "set":
            in_order(inner, value)
        return [shown(inner, item) for item in value]
    if word == "map":
        pairs = entries(value)
        in_order(inner[0], [key for key, _ in pairs])
        pairs = [(shown(inner[0], key), shown(inner[1], item)) for key, item in pairs]
        if inner[0] in (*INTEGERS, "char", "string", "bool"):
            spelled = (lambda key: str(key).lower()) if inner[0] == "bool" else str
            return {spelled(key): item for key, item in pairs}
        return [list(pair) for pair in pairs] or {}
    if word == "tuple":
        return [shown(part, value[f"f{i}"]) for i, part in enumerate(inner)]
    if word == "struct":
        return {field["name"]: shown(field["type"], value[field["name"]]) for field in inner}
    if word == "enum":
        tag, payload, data = variant_of(inner, value)
        return tag if payload is None else {tag: shown(payload, data)}
    return value


def fraction(value, digits):
    """VJ-8."""
    return f".{value:0{digits}}".rstrip("0") if value else ""


def shown_date(day):
    """VJ-8. The calendar repeats itself every 400 years, of which Python knows those from 2000 on."""
    era, in_era = divmod(day - 10_957, 146_097)
    date = datetime.date(2000, 1, 1) + datetime.timedelta(days=in_era)
    year = date.year + 400 * era
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04}-{date:%m-%d}"


def shown_time(value, per_second):
    """VJ-8."""
    seconds, rest = divmod(value, per_second)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + fraction(rest, len(str(per_second)) - 1)


def unscaled(data_type, value):
    """TY-11: the number without the point."""
    precision, scale = data_type
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)))
    check(exponent == -scale and number < 10**precision, "TY-11", f"the number {value}")
    return -number if sign else number


def in_order(data_type, values):
    """TY-4."""
    encoded = [encode(data_type, value) for value in values]
    check(all(a < b for a, b in zip(encoded, encoded[1:])), "TY-4", "elements out of order")


def encode(data_type, value):
    """KE-2 to KE-5."""
    word, inner = parts(data_type)
    if word in INTEGERS:
        signed, bits = INTEGERS[word]
        if bits == 128:
            return value
        return (value + (1 << bits - 1 if signed else 0)).to_bytes(bits // 8, "big")
    if word == "bool":
        return bytes([value])
    if word in ("unit", "tuple", "struct") and not inner:
        return b""
    if word == "char":
        return ord(value).to_bytes(4, "big")
    if word in ("fixed_bytes", "uuid"):
        return value
    if word == "duration":
        return encode("u64", value["secs"]) + encode("u32", value["nanos"])
    if word in TIMES or word == "time":
        return encode("i64", value)
    if word == "date":
        return encode("i32", value)
    if word == "decimal":
        return (unscaled(inner, value) + (1 << 127)).to_bytes(16, "big")
    if word in ("string", "bytes"):
        data = value.encode() if word == "string" else value
        return data.replace(b"\0", b"\0\xff") + b"\0\0"
    if word == "option":
        if value is None:
            return b"\0"
        return b"\1" + encode(inner, value["some"] if is_option(inner) else value)
    if word == "list":
        return b"".join(b"\1" + encode(inner, item) for item in value) + b"\0"
    if word == "tuple":
        return b"".join(encode(part, value[f"f{i}"]) for i, part in enumerate(inner))
    if word == "struct":
        return b"".join(encode(field["type"], value[field["name"]]) for field in inner)
    tag, payload, data = variant_of(inner, value)
    return encode("string", tag) + (b"" if payload is None else encode(payload, data))


def key_group(encoded, groups):
    """KG-1."""
    return ((xxhash.xxh3_64_intdigest(encoded) >> 33) & 0xFFFFFF) * groups >> 24


# ---- State files (sections 6 and 7)

# The numbers that Parquet gives.
CODECS = ["UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"]
PHYSICAL = ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"]
ENCODINGS = ["PLAIN", None, "PLAIN_DICTIONARY", "RLE", "BIT_PACKED", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY"]
ENCODINGS += ["DELTA_BYTE_ARRAY", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"]


def page_length(data, start):
    """The length of a page: its header, Thrift in the compact protocol, and what the header says follows it; and its
    weight (PQ-12)."""
    at, last, compressed, uncompressed, values = start, 0, None, 0, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def skip(kind):
        nonlocal at
        if kind in (4, 5, 6):
            varint()
        elif kind == 3:
            at += 1
        elif kind == 7:
            at += 8
        elif kind == 8:
            at += varint()
        elif kind == 12:
            while data[at]:
                head = data[at]
                at += 1
                if head < 0x10:
                    varint()
                skip(head & 0x0F)
            at += 1
        elif kind not in (1, 2):
            raise Refused(f"PQ-11: a page header with the Thrift type {kind}")

    while data[at]:
        head = data[at]
        at += 1
        last = last + (head >> 4) if head >= 0x10 else varint() // 2
        if last == 2:
            uncompressed = varint() // 2
        elif last == 3:
            compressed = varint() // 2
        else:
            if last in (5, 8):
                # The header of a page of data, whose first field is the number of values.
                kept, at = at, at + 1
                values = varint() // 2
                at = kept
            skip(head & 0x0F)
    return at + 1 + compressed - start, uncompressed + 8 * values


def read_file(data, file, state, schema, groups):
    """Reads a state file; yields its rows in their JSON form, and the number of rows of each row group."""
    size, tail = int(file["size_bytes"]), int(file["tail_bytes"])
    check(len(data) == size, "CH-5", f"{len(data)} bytes")
    check(data[:4] == b"PAR1", "PQ-1", "another magic")
    check(hashlib.sha256(data[size - tail :]).hexdigest() == file["tail_sha256"], "CH-5", "another tail")
    check(hashlib.sha256(data).hexdigest() == file["sha256"], "MF-10", "another SHA-256")
    parquet = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data))
    keyed = state["kind"] != "list"
    # TM-2: the time comes first in the encoding, and does not count.
    skipped = 8 if state["kind"] == "timers" else 0
    # PQ-1 to PQ-3
    if keyed:
        wanted = ["  required int32 field_id=1 kg (Int(bitWidth=16, isSigned=false));", *columns("key", state["key"], 2)]
    else:
        wanted = ["  required int32 field_id=5 idx (Int(bitWidth=32, isSigned=false));"]
    wanted += columns("value", schema["type"], 4)
    if "touched" in file:
        # EX-1
        wanted.append("  required int64 field_id=6 touched_ms;")
    if "quarantined" in file:
        # QU-1
        wanted.append("  required binary field_id=7 reason (String);")
    found = str(parquet.schema).rstrip("\n").split("\n")[2:-1]
    check(found == wanted, "PQ-1", "other columns:\n" + "\n".join(found) + "\nwanted\n" + "\n".join(wanted))
    # PQ-10
    footer, metadata = parquet.metadata.metadata, parquet.metadata
    check(footer[b"pitlane.format"].split(b".")[0] == b"1", "PQ-10", "another format version")
    check(footer[b"pitlane.schema"].decode() == schema["fingerprint"], "PQ-10", "another schema")
    stride = int(footer[b"pitlane.stride"])
    check_hashes(data, metadata, footer, size - tail)
    check(metadata.num_rows == int(file["rows"]), "MF-12", f"{metadata.num_rows} rows")
    rows, row_groups, places = [], [], []
    for index in range(metadata.num_row_groups):
        count = metadata.row_group(index).num_rows
        # Before anything is read: Parquet libraries make room for as many rows as the footer says.
        check(1 <= count <= 1048576, "PQ-9", f"{count} rows")
        table = parquet.read_row_group(index)
        table.validate(full=True)
        batch = {name: plain(table[name]) for name in table.column_names}
        check(table.num_rows == count, "PQ-9", f"{table.num_rows} rows")
        values = [shown(schema["type"], value) for value in batch["value"]]
        if keyed:
            encoded = [encode(state["key"], key) for key in batch["key"]]
            for group_found, code in zip(batch["kg"], encoded):
                check(group_found == key_group(code[skipped:], groups), "PQ-5", f"a key in key group {group_found}")
            statistics = metadata.row_group(index).column(0).statistics
            bounds = (min(batch["kg"]), max(batch["kg"]))
            check((statistics.min, statistics.max) == bounds, "PQ-7", f"key groups {bounds}")
            if stride and places:
                check(places[-1][0] // stride != bounds[0] // stride, "PQ-9", f"stride {stride}")
            places += zip(batch["kg"], encoded)
            keys = [shown(state["key"], key) for key in batch["key"]]
            head = [{"key_group": group, "key": key} for group, key in zip(batch["kg"], keys)]
        else:
            places += batch["idx"]
            head = [{"index": index} for index in batch["idx"]]
        more = [{} for _ in range(count)]
        if "touched" in file:
            more = [{**m, "touched_ms": str(at)} for m, at in zip(more, batch["touched_ms"])]
        if "quarantined" in file:
            more = [{**m, "reason": reason} for m, reason in zip(more, batch["reason"])]
        rows += [{**h, "schema_version": schema["version"], "value": v, **m} for h, v, m in zip(head, values, more)]
        row_groups.append(count)
    # PQ-4, PQ-6
    check(all(a < b for a, b in zip(places, places[1:])), "PQ-4", "rows out of order")
    if keyed and places:
        check([places[0][0], places[-1][0]] == file["key_groups"], "MF-12", "other key groups")
    return rows, row_groups, [code for _, code in places] if keyed else []


def check_hashes(data, metadata, footer, tail_start):
    """CH-1, CH-3, CH-4, PQ-11."""
    chunks, pages, end = "", "", 4
    for index in range(metadata.num_row_groups):
        weight = 0
        for leaf in range(metadata.num_columns):
            chunk = metadata.row_group(index).column(leaf)
            start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            check(start == end, "PQ-11", f"a chunk at {start}")
            end = start + chunk.total_compressed_size
            encodings = sum(1 << ENCODINGS.index(encoding) for encoding in set(chunk.encodings))
            head = struct.pack("<iii", CODECS.index(chunk.compression), PHYSICAL.index(chunk.physical_type), encodings)
            chunks += xxhash.xxh3_128_hexdigest(head + data[start:end])
            at = start
            while at < end:
                length, weight_of_page = page_length(data, at)
                weight += weight_of_page
                pages += f"{xxhash.xxh3_64_intdigest(data[at : at + length]) & 0xFFFFFFFF:08x}"
                at += length
            check(at == end, "PQ-11", f"pages that end at {at}")
        check(weight <= 536870912, "PQ-12", f"a row group that weighs {weight}")
    check(end == tail_start, "CH-5", f"chunks that end at {end}")
    check(chunks.encode() == footer[b"pitlane.chunks"], "CH-1", "other hashes of chunks")
    check(pages.encode() == footer[b"pitlane.pages"], "CH-3", "other hashes of pages")


# ---- Whole savepoints


def read_savepoint(place):
    """Reads a savepoint in the form of expected.json."""
    check((place / "manifest.json").is_file(), "PB-1", "no manifest.json")
    manifest = read_manifest((place / "manifest.json").read_bytes())
    known = {
        file["path"]
        for operator in manifest["operators"]
        for state in operator["states"]
        for file in all_files(state)
        if "base" not in file
    }
    known |= {"manifest.json", "manifest.json.sig", "committed"}
    for inside in place.rglob("*"):
        check(not inside.is_symlink(), "PB-6", f"the link {inside}")
        relative = inside.relative_to(place).as_posix()
        check(inside.is_dir() or relative in known, "PB-6", f"the file {relative}")
    states = []
    for operator in manifest["operators"]:
        for state in operator["states"]:
            states.append({"operator": operator["uid"], **read_state(place, state, manifest["max_parallelism"])})
    job = manifest["job"]
    return {
        "id": manifest["root"][:16],
        "created_ms": int(manifest["created_ms"]),
        "writer": manifest["writer"],
        "job": {member: job[member] for member in ("name", "release", "branch", "attempt")},
        "epoch": manifest["epoch"],
        "parent": manifest.get("parent"),
        "labels": manifest["labels"],
        "max_parallelism": manifest["max_parallelism"],
        "parallelism": manifest["parallelism"],
        "sources": [
            {
                "uid": source["uid"],
                "positions": [{"watermark_ms": None, **position} for position in source["positions"]],
            }
            for source in manifest["sources"]
        ],
        "operators": [{"uid": operator["uid"], "kind": operator["kind"]} for operator in manifest["operators"]],
        "states": states,
    }


# LY-3
TOMBSTONE = {"version": None, "fingerprint": fingerprint("unit"), "type": "unit"}


def read_state(place, state, groups):
    """Reads a state in the form of expected.json."""
    files, tombstones, layers, found = [], [], {}, []
    for file in all_files(state):
        is_tombstones = "schema" not in file
        schema = TOMBSTONE if is_tombstones else state["schemas"][file["schema"]]
        # SF-1, SF-2
        directory = place.resolve().parent / file["base"] if "base" in file else place
        check(not directory.is_symlink(), "SF-2", f"the link {directory}")
        check((directory / file["path"]).is_file(), "PB-2", f"no file {file['path']}")
        data = (directory / file["path"]).read_bytes()
        rows, row_groups, keys = read_file(data, file, state, schema, groups)
        layer = file.get("layer", 0)
        found.append((layer, is_tombstones, rows, keys))
        layers.setdefault(layer, []).extend(keys)
        shown_file = {"path": file["path"], "rows": int(file["rows"]), "key_groups": file.get("key_groups")}
        shown_file |= {member: file[member] for member in ("layer", "base", "touched", "quarantined") if member in file}
        if is_tombstones:
            tombstones.append(shown_file)
        else:
            files.append({**shown_file, "schema_version": schema["version"], "row_groups": row_groups})
    for keys in layers.values():
        once(keys, "MF-16")
    # LY-4
    newest = {}
    for layer, keys in sorted(layers.items()):
        newest |= dict.fromkeys(keys, layer)
    counting = []
    for layer, is_tombstones, rows, keys in found:
        if state["kind"] == "list":
            counting += rows
        elif not is_tombstones:
            counting += [row for row, key in zip(rows, keys) if newest[key] == layer]
    return {
        "name": state["name"],
        "kind": state["kind"],
        "key": state.get("key"),
        "schemas": [{**schema, "type": with_defaults(schema["type"])} for schema in state["schemas"]],
        "files": files,
        "rows": counting,
        **({"tombstones": tombstones} if tombstones else {}),
    }


def with_defaults(data_type):
    """SC-6: expected.json has defaults as JSON, not as text that holds it."""
    if isinstance(data_type, list):
        return [with_defaults(part) for part in data_type]
    if not isinstance(data_type, dict):
        return data_type
    read = {member: json.loads(value) if member == "default" else with_defaults(value) for member, value in data_type.items()}
    return read


def without_shown(value):
    """VJ-7: `shown` is for the reader's eye."""
    if isinstance(value, list):
        return [without_shown(item) for item in value]
    if isinstance(value, dict):
        is_msgpack = set(value) == {"msgpack", "shown"}
        return {member: without_shown(v) for member, v in value.items() if not (is_msgpack and member == "shown")}
    return value


def first_difference(found, wanted, place=""):
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        pairs = [(member, found[member], wanted[member]) for member in found]
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = [(i, f, w) for i, (f, w) in enumerate(zip(found, wanted))]
    else:
        return f"{place}: found {canonical(found)[:400]}, wanted {canonical(wanted)[:400]}"
    return next(first_difference(f, w, f"{place}/{i}") for i, f, w in pairs if canonical(f) != canonical(w))


def spec_table(spec, marker):
    lines = spec.split(f"<!-- vectors: {marker} -->\n")[1].split("\n")
    rows = [line for line in lines[2 : next(i for i, line in enumerate(lines) if not line.startswith("|"))]]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]


def check_vectors():
    """The tables of the spec that need no savepoint; returns the number of their rows."""
    spec = (pathlib.Path(__file__).parents[2] / "format-spec" / "v1.md").read_text(encoding="utf-8")
    for text, wanted in spec_table(spec, "field ids"):
        check(field_id(text) == int(wanted), "SC-3", text)
    for data_type, wanted in spec_table(spec, "fingerprints"):
        check(fingerprint(json.loads(data_type)) == wanted, "SC-4", data_type)
    for row in spec_table(spec, "keys"):
        encoded = bytes.fromhex(row[2])
        check(f"{xxhash.xxh3_64_intdigest(encoded):016x}" == row[3], "KG-1", f"the hash of {row[2]}")
        check([key_group(encoded, 128), key_group(encoded, 1000)] == [int(row[4]), int(row[5])], "KG-1", f"{row}")
    for groups, workers, wanted in spec_table(spec, "workers"):
        held = {}
        for group in range(int(groups)):
            held.setdefault(group * int(workers) // int(groups), []).append(group)
        found = " ".join(f"{groups_held[0]}-{groups_held[-1]}" for groups_held in held.values())
        check(found == wanted, "KG-4", f"{workers} workers: {found}")
    return sum(len(spec_table(spec, marker)) for marker in ("field ids", "fingerprints", "keys", "workers"))


# What pyarrow cannot read is an OSError.
REFUSALS = (Refused, pyarrow.ArrowException, OSError, UnicodeDecodeError)


def read_fixtures(fixtures, verbose):
    """Returns what was wrong, and what was looked at."""
    failures, rows, golden, broken, vectors = [], 0, 0, 0, 0
    try:
        vectors = check_vectors()
    except Refused as error:
        failures.append(f"the spec's tables: {error}")
    for place in sorted((fixtures / "v1").iterdir()):
        golden += 1
        wanted = without_shown(json.loads((place / "expected.json").read_text(encoding="utf-8")))
        try:
            found = read_savepoint(place / "savepoint")
        except REFUSALS as error:
            failures.append(f"{place.name}: {type(error).__name__}: {error}")
            continue
        rows += sum(len(state["rows"]) for state in found["states"])
        # As text, since -0 equals 0 and 1 equals 1.0.
        if canonical(found) != canonical(wanted):
            failures.append(f"{place.name}{first_difference(found, wanted)}")
    for place in sorted((fixtures / "broken").iterdir()):
        # The first is sound as it lies: a test makes the link. The second is so for whoever reads no page index.
        if place.name in ("v1-symlink", "v1-huge-page-index"):
            continue
        broken += 1
        try:
            read_savepoint(place / "savepoint")
            failures.append(f"{place.name}: nothing found")
        except REFUSALS as error:
            if verbose:
                print(f"{place.name}: {type(error).__name__}: {str(error)[:200]}")
    looked = f"{golden} golden savepoints with {rows} rows, {broken} broken ones, {vectors} vectors"
    return failures if golden and broken else ["no fixtures"], looked


def read_places(places):
    """The same for savepoints of which nothing is known but, at most, the rows: those in a file `rows.json` beside them."""
    failures, rows = [], 0
    for place in map(pathlib.Path, places):
        try:
            found = read_savepoint(place)
        except REFUSALS as error:
            failures.append(f"{place}: {type(error).__name__}: {error}")
            continue
        read = [[row["key"], row["value"]] for state in found["states"] for row in state["rows"] if "key" in row]
        rows += sum(len(state["rows"]) for state in found["states"])
        beside = place.resolve().parent / "rows.json"
        if beside.is_file():
            wanted = without_shown(json.loads(beside.read_text(encoding="utf-8")))
            # As text: 0.0 and -0.0 are equal otherwise.
            read, wanted = (sorted(json.dumps(row, sort_keys=True) for row in rows) for rows in (read, wanted))
            if read != wanted:
                failures.append(f"{place}: found {read}, wanted {wanted}")
    return failures, f"{len(places)} savepoints with {rows} rows"


def main():
    places = [argument for argument in sys.argv[1:] if argument != "-v"]
    if places:
        failures, looked = read_places(places)
    else:
        failures, looked = read_fixtures(pathlib.Path(__file__).parents[2] / "fixtures", "-v" in sys.argv)
    for failure in failures:
        print(f"failed: {failure}")
    print(f"{looked}: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
