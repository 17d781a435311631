"""What the Nexmark queries cost on Flink: the generator and the queries of `nexmark-flink`, in a local mini cluster.

    run.py NEXMARK FLINK_LIB [q0 q5 q8 ...] [--parallelism 2] [--few 5000000] [--many 25000000] [--tps 10000] [--heap 4g]

NEXMARK is a clone of github.com/nexmark/nexmark, FLINK_LIB a directory with the jars of Flink 2.3 (as in
`pip download apache-flink-libraries==2.3.0`, unzipped: `pyflink/lib`). Needs a JDK. For each query a JVM runs the job
with few events twice and then with many; the figures are of the events that are more, so that neither the start of the
job nor what the JVM compiles at first is in them. `count` is a tumbling count, which the suite does not have.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = ["NexmarkConfiguration.java", "generator/*.java", "generator/model/*.java", "model/*.java", "source/*.java",
           "utils/NexmarkUtils.java"]
# Flink itself opens these to reflection when it is started by its own scripts.
OPENS = ["java.lang", "java.lang.reflect", "java.net", "java.nio", "java.text", "java.time", "java.util",
         "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch"]
QUIET = """
rootLogger.level = ERROR
rootLogger.appenderRef.c.ref = C
appender.c.name = C
appender.c.type = CONSOLE
appender.c.target = SYSTEM_ERR
appender.c.layout.type = PatternLayout
"""
COUNT = """
create table counts (auction bigint, num bigint) with ('connector' = 'blackhole');
insert into counts select auction, count(*)
from table(tumble(table bid, descriptor(`dateTime`), interval '10' second)) group by auction, window_start, window_end;
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nexmark", type=Path)
    parser.add_argument("flink_lib", type=Path)
    parser.add_argument("queries", nargs="*", default=["count", "q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8"])
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--few", type=int, default=5_000_000)
    parser.add_argument("--many", type=int, default=25_000_000)
    parser.add_argument("--tps", type=int, default=10_000, help="events in a second of event time")
    parser.add_argument("--heap", default="4g")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nexmark-flink-") as scratch:
        measure(given, Path(scratch))


def measure(given, scratch):
    java = given.nexmark / "nexmark-flink/src/main/java/com/github/nexmark/flink"
    resources = given.nexmark / "nexmark-flink/src/main/resources"
    jars = ":".join(str(jar) for jar in sorted(given.flink_lib.glob("*.jar")))
    classes = scratch / "classes"
    services = classes / "META-INF/services"
    services.mkdir(parents=True)
    for service in (resources / "META-INF/services").iterdir():
        (services / service.name).write_bytes(service.read_bytes())
    sources = [path for pattern in SOURCES for path in sorted(java.glob(pattern))]
    subprocess.run(["javac", "-nowarn", "-Xlint:none", "-d", classes, "-cp", jars, *sources, HERE / "Run.java"], check=True)
    (scratch / "log4j2.properties").write_text(QUIET)

    named = {"TPS": given.tps, "PERSON_PROPORTION": 1, "AUCTION_PROPORTION": 3, "BID_PROPORTION": 46, "NEXMARK_TABLE": "datagen"}
    tables = (resources / "queries/ddl_gen.sql").read_text() + (resources / "queries/ddl_views.sql").read_text()
    for query in given.queries:
        text = COUNT if query == "count" else (resources / f"queries/{query}.sql").read_text()
        sql = re.sub("--.*", "", tables + text)
        for name, value in named.items():
            sql = sql.replace(f"${{{name}}}", str(value))
        (scratch / "job.sql").write_text(sql)
        command = ["java", *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENS), f"-Xmx{given.heap}",
                   f"-Dlog4j.configurationFile=file:{scratch}/log4j2.properties", f"-Djava.io.tmpdir={scratch}",
                   "-cp", f"{classes}:{jars}", "Run", scratch / "job.sql"]
        command += [str(given.parallelism), str(given.few), str(given.many)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        took = json.loads(done.stdout.splitlines()[-1])
        print(f"{query:6} {took['events'] / took['wall_s'] / 1e6:8.2f} M events/s "
              f"{took['cpu_s'] / took['events'] * 1e9:8.0f} ns of CPU an event", flush=True)


if __name__ == "__main__":
    main()
