"""What the checks of examples against DuckDB have in common: a job is killed again and again, and what it wrote in the end
is compared, row by row, with what a query makes of the same input.
"""

import os
import resource
import signal
import subprocess
import sys


def run_killed(command, where, env, kills, dice, hurry, longest_s=1.5):
    """Runs a job to its end, with `kill -9` so many times before; each attempt has 1 to 3 workers.

    `command` is the program with the arguments before `run`; `hurry` the variables that the last attempt does without,
    so that it reads as fast as it can. Returns how often the job was killed before it came to its end.
    """
    killed = 0
    while True:
        args = [*command, "run", "--data", where / "data", "--run-dir", where / "run"]
        args += ["--workers", str(dice.randint(1, 3)), "--checkpoint-interval-ms", "100"]
        is_last = killed >= kills
        env_now = {**os.environ, **{name: env[name] for name in env if not (is_last and name in hurry)}}
        with open(where / "job.log", "ab") as log:
            attempt = subprocess.Popen(args, env=env_now, stdout=log, stderr=log)
            try:
                status = attempt.wait(600 if is_last else dice.uniform(0.05, longest_s))
            except subprocess.TimeoutExpired:
                attempt.send_signal(signal.SIGKILL)
                attempt.wait()
                killed += 1
                continue
        if status:
            sys.exit(f"the job ended with {status}:\n{(where / 'job.log').read_text()}")
        return killed


def used_by_jobs():
    """Tells how much CPU time the jobs took in all, and how much memory the largest."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return f"{used.ru_utime + used.ru_stime:.1f} s of CPU, at most {used.ru_maxrss / 1024:.0f} MiB"


def is_equal(database, name, reader, query):
    """Compares what `reader` reads with what `query` computes, as multisets of rows, and tells about it."""
    columns = [column[0] for column in database.execute(query).description]
    database.execute(f"create or replace temp table wanted as {query}")
    database.execute(f"create or replace temp table found as select {', '.join(columns)} from {reader}")
    counts, equal = {}, True
    for one, other in [("found", "wanted"), ("wanted", "found")]:
        counts[one] = database.execute(f"select count(*) from {one}").fetchone()[0]
        left = database.execute(f"select * from {one} except all select * from {other}").fetchall()
        if left:
            print(f"{name}: {len(left)} rows are {one} alone, such as {left[:3]}")
            equal = False
    print(f"{name:15} {counts['found']} rows found, {counts['wanted']} wanted")
    if not counts["wanted"]:
        sys.exit(f"{name}: DuckDB finds nothing, so nothing was compared")
    return equal
