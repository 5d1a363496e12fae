"""psycopg 3: binary parameters, server-side binding, pipelines, COPY, async."""
import asyncio
import datetime
import decimal
import uuid

import psycopg
from psycopg import errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

with psycopg.connect("") as conn:
    conn.execute("create type mood as enum ('sad', 'happy')")
    conn.execute("create table thing (id uuid primary key, n int generated always as identity, at timestamp, price numeric,"
                 " doc jsonb, feels mood, raw bytea, days date[])")
    key = uuid.uuid4()
    at = datetime.datetime(2026, 2, 3, 4, 5, 6, 789)
    for binary in (False, True):
        cur = conn.cursor(binary=binary)
        key = uuid.uuid4()
        cur.execute("insert into thing (id, at, price, doc, feels, raw, days) values (%s, %s, %s, %s, %s, %s, %s)",
                    (key, at, decimal.Decimal("1.10"), Jsonb({"a": 1}), "happy", b"\0\xff", [datetime.date(1999, 12, 31)]))
        row = cur.execute("select at, price, doc, feels, raw, days from thing where id = %s", (key,)).fetchone()
        assert row == (at, decimal.Decimal("1.10"), {"a": 1}, b"happy" if binary else "happy", b"\0\xff", [datetime.date(1999, 12, 31)]), row
    conn.commit()
    with conn.cursor(row_factory=dict_row) as cur:
        assert cur.execute("select n from thing order by n").fetchall() == [{"n": 1}, {"n": 2}]

    # Nested transactions are savepoints.
    with conn.transaction():
        conn.execute("update thing set price = 7")
        try:
            with conn.transaction():
                conn.execute("insert into thing (id) values (%s)", (key,))
        except errors.UniqueViolation as e:
            assert e.sqlstate == "23505" and e.diag.constraint_name == "thing_pkey"
    assert conn.execute("select sum(price) from thing").fetchone() == (14,)
    try:
        conn.execute("select %s::int", ("x",))
    except errors.InvalidTextRepresentation:
        conn.rollback()

    # Batches and pipelines.
    with conn.cursor() as cur:
        cur.executemany("insert into thing (id, price) values (%s, %s)", [(uuid.uuid4(), i) for i in range(300)])
        assert cur.rowcount == 300
    if psycopg.Pipeline.is_supported():
        with conn.pipeline():
            answers = [conn.execute("select %s::int + 1", (i,)) for i in range(50)]
        assert [c.fetchone()[0] for c in answers] == list(range(1, 51))

    # COPY, as text and as binary.
    conn.execute("create table pair (a int, b text)")
    with conn.cursor() as cur:
        with cur.copy("copy pair from stdin") as copy:
            for i in range(100):
                copy.write_row((i, None if i % 7 == 0 else f"row\t{i}"))
        with cur.copy("copy pair from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            for i in range(100):
                copy.write_row((100 + i, "binary"))
        with cur.copy("copy (select * from pair order by a limit 2) to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == [(0, None), (1, "row\t1")]
        assert cur.execute("select count(*), count(b) from pair").fetchone() == (200, 185)
    with conn.cursor(name="server_side") as cur:
        cur.execute("select a from pair order by a")
        assert len(cur.fetchmany(30)) == 30 and len(cur.fetchall()) == 170
        cur.scroll(0, mode="absolute")
        assert cur.fetchone() == (0,)

    # A type of the user's, found through the catalog.
    info = psycopg.types.enum.EnumInfo.fetch(conn, "mood")
    assert list(info.labels) == ["sad", "happy"], info.labels
    conn.execute("create type pt as (x int, y int)")
    from psycopg.types.composite import CompositeInfo, register_composite
    register_composite(CompositeInfo.fetch(conn, "pt"), conn)
    p = conn.execute("select '(1,2)'::pt").fetchone()[0]
    assert (p.x, p.y) == (1, 2), p


async def asynchronous():
    async with await psycopg.AsyncConnection.connect("", autocommit=True) as a:
        cur = await a.execute("select count(*) from pair")
        assert (await cur.fetchone()) == (200,)
        await a.execute("listen ch")
        gen = a.notifies()
        waiting = asyncio.ensure_future(gen.__anext__())
        await asyncio.sleep(0)
        async with await psycopg.AsyncConnection.connect("", autocommit=True) as b:
            await b.execute("select pg_notify('ch', 'x')")
        n = await asyncio.wait_for(waiting, 20)
        assert (n.channel, n.payload) == ("ch", "x")
        await gen.aclose()

asyncio.run(asynchronous())
print("ok")
