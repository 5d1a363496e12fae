# ActiveRecord: migrations under its advisory lock, models, the schema dumped.
require "active_record"
require "stringio"

def expect(got, want) = (got == want or raise "got #{got.inspect}, want #{want.inspect}")

ActiveRecord::Base.establish_connection(adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"], username: ENV["PGUSER"],
                                        database: ENV["PGDATABASE"], pool: 4)
ActiveRecord::Migration.verbose = false

class CreateShops < ActiveRecord::Migration[6.1]
  def change
    create_table :shops, comment: "where it is sold" do |t|
      t.string :name, null: false, limit: 40, index: { unique: true }
      t.jsonb :meta, default: {}
      t.string :tags, array: true
      t.timestamps
    end
    create_table :items do |t|
      t.references :shop, null: false, foreign_key: { on_delete: :cascade }
      t.decimal :price, precision: 10, scale: 2, default: 0
      t.uuid :code, default: -> { "gen_random_uuid()" }
      t.text :note
    end
    add_index :items, "lower(note)", name: "items_note"
    add_index :items, :price, where: "price > 10", order: { price: :desc }, name: "items_dear"
    reversible { |dir| dir.up { execute "alter table items add constraint items_price check (price >= 0)" } }
  end
end

class Widen < ActiveRecord::Migration[6.1]
  def up
    change_column :items, :price, :decimal, precision: 12, scale: 3
    change_column_null :items, :note, false, ""
    rename_column :items, :note, :remark
    add_column :items, :sold, :boolean, default: false, null: false
  end

  def down
    remove_column :items, :sold
    rename_column :items, :remark, :note
  end
end

# The migrator takes pg_try_advisory_lock and keeps schema_migrations.
all = [CreateShops.new("CreateShops", 1), Widen.new("Widen", 2)]
migrator = lambda { |direction, version| ActiveRecord::Migrator.new(direction, all, ActiveRecord::SchemaMigration, version).migrate }
ActiveRecord::SchemaMigration.create_table
ActiveRecord::InternalMetadata.create_table
migrator.call(:up, 2)
migrator.call(:down, 1)
migrator.call(:up, 2)
expect ActiveRecord::SchemaMigration.all_versions.sort, %w[1 2]

class Shop < ActiveRecord::Base; has_many :items; validates :name, presence: true; end
class Item < ActiveRecord::Base; belongs_to :shop; end

shop = Shop.create!(name: "corner", meta: { "floor" => 1 }, tags: %w[a b])
expect Shop.find(shop.id).tags, %w[a b]
expect Shop.where("meta->>'floor' = ?", "1").pluck(:name), ["corner"]
Item.insert_all((1..100).map { |i| { shop_id: shop.id, price: i, remark: "r#{i}" } })
expect shop.items.where(price: 11..20).sum(:price), 155
expect Item.group(:sold).count, { false => 100 }
expect Item.find_each(batch_size: 30).count, 100
expect Item.first.code.size, 36
Shop.upsert({ name: "corner", tags: ["c"], created_at: Time.now, updated_at: Time.now }, unique_by: :name)
expect shop.reload.tags, ["c"]
Item.transaction do
  Item.delete_all
  raise ActiveRecord::Rollback
end
expect Item.count, 100
Item.transaction do
  Item.transaction(requires_new: true) { Item.delete_all; raise ActiveRecord::Rollback }
  Item.lock.find(Item.first.id).update!(sold: true)
end
expect Item.where(sold: true).count, 1
{ ActiveRecord::RecordNotUnique => -> { Shop.create!(name: "corner") }, ActiveRecord::NotNullViolation => -> { Item.new(shop: shop, remark: nil).save! },
  ActiveRecord::InvalidForeignKey => -> { Item.insert!({ shop_id: 0, remark: "" }) },
  ActiveRecord::StatementInvalid => -> { Item.create!(shop: shop, price: -1, remark: "") },
  ActiveRecord::ValueTooLong => -> { Shop.create!(name: "x" * 41) } }.each do |kind, f|
  begin
    f.call
    raise "no #{kind}"
  rescue kind
  end
end

out = StringIO.new
ActiveRecord::SchemaDumper.dump(ActiveRecord::Base.connection, out)
schema = out.string
['create_table "items"', 't.decimal "price", precision: 12, scale: 3, default: "0.0"', 't.uuid "code", default: -> { "gen_random_uuid()" }',
 't.index ["price"], name: "items_dear", order: :desc, where: "(price > (10)::numeric)"', 'name: "items_price"',
 'add_foreign_key "items", "shops", on_delete: :cascade', 'comment: "where it is sold"', 't.string "tags", array: true'].each do |line|
  raise "#{line} is not in\n#{schema}" unless schema.include?(line)
end
ActiveRecord::Base.connection.drop_table(:items)
expect ActiveRecord::Base.connection.tables.sort, %w[ar_internal_metadata schema_migrations shops]
puts "ok"
