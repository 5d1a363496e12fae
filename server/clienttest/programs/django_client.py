"""Django 3.2: migrations by its schema editor, the ORM, introspection."""
import os
import sys
import types

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "app"],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "USER": os.environ["PGUSER"],
                           "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"]}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True, SECRET_KEY="x")
app = types.ModuleType("app")
app.__path__, app.__file__ = ["/nonexistent"], "/nonexistent/__init__.py"
sys.modules["app"] = app
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, migrations, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models import Avg, Count, F, Q


# Django's own migrations first: some fifty statements of DDL, several of them changing columns with data behind them.
call_command("migrate", verbosity=0)
User.objects.create_user("ann", "ann@example.org", "secret")
assert User.objects.get(username="ann").check_password("secret")

# Then migrations of an app, forwards and backwards.
steps = [
    [migrations.CreateModel("Shop", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=30, unique=True)),
                                     ("meta", models.JSONField(default=dict)), ("opened", models.DateTimeField(auto_now_add=True))]),
     migrations.CreateModel("Item", [("id", models.BigAutoField(primary_key=True)), ("price", models.DecimalField(max_digits=8, decimal_places=2)),
                                     ("shop", models.ForeignKey("app.Shop", models.CASCADE, related_name="items"))])],
    [migrations.AddField("Item", "label", models.TextField(null=True)), migrations.AddIndex("Item", models.Index(fields=["label", "-price"], name="item_label")),
     migrations.AddConstraint("Item", models.CheckConstraint(check=Q(price__gte=0), name="item_price")),
     migrations.AddConstraint("Item", models.UniqueConstraint(fields=["shop"], condition=Q(label="only"), name="item_only"))],
    [migrations.RenameField("Item", "label", "title"), migrations.AlterField("Item", "title", models.CharField(max_length=99, default="")),
     migrations.AlterField("Item", "price", models.DecimalField(max_digits=12, decimal_places=3, db_index=True))],
]
states = [ProjectState()]
for operations in steps:
    for operation in operations:
        after = states[-1].clone()
        operation.state_forwards("app", after)
        with connection.schema_editor() as editor:
            operation.database_forwards("app", editor, states[-1], after)
        states.append(after)
Shop, Item = (states[-1].apps.get_model("app", n) for n in ("Shop", "Item"))

# CRUD.
shop = Shop.objects.create(name="corner", meta={"floor": 1, "tags": ["a"]})
Item.objects.bulk_create([Item(shop=shop, price=i, title=f"t{i % 3}") for i in range(100)], batch_size=40)
assert Shop.objects.filter(meta__floor=1, meta__tags__contains=["a"]).annotate(n=Count("items")).get().n == 100
assert Item.objects.filter(title="t1").aggregate(Avg("price"))["price__avg"] == 49
Item.objects.filter(title="t2").update(price=F("price") + 1)
assert [i["title"] for i in Item.objects.values("title").annotate(n=Count("id")).order_by("-n", "title")] == ["t0", "t1", "t2"]
obj, created = Shop.objects.update_or_create(name="corner", defaults={"meta": {}})
assert not created
with transaction.atomic():
    assert Shop.objects.select_for_update().get(name="corner").pk == shop.pk
assert len(list(Item.objects.order_by("id").iterator(chunk_size=7))) == 100

# Transactions and errors.
for bad in (lambda: Shop.objects.create(name="corner"), lambda: Item.objects.create(shop=shop, price=-1),
            lambda: Item.objects.create(price=1), lambda: [Item.objects.create(shop=shop, price=1, title="only") for _ in range(2)]):
    try:
        with transaction.atomic():
            bad()
        raise AssertionError("a constraint did not hold")
    except IntegrityError:
        pass
try:
    with transaction.atomic():
        Item.objects.all().delete()
        raise KeyError
except KeyError:
    assert Item.objects.count() == 100
try:  # Django's foreign keys are deferred: the error comes with the commit
    with transaction.atomic():
        Item.objects.create(shop_id=10 ** 9, price=1)
        connection.check_constraints()
    raise AssertionError("a foreign key did not hold")
except IntegrityError:
    pass

# Introspection, as inspectdb does it.
with connection.cursor() as cursor:
    intro = connection.introspection
    assert "app_item" in intro.table_names(cursor)
    assert [c.name for c in intro.get_table_description(cursor, "app_item")] == ["id", "price", "shop_id", "title"]
    assert intro.get_relations(cursor, "app_item") == {"shop_id": ("id", "app_shop")}
    found = intro.get_constraints(cursor, "app_item")
    assert found["item_label"]["columns"] == ["title", "price"] and found["item_label"]["orders"] == ["ASC", "DESC"], found
    assert found["item_price"]["check"] and found["item_only"]["unique"], found
    assert [s["column"] for s in intro.get_sequences(cursor, "app_item")] == ["id"]
    assert intro.get_primary_key_column(cursor, "app_item") == "id"
call_command("inspectdb", stdout=open(os.devnull, "w"))

with connection.schema_editor() as editor:
    editor.delete_model(Item)
    editor.delete_model(Shop)
print("ok")
