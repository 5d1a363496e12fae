"""psycopg2: the classic driver of Python, over libpq's simple protocol."""
import io
import select

import psycopg2
import psycopg2.errors
import psycopg2.extras

conn = psycopg2.connect("")  # everything from PGHOST and its relatives
conn.autocommit = True
cur = conn.cursor()
cur.execute("create table account (id serial primary key, owner text not null unique, balance numeric(12,2) not null"
            " check (balance >= 0), tags text[], extra jsonb, opened timestamptz default now())")
cur.execute("create table entry (id bigserial primary key, account int not null references account on delete cascade, amount numeric)")
cur.execute("alter table account add column closed boolean not null default false")
conn.autocommit = False

# CRUD, with the types that psycopg2 adapts.
cur.execute("insert into account (owner, balance, tags, extra) values (%s, %s, %s, %s) returning id",
            ("ann", "10.50", ["a", "b\"c"], psycopg2.extras.Json({"k": [1, None]})))
ann = cur.fetchone()[0]
cur.execute("select owner, balance, tags, extra, opened, closed from account where id = %s", (ann,))
row = cur.fetchone()
assert row[0] == "ann" and str(row[1]) == "10.50" and row[2] == ["a", "b\"c"] and row[3] == {"k": [1, None]}, row
assert row[4].tzinfo is not None and row[5] is False, row
assert [d.name for d in cur.description] == ["owner", "balance", "tags", "extra", "opened", "closed"]
cur.execute("update account set balance = balance + 1 where id = %s", (ann,))
assert cur.rowcount == 1
conn.commit()

# Transactions: what is rolled back is gone, a savepoint keeps the rest.
cur.execute("delete from account")
conn.rollback()
cur.execute("select count(*) from account")
assert cur.fetchone() == (1,)
cur.execute("savepoint s")
try:
    cur.execute("insert into account (owner, balance) values ('ann', 1)")
    raise AssertionError("a duplicate was taken")
except psycopg2.errors.UniqueViolation as e:
    assert e.pgcode == "23505" and e.diag.constraint_name == "account_owner_key" and e.diag.table_name == "account", e.diag
    cur.execute("rollback to s")
for statement, kind in (
        ("insert into entry (account, amount) values (0, 1)", psycopg2.errors.ForeignKeyViolation),
        ("insert into account (owner) values ('x')", psycopg2.errors.NotNullViolation),
        ("insert into account (owner, balance) values ('x', -1)", psycopg2.errors.CheckViolation),
        ("select 1/0", psycopg2.errors.DivisionByZero),
        ("select * from nowhere", psycopg2.errors.UndefinedTable),
        ("selec", psycopg2.errors.SyntaxError)):
    cur.execute("savepoint s")
    try:
        cur.execute(statement)
        raise AssertionError(statement)
    except kind:
        cur.execute("rollback to s")
conn.commit()

# Batches, COPY in both directions, a cursor of the server.
psycopg2.extras.execute_values(cur, "insert into account (owner, balance) values %s", [(f"o{i}", i) for i in range(250)])
psycopg2.extras.execute_batch(cur, "update account set closed = true where owner = %s", [(f"o{i}",) for i in range(0, 250, 10)])
cur.copy_expert("copy entry (account, amount) from stdin with (format csv)",
                io.StringIO("".join(f"{ann},{i}.25\n" for i in range(1000))))
assert cur.rowcount == 1000
out = io.StringIO()
cur.copy_expert("copy (select amount from entry order by id limit 2) to stdout", out)
assert out.getvalue() == "0.25\n1.25\n", out.getvalue()
named = conn.cursor("c", withhold=False)
named.itersize = 100
named.execute("select amount from entry order by id")
assert sum(1 for _ in named) == 1000
named.close()
conn.commit()

# Isolation levels, and notifications.
conn.set_session(isolation_level="SERIALIZABLE", readonly=True)
cur.execute("select count(*) from account where closed")
assert cur.fetchone() == (25,)
try:
    cur.execute("delete from account")
    raise AssertionError("wrote in a read-only transaction")
except psycopg2.errors.ReadOnlySqlTransaction:
    conn.rollback()
conn.set_session(isolation_level="DEFAULT", readonly=False, autocommit=True)
cur.execute("listen news")
other = psycopg2.connect("")
other.autocommit = True
other.cursor().execute("notify news, 'hello'")
while not conn.notifies:
    assert select.select([conn], [], [], 20) != ([], [], []), "no notification"
    conn.poll()
assert (conn.notifies[0].channel, conn.notifies[0].payload, conn.notifies[0].pid) == ("news", "hello", other.info.backend_pid)
print("ok")
