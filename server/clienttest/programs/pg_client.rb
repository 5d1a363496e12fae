# ruby-pg: libpq's own functions, asynchronous too, and COPY.
require "pg"

def expect(got, want) = (got == want or raise "got #{got.inspect}, want #{want.inspect}")

conn = PG.connect
conn.exec("create table t (id int primary key, name text not null, at timestamptz, data bytea, nums int[])")
conn.exec_params("insert into t values ($1, $2, $3, $4, $5)",
                 [1, "one", "2026-01-02 03:04:05+00", { value: "\0\xff".b, type: 0, format: 1 }, "{1,2}"])
conn.prepare("get", "select name, data, nums from t where id = $1")
r = conn.exec_prepared("get", [1], 1)
expect r.getvalue(0, 0), "one"
expect r.getvalue(0, 1), "\0\xff".b
expect r.fields, %w[name data nums]
expect r.ftype(0), 25
conn.type_map_for_results = PG::BasicTypeMapForResults.new(conn)
expect conn.exec("select 1::int, 1.5::numeric, true, array[1,2], '2026-01-02'::date").values[0].map(&:to_s), ["1", "0.15e1", "true", "[1, 2]", "2026-01-02"]

conn.transaction do |c|
  c.exec("update t set name = 'two'")
  begin
    c.exec("savepoint a")
    c.exec("insert into t (id, name) values (1, 'x')")
  rescue PG::UniqueViolation => e
    expect e.result.error_field(PG::Result::PG_DIAG_SQLSTATE), "23505"
    expect e.result.error_field(PG::Result::PG_DIAG_CONSTRAINT_NAME), "t_pkey"
    c.exec("rollback to a")
  end
end
expect conn.exec("select name from t").getvalue(0, 0), "two"
{ "select * from nowhere" => PG::UndefinedTable, "insert into t (id) values (9)" => PG::NotNullViolation,
  "select 'x'::int" => PG::InvalidTextRepresentation, "selec" => PG::SyntaxError }.each do |sql, kind|
  begin
    conn.exec(sql)
    raise "no error: #{sql}"
  rescue kind
  end
end

conn.copy_data("copy t (id, name) from stdin") { (2..500).each { |i| conn.put_copy_data("#{i}\tn#{i}\n") } }
out = []
conn.copy_data("copy (select id from t order by id limit 3) to stdout") { while (row = conn.get_copy_data) do out << row end }
expect out, ["1\n", "2\n", "3\n"]
conn.send_query("select id from t order by id")
conn.set_single_row_mode
n = 0
while (r = conn.get_result) do r.check; n += r.ntuples end
expect n, 500
conn.enter_pipeline_mode
5.times { |i| conn.send_query_params("select $1::int", [i]) }
conn.pipeline_sync
got = []
while got.size < 5 do r = conn.get_result; got << r.getvalue(0, 0) if r && r.ntuples > 0 end
expect got.map(&:to_i), [0, 1, 2, 3, 4]
loop { r = conn.get_result; break if r && r.result_status == PG::PGRES_PIPELINE_SYNC }
conn.exit_pipeline_mode

conn.exec("listen ch")
PG.connect.exec("notify ch, 'x'")
heard = conn.wait_for_notify(20) { |channel, pid, payload| expect [channel, payload], %w[ch x] }
expect heard, "ch"
conn.send_query("select pg_sleep(100)")
conn.cancel
begin
  conn.get_last_result
  raise "not cancelled"
rescue PG::QueryCanceled
end
puts "ok"
