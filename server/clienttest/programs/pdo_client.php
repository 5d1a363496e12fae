<?php
// PDO: emulated and real prepared statements, cursors, COPY.
function expect($got, $want) { if ($got !== $want) { throw new Exception('got ' . var_export($got, true) . ', want ' . var_export($want, true)); } }

$db = new PDO(sprintf('pgsql:host=%s;port=%s;dbname=%s;user=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'), getenv('PGUSER')),
    null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$db->exec('create table t (id bigserial primary key, name varchar(20) unique, ok boolean, price numeric(8,2), data bytea, doc jsonb)');
foreach ([false, true] as $emulate) {
    $db->setAttribute(PDO::ATTR_EMULATE_PREPARES, $emulate);
    $s = $db->prepare('insert into t (name, ok, price, data, doc) values (:name, :ok, :price, :data, :doc) returning id');
    $s->bindValue('name', "n$emulate");
    $s->bindValue('ok', $emulate, PDO::PARAM_BOOL);
    $s->bindValue('price', '1.25');
    $s->bindValue('data', "\0\xff", PDO::PARAM_LOB);
    $s->bindValue('doc', '{"a": 1}');
    $s->execute();
    expect($s->fetchColumn(), $emulate ? 2 : 1);
}
expect($db->lastInsertId(), '2');
$row = $db->query('select * from t where id = 1')->fetch(PDO::FETCH_ASSOC);
expect([$row['id'], $row['name'], $row['ok'], $row['price'], stream_get_contents($row['data']), $row['doc']], [1, 'n', false, '1.25', "\0\xff", '{"a": 1}']);
$meta = $db->query('select name, price from t')->getColumnMeta(1);
expect([$meta['name'], $meta['native_type'], $meta['table']], ['price', 'numeric', 't']);

$db->beginTransaction();
$db->exec('delete from t');
expect($db->inTransaction(), true);
$db->rollBack();
expect($db->query('select count(*) from t')->fetchColumn(), 2);
$db->beginTransaction();
$s = $db->prepare('update t set price = price + ? where id = ?');
foreach ([[1, 1], [2, 2]] as $args) { $s->execute($args); expect($s->rowCount(), 1); }
$db->commit();
expect($db->query('select sum(price) from t')->fetchColumn(), '5.50');
foreach ([["insert into t (name) values ('n')", '23505'], ['select 1/0', '22012'], ['select * from nowhere', '42P01'],
          ["insert into t (name) values (repeat('x', 21))", '22001']] as [$sql, $code]) {
    try {
        $db->exec($sql);
        throw new Exception("no error: $sql");
    } catch (PDOException $e) {
        expect($e->getCode(), $code);
        expect($e->errorInfo[0], $code);
    }
}

$rows = [];
for ($i = 10; $i < 200; $i++) { $rows[] = "$i\tc$i\tt\t1\t\\N\t\\N"; }
expect($db->pgsqlCopyFromArray('t', $rows), true);
expect(count($db->pgsqlCopyToArray('t')), 192);
$db->beginTransaction();
$s = $db->prepare('select id from t order by id', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
$s->execute();
expect($s->fetch(PDO::FETCH_NUM), [1]);
expect($s->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_LAST), [199]);
expect($s->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 2), [2]);
$s = null;
$db->commit();
$db->exec('listen ch');
$db->exec("select pg_notify('ch', 'x')");
$n = $db->pgsqlGetNotify(PDO::FETCH_ASSOC, 10000);
expect([$n['message'], $n['payload']], ['ch', 'x']);
expect($db->getAttribute(PDO::ATTR_SERVER_VERSION) >= '15', true);
echo "ok\n";
