<?php
// PHP's pgsql extension: libpq's functions by name.
function expect($got, $want) { if ($got !== $want) { throw new Exception('got ' . var_export($got, true) . ', want ' . var_export($want, true)); } }

$c = pg_connect('');
pg_query($c, 'create table t (id serial primary key, name text not null, data bytea, price numeric(8,2), ok bool)');
pg_query($c, 'create unique index t_name on t (lower(name))');
$r = pg_query_params($c, 'insert into t (name, data, price, ok) values ($1, $2, $3, $4) returning id', ['one', pg_escape_bytea($c, "\0\xff"), '1.5', 't']);
expect(pg_fetch_result($r, 0, 0), '1');
pg_prepare($c, 'get', 'select * from t where id = $1');
$row = pg_fetch_assoc(pg_execute($c, 'get', [1]));
expect(pg_unescape_bytea($row['data']), "\0\xff");
expect([$row['name'], $row['price'], $row['ok']], ['one', '1.50', 't']);

// The helpers that read the catalog.
expect(array_keys(pg_meta_data($c, 't')), ['id', 'name', 'data', 'price', 'ok']);
expect(pg_meta_data($c, 't')['price']['type'], 'numeric');
expect(pg_insert($c, 't', ['name' => 'two', 'price' => '2']) !== false, true);
expect(pg_update($c, 't', ['price' => '3'], ['name' => 'two']), true);
expect(count(pg_select($c, 't', ['name' => 'two'])), 1);
expect(pg_delete($c, 't', ['name' => 'two']), true);
$r = pg_query($c, 'select id, name from t');
expect([pg_field_name($r, 1), pg_field_type($r, 1), pg_field_table($r, 1)], ['name', 'text', 't']);

// Transactions and errors.
pg_query($c, 'begin');
pg_query($c, 'delete from t');
expect(pg_transaction_status($c), PGSQL_TRANSACTION_INTRANS);
pg_query($c, 'rollback');
expect(pg_fetch_result(pg_query($c, 'select count(*) from t'), 0, 0), '1');
foreach ([["insert into t (name) values ('ONE')", '23505'], ['insert into t (id) values (7)', '23502'], ['select 1/0', '22012'], ['selec', '42601'],
          ['select * from nowhere', '42P01']] as [$sql, $code]) {
    pg_send_query($c, $sql);
    $r = pg_get_result($c);
    expect(pg_result_error_field($r, PGSQL_DIAG_SQLSTATE), $code);
    while (pg_get_result($c)) {}
}

// COPY, several statements in one message, notifications.
$rows = [];
for ($i = 10; $i < 500; $i++) { $rows[] = "$i\tn$i\t\\N\t$i\tf\n"; }
expect(pg_copy_from($c, 't', $rows), true);
expect(count(pg_copy_to($c, 't')), 491);
pg_send_query($c, 'select 1; select 2');
$got = [];
while ($r = pg_get_result($c)) { $got[] = pg_fetch_result($r, 0, 0); }
expect($got, ['1', '2']);
pg_query($c, 'listen ch');
pg_query(pg_connect('application_name=other'), "notify ch, 'x'");
for ($i = 0; $i < 200 && !($n = pg_get_notify($c)); $i++) { usleep(50000); }
expect([$n['message'], $n['payload']], ['ch', 'x']);
expect(pg_parameter_status($c, 'server_encoding'), 'UTF8');
echo "ok\n";
