"""asyncpg: its own implementation of the protocol, all binary, types loaded from the catalog."""
import asyncio
import datetime
import decimal
import uuid

import asyncpg


async def main():
    conn = await asyncpg.connect()
    await conn.execute("""
        create type level as enum ('low', 'high');
        create type span as (lo int, hi int);
        create domain positive as int check (value > 0);
        create table item (id bigint primary key, name varchar(40) not null, at timestamptz, cost numeric(10,3),
            key uuid, doc jsonb, lv level, sp span, nums int[], took interval, pos positive, f float8, raw bytea);
    """)
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    key = uuid.uuid4()
    values = (1, "one", at, decimal.Decimal("12.345"), key, '{"a": [1, 2]}', "high", (3, 4), [1, None, 3],
              datetime.timedelta(days=3, hours=1), 5, 1.5, b"\x00\x01")
    await conn.execute("insert into item values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)", *values)
    row = await conn.fetchrow("select * from item where id = $1", 1)
    assert tuple(row.values())[:7] == values[:7] and tuple(row["sp"]) == (3, 4), row
    assert tuple(row.values())[8:] == values[8:], row

    # Transactions and savepoints.
    try:
        async with conn.transaction(isolation="serializable"):
            await conn.execute("update item set name = 'two'")
            try:
                async with conn.transaction():
                    await conn.execute("insert into item (id, name) values (1, 'again')")
            except asyncpg.UniqueViolationError as e:
                assert e.sqlstate == "23505" and e.constraint_name == "item_pkey"
            assert await conn.fetchval("select name from item") == "two"
            raise KeyError
    except KeyError:
        pass
    assert await conn.fetchval("select name from item") == "one"
    for statement, kind in (
            ("select 1/0", asyncpg.DivisionByZeroError),
            ("insert into item (id) values (2)", asyncpg.NotNullViolationError),
            ("update item set pos = -1", asyncpg.CheckViolationError),
            ("select * from nowhere", asyncpg.UndefinedTableError),
            ("select 'x'::int", asyncpg.InvalidTextRepresentationError)):
        try:
            await conn.execute(statement)
            raise AssertionError(statement)
        except kind:
            pass

    # Batches, COPY, cursors, prepared statements.
    await conn.executemany("insert into item (id, name) values ($1, $2)", [(i, f"n{i}") for i in range(2, 200)])
    tag = await conn.copy_records_to_table("item", records=[(i, "c", at) for i in range(1000, 2000)], columns=["id", "name", "at"])
    assert tag == "COPY 1000", tag
    got = []

    async def sink(data):
        got.append(data)
    await conn.copy_from_query("select id, name from item where id between $1 and $2 order by id", 1, 3, output=sink, format="csv")
    assert b"".join(got) == b"1,one\n2,n2\n3,n3\n", got
    async with conn.transaction(readonly=True):
        assert [r[0] async for r in conn.cursor("select id from item order by id", prefetch=50)] == list(range(1, 200)) + list(range(1000, 2000))
    statement = await conn.prepare("select name from item where id = $1")
    assert [p.name for p in statement.get_parameters()] == ["int8"] and [a.name for a in statement.get_attributes()] == ["name"]
    assert await statement.fetchval(5) == "n5"

    # Types that are introspected, by name and through arrays.
    await conn.set_type_codec("level", encoder=str, decoder=lambda s: s.upper(), format="text")
    assert await conn.fetchval("select lv from item where id = 1") == "HIGH"
    assert await conn.fetchval("select array_agg(s) from (values ((1, 2)::span)) v(s)") == [(1, 2)]

    heard = asyncio.get_running_loop().create_future()
    await conn.add_listener("ch", lambda c, pid, channel, payload: heard.set_result((channel, payload)))
    pool = await asyncpg.create_pool(min_size=2, max_size=4)
    await pool.execute("select pg_notify('ch', 'text')")
    assert await asyncio.wait_for(heard, 20) == ("ch", "text")
    await asyncio.gather(*(pool.execute("update item set f = coalesce(f, 0) + 1 where id = 1") for _ in range(20)))
    assert await pool.fetchval("select f from item where id = 1") == 21.5
    try:
        await pool.fetchval("select pg_sleep(100)", timeout=0.2)
        raise AssertionError("no timeout")
    except asyncio.TimeoutError:
        pass
    await pool.close()
    await conn.close()

asyncio.run(main())
print("ok")
