"""What is not one trial after the other: a schema migration cut short, a start with a long queue, and the proof that the
harness sees a store which breaks its promise."""
import os
import pathlib
import sqlite3
import time

from bed import Bed
from oracle import Violation, check_database, open_database

FIRST_SCHEMA = pathlib.Path(__file__).resolve().parents[1] / "support" / "schema_v1.sql"
MIGRATION_POINTS = ("migrate-copied", "migrate-begun", "migrate-changed", "migrate-marked")
START_SECONDS = 2.0
BLIND_CUTS_MAX = 25
ROW_OF = {"messages": "i.message", "queue_items": "i.id", "queue_recipients": "r.id"}
# What has another form since: how the old rows are made of the present ones. Each route of a fresh house has one way.
OLD_ROWS = {"routes": "SELECT r.id, r.name, r.priority, r.sender, r.recipient, w.url, w.sealed_secret, w.ca_file "
                      "FROM old.routes r JOIN old.ways w ON w.name = r.ways"}


def shape(database):
    """Tables with their columns, and indexes: equal for equal schemas however they came about."""
    names = database.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2").fetchall()
    return {f"{kind} {name}": [row[1:] for row in database.execute(f"PRAGMA table_xinfo({name})")] for kind, name in names}


def version(database):
    return database.execute("PRAGMA user_version").fetchone()[0]


def make_old(data):
    """mail.db as version 1 wrote it, with what the present one holds; gives back its shape."""
    path, old = data / "mail.db", data / "mail.db.old"
    path.rename(old)
    for end in ("-wal", "-shm"):
        (data / ("mail.db" + end)).unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.executescript("PRAGMA page_size=8192; PRAGMA journal_mode=WAL;" + FIRST_SCHEMA.read_text() +
                           "PRAGMA user_version=1; ATTACH '" + str(old) + "' AS old;")
    tables = [row[0] for row in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = ", ".join(row[1] for row in database.execute(f"PRAGMA main.table_info({table})"))
        database.execute(f"DELETE FROM main.{table}")
        rows = OLD_ROWS.get(table, f"SELECT {columns} FROM old.{table}")
        database.execute(f"INSERT INTO main.{table} ({columns}) {rows}")
    database.commit()
    database.close()
    old.unlink()
    os.chmod(path, 0o600)
    made = open_database(path)
    check_database(made)
    out = shape(made)
    made.close()
    return out


def short_load(bed, name, seed, seconds=0.2):
    """A start with its look at everything, a load and an orderly stop."""
    bed.start()
    trial = bed.begin(name, seed, thorough=True)
    bed.wait(trial, seconds)
    bed.stop(trial)


def migrations(wanted, generator):
    """Version 1 becomes the present one while the power goes: before or after, never in between, and all mail is there."""
    bed = Bed(large=0.0)
    seen = {}
    try:
        short_load(bed, "m", generator.getrandbits(48), 0.5)
        database = open_database(bed.home.data / "mail.db")
        present, new = version(database), shape(database)
        database.close()
        for number in range(wanted):
            old = make_old(bed.home.data)
            bed.volume.sync()
            point = MIGRATION_POINTS[number % 8] + ":1:stop" if number % 8 < len(MIGRATION_POINTS) else None
            bed.cut_start(START_SECONDS if point else generator.uniform(0.0, 0.15), point)
            database = open_database(bed.home.data / "mail.db")
            found, form = version(database), shape(database)
            database.close()
            if form != {1: old, present: new}.get(found, form):
                raise Violation(f"the schema is neither old nor new; user_version says {found}")
            seen[found] = seen.get(found, 0) + 1
            short_load(bed, f"m{number}", generator.getrandbits(48))
        print(f"{wanted} migrations cut short: found by version {seen}, mixed 0; all mail there", flush=True)
    except BaseException:
        bed.keep = True
        print("the end of the server's log:\n" + bed.home.log()[-3000:])
        raise
    finally:
        bed.remove()


def fill_queue(data, count):
    """`count` messages that wait, as one that a client submitted does; the server is down."""
    database = sqlite3.connect(data / "mail.db")

    def copy(table, more):
        """One row of a table `count` times, `more` giving the columns that differ as expressions of n."""
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        values = ", ".join(more.get(column, f"t.{column}") for column in columns)
        database.execute(f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) INSERT INTO "
                         f"{table} ({', '.join(columns)}) SELECT {values} FROM c, (SELECT * FROM {table} WHERE id = "
                         f"(SELECT {ROW_OF[table]} FROM queue_items i JOIN queue_recipients r ON r.queue = i.id "
                         "ORDER BY i.id LIMIT 1)) t")

    message = database.execute("SELECT value FROM counters WHERE name = 'message'").fetchone()[0]
    item = database.execute("SELECT max(id) FROM queue_items").fetchone()[0]
    far = int(time.time() * 1000)
    copy("messages", {"id": f"{message} + n", "refs": "1", "message_id": "'<fill-' || n || '@load.example>'"})
    copy("queue_items", {"id": f"{item} + n", "message": f"{message} + n", "message_id": "'<fill-' || n || '@load.example>'"})
    copy("queue_recipients", {"id": f"{item} + 1000000 + n", "queue": f"{item} + n", "state": "0",
                              "address": "'fill-' || n || '@far.example'", "next_attempt_ms": f"{far} + n * 10"})
    database.execute(f"UPDATE counters SET value = value + {count} + 1 WHERE name = 'message'")
    database.commit()
    waiting = database.execute("SELECT count(*) FROM queue_recipients WHERE state IN (0, 1)").fetchone()[0]
    database.close()
    return waiting


