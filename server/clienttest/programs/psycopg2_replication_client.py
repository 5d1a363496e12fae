# The replication connection of psycopg2: a slot is made, streamed and dropped.
import select
import time

import psycopg2
from psycopg2.extras import LogicalReplicationConnection, StopReplication

plain = psycopg2.connect("")
plain.autocommit = True
cur = plain.cursor()
cur.execute("create table stream (id int primary key, v text)")
cur.execute("create publication pub for table stream")

conn = psycopg2.connect("", connection_factory=LogicalReplicationConnection)
repl = conn.cursor()
repl.create_replication_slot("psy", output_plugin="test_decoding")
cur.execute("insert into stream select g, 'v' || g from generate_series(1, 1000) g")
cur.execute("update stream set v = 'last' where id = 1000")
repl.start_replication(slot_name="psy", decode=True, options={"include-xids": "0"})

lines = []
last = 0


def consume(msg):
    global last
    assert msg.data_start >= last, (msg.data_start, last)
    last = msg.data_start
    lines.append(msg.payload)
    msg.cursor.send_feedback(flush_lsn=msg.data_start, force=msg.payload == "COMMIT")
    if lines.count("COMMIT") == 2:
        raise StopReplication()


try:
    repl.consume_stream(consume)
except StopReplication:
    pass
assert len(lines) == 1000 + 2 + 3, len(lines)
assert lines[1] == "table public.stream: INSERT: id[integer]:1 v[text]:'v1'", lines[1]
assert lines[-2] == "table public.stream: UPDATE: id[integer]:1000 v[text]:'last'", lines[-2]
conn.close()

# What was confirmed is kept, and the slot is free again soon after the connection has gone.
for _ in range(100):
    cur.execute("select active, confirmed_flush_lsn - '0/0' from pg_replication_slots where slot_name = 'psy'")
    active, confirmed = cur.fetchone()
    if not active:
        break
    time.sleep(0.1)
assert not active and confirmed == last, (active, confirmed, last)

# Again, with pgoutput from where it was.
conn = psycopg2.connect("", connection_factory=LogicalReplicationConnection)
repl = conn.cursor()
repl.drop_replication_slot("psy")
repl.create_replication_slot("psy", output_plugin="pgoutput")
cur.execute("delete from stream where id = 5")
repl.start_replication(slot_name="psy", options={"proto_version": "1", "publication_names": "pub"})
kinds = b""
deadline = time.time() + 30
while not kinds.endswith(b"C") and time.time() < deadline:
    msg = repl.read_message()
    if msg is None:
        select.select([conn], [], [], 1)
    else:
        kinds += msg.payload[:1]
assert kinds == b"BRDC", kinds
conn.close()

# Waits until the server has noticed that the connection has gone.
conn = psycopg2.connect("", connection_factory=LogicalReplicationConnection)
conn.cursor().execute("DROP_REPLICATION_SLOT psy WAIT")
cur.execute("select count(*) from pg_replication_slots where slot_name = 'psy'")
assert cur.fetchone() == (0,)
print("ok")
