# DBD::Pg: DBI's prepared statements, COPY, catalog methods.
use strict;
use warnings;
use DBI qw(:sql_types);
use DBD::Pg qw(:pg_types :async);

sub expect { my ($got, $want) = @_; $got = 'undef' unless defined $got; $got eq $want or die "got $got, want $want\n" }

my $db = DBI->connect('dbi:Pg:', '', '', { AutoCommit => 1, RaiseError => 1, PrintError => 0, pg_enable_utf8 => 1 });
$db->do('create table t (id serial primary key, name varchar(20) not null unique, price numeric(8,2), raw bytea, nums int[], at timestamp default now())');
$db->do('create table child (id int primary key, parent int not null references t (id) on delete cascade)');
my $sth = $db->prepare('insert into t (name, price, raw, nums) values (?, ?, ?, ?) returning id');
$sth->bind_param(3, "\0\xff", { pg_type => PG_BYTEA });
$sth->bind_param(1, "caf\x{e9}"); $sth->bind_param(2, '1.50'); $sth->bind_param(4, [1, 2, 3]);
$sth->execute;
my ($id) = $sth->fetchrow_array;
expect($db->last_insert_id(undef, undef, 't', undef), $id);
my $row = $db->selectrow_hashref('select name, price, raw, nums from t where id = ?', undef, $id);
expect($row->{name}, "caf\x{e9}"); expect($row->{price}, '1.50'); expect($row->{raw}, "\0\xff"); expect("@{$row->{nums}}", '1 2 3');

$db->begin_work;
$db->do('delete from t');
$db->rollback;
expect($db->selectrow_array('select count(*) from t'), 1);
$db->begin_work;
$db->pg_savepoint('s');
eval { $db->do('insert into t (name) values (?)', undef, "caf\x{e9}"); 1 } and die "a duplicate was taken\n";
expect($db->state, '23505');
$db->pg_rollback_to('s');
$db->do('update t set price = price * 2');
$db->commit;
expect($db->selectrow_array('select price from t'), '3.00');
for (['select 1/0', '22012'], ['select * from nowhere', '42P01'], ['insert into t (price) values (1)', '23502'],
     ['insert into child values (1, 0)', '23503'], ["select 'x'::int", '22P02'], ['selec', '42601']) {
    eval { $db->do($_->[0]); 1 } and die "no error: $_->[0]\n";
    expect($db->state, $_->[1]);
}

my @status;
my $many = $db->prepare('insert into child values (?, ?)');
expect($many->execute_array({ ArrayTupleStatus => \@status }, [1 .. 50], [($id) x 50]), 50);
$db->do('copy child (id, parent) from stdin');
$db->pg_putcopydata("$_\t$id\n") for 51 .. 500;
$db->pg_putcopyend;
$db->do('copy (select id from child order by id limit 2) to stdout');
my ($line, @lines);
push @lines, $line while $db->pg_getcopydata($line) >= 0;
expect(join('', @lines), "1\n2\n");
expect(scalar @{ $db->selectall_arrayref('select id from child') }, 500);

expect(join(',', sort map { $_->{TABLE_NAME} } @{ $db->table_info('', 'public', '%', 'TABLE')->fetchall_arrayref({}) }), 'child,t');
my %columns = map { $_->{COLUMN_NAME} => $_ } @{ $db->column_info('', 'public', 't', '%')->fetchall_arrayref({}) };
expect($columns{price}{pg_type}, 'numeric(8,2)'); expect($columns{name}{NULLABLE}, 0); expect($columns{name}{COLUMN_SIZE}, 20);
expect(join(',', $db->primary_key('', 'public', 't')), 'id');
my ($fk) = @{ $db->foreign_key_info(undef, undef, undef, undef, 'public', 'child')->fetchall_arrayref({}) };
expect($fk->{UK_TABLE_NAME}, 't'); expect($fk->{FK_COLUMN_NAME}, 'parent');
my @stats = grep { $_->{INDEX_NAME} } @{ $db->statistics_info(undef, 'public', 't', 0, 0)->fetchall_arrayref({}) };
expect(join(',', sort map { $_->{INDEX_NAME} } @stats), 't_name_key,t_pkey');
expect($db->prepare('select id, name from t')->{NUM_OF_PARAMS}, 0);

$db->do('listen ch');
my $other = $db->clone;
$other->do("notify ch, 'x'");
my $n;
for (1 .. 200) { $n = $db->pg_notifies and last; select undef, undef, undef, 0.05 }
expect($n->[0], 'ch'); expect($n->[2], 'x');
$db->do('select pg_sleep(100)', { pg_async => PG_ASYNC });
$db->pg_cancel;
expect($db->selectrow_array('select 1'), 1);
$_->disconnect for $db, $other;
print "ok\n";
