# Sequel: its migrator, datasets, schema reflection.
require "sequel"

def expect(got, want) = (got == want or raise "got #{got.inspect}, want #{want.inspect}")

DB = Sequel.connect(adapter: "postgres", host: ENV["PGHOST"], port: ENV["PGPORT"], user: ENV["PGUSER"], database: ENV["PGDATABASE"])
Sequel.extension :migration
DB.extension :pg_array, :pg_json
up = Sequel.migration do
  change do
    create_table(:artists) do
      primary_key :id
      String :name, null: false, unique: true
      column :genres, "text[]"
      column :info, :jsonb
    end
    create_table(:albums) do
      primary_key :id, type: :Bignum
      foreign_key :artist_id, :artists, null: false, on_delete: :cascade
      BigDecimal :price, size: [10, 2]
      Date :released
      constraint(:price_positive) { price > 0 }
      index [:artist_id, :released], name: :albums_by_artist
    end
  end
end
up.apply(DB, :up)
up.apply(DB, :down)
up.apply(DB, :up)

id = DB[:artists].insert(name: "Ann", genres: Sequel.pg_array(%w[a b]), info: Sequel.pg_jsonb({ "k" => 1 }))
expect DB[:artists].first(id: id)[:genres].to_a, %w[a b]
DB[:albums].multi_insert((1..50).map { |i| { artist_id: id, price: i, released: Date.new(2026, 1, 1) + i } }, commit_every: 20)
expect DB[:albums].where { price > 40 }.sum(:price), 455
expect DB[:albums].returning(:id).where(price: 50).update(price: 60).map { |r| r[:id] }.size, 1
expect DB[:albums].order(:id).use_cursor(rows_per_fetch: 7).map(:price).size, 50
DB[:artists].insert_conflict(target: :name, update: { genres: nil }).insert(name: "Ann")
expect DB[:artists].get(:genres), nil

DB.transaction(isolation: :serializable) do
  DB[:albums].delete
  raise Sequel::Rollback
end
expect DB[:albums].count, 50
DB.transaction do
  DB.transaction(savepoint: true) { DB[:albums].delete; raise Sequel::Rollback }
  DB[:albums].for_update.first
end
{ Sequel::UniqueConstraintViolation => -> { DB[:artists].insert(name: "Ann") }, Sequel::NotNullConstraintViolation => -> { DB[:artists].insert(name: nil) },
  Sequel::ForeignKeyConstraintViolation => -> { DB[:albums].insert(artist_id: 0, price: 1) },
  Sequel::CheckConstraintViolation => -> { DB[:albums].insert(artist_id: id, price: -1) },
  Sequel::DatabaseError => -> { DB["select 1/0"].all } }.each do |kind, f|
  begin
    f.call
    raise "no #{kind}"
  rescue kind
  end
end
DB.copy_into(:albums, columns: %i[artist_id price], format: :csv, data: (1..100).map { |i| "#{id},#{i}\n" })
expect DB[:albums].count, 150
expect DB.copy_table(DB[:albums].select(:price).order(:id).limit(2)), "1.00\n2.00\n"

expect DB.tables.sort, %i[albums artists]
schema = DB.schema(:albums).to_h
expect schema[:id][:primary_key], true
expect schema[:price].values_at(:type, :db_type, :allow_null), [:decimal, "numeric(10,2)", true]
expect DB.indexes(:albums), { albums_by_artist: { columns: %i[artist_id released], unique: false, deferrable: nil } }
expect DB.foreign_key_list(:albums).map { |k| k.values_at(:columns, :table, :on_delete) }, [[[:artist_id], :artists, :cascade]]
expect DB.check_constraints(:albums).keys, [:price_positive]
heard = nil
DB.listen("ch", timeout: 20, after_listen: proc { Thread.new { DB.notify("ch", payload: "x") } }) { |channel, pid, payload| heard = payload }
expect heard, "x"
puts "ok"