def long_queue(count, generator):
    """Starts after kill -9 with a long queue; asserts nothing about time."""
    bed = Bed(mebi=2048, large=0.0)
    try:
        # The way out is closed, so that the queue stays as long as it is.
        bed.home.cli("route", "remove", "default")
        bed.home.cli("route", "add", "default", "smtp+plain://127.0.0.1:9")
        short_load(bed, "q", generator.getrandbits(48), 1.0)
        waiting = fill_queue(bed.home.data, count)
        bed.starts.clear()
        for _ in range(7):
            bed.start()
            time.sleep(generator.uniform(0.1, 1.0))
            bed.home.kill()
        starts = sorted(bed.starts)
        print(f"start after kill -9 with {waiting} messages queued: median {starts[len(starts) // 2]:.3f} s, longest "
              f"{starts[-1]:.3f} s, shortest {starts[0]:.3f} s", flush=True)
    finally:
        bed.remove()


def blind(part, generator):
    """Cuts with a disk that ignores the syncs of files whose path ends with `part`, until the oracle complains."""
    library = os.environ.get("POSTHOUSE_NO_SYNC")
    if not library:
        raise RuntimeError("POSTHOUSE_NO_SYNC must name the library that CMake builds from no_sync.cpp")
    bed = Bed(large=0.0)
    bed.environment = {"LD_PRELOAD": library, "NO_SYNC": part}
    try:
        for number in range(BLIND_CUTS_MAX):
            bed.start()
            trial = bed.begin(f"b{number}", generator.getrandbits(48))
            bed.wait(trial, generator.uniform(0.1, 0.4))
            bed.cut(trial)
        bed.finish("b", generator.getrandbits(48))
    except (Violation, sqlite3.DatabaseError) as seen:
        print(f"syncs of *{part} ignored: seen after {number + 1} cuts: {str(seen).splitlines()[0][:300]}", flush=True)
        return True
    finally:
        bed.remove()
    print(f"syncs of *{part} ignored: NOT SEEN in {BLIND_CUTS_MAX} cuts", flush=True)
    return False


def self_check(generator):
    """The harness must be able to fail."""
    results = [blind(part, generator) for part in (".seg", "mail.db-wal")]
    if not all(results):
        raise SystemExit("the harness does not see a store that does not sync")
