"""SQLAlchemy 1.4: tables made and reflected, the ORM, events of errors."""
import datetime
import decimal

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session, declarative_base, joinedload, relationship

engine = sa.create_engine("postgresql+psycopg2://", pool_size=3)
Base = declarative_base()


class Author(Base):
    __tablename__ = "author"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(50), nullable=False, unique=True)
    born = sa.Column(sa.Date)
    rating = sa.Column(sa.Numeric(4, 2), server_default="0")
    traits = sa.Column(pg.JSONB)
    books = relationship("Book", back_populates="author", cascade="all, delete-orphan", order_by="Book.id")


class Book(Base):
    __tablename__ = "book"
    __table_args__ = (
        sa.CheckConstraint("pages > 0", name="book_pages_positive"),
        sa.Index("book_title_lower", sa.text("lower(title)")),
        sa.Index("book_in_print", "author_id", postgresql_where=sa.text("in_print")),
        sa.UniqueConstraint("author_id", "title", name="book_once"),
        {"comment": "what they wrote"},
    )
    id = sa.Column(sa.BigInteger, sa.Identity(always=False, start=10), primary_key=True)
    author_id = sa.Column(sa.ForeignKey("author.id", ondelete="CASCADE"), nullable=False)
    title = sa.Column(sa.Text, nullable=False, comment="as printed")
    pages = sa.Column(sa.SmallInteger)
    in_print = sa.Column(sa.Boolean, nullable=False, server_default=sa.true())
    tags = sa.Column(pg.ARRAY(sa.Text))
    kind = sa.Column(pg.ENUM("novel", "essay", name="book_kind"))
    author = relationship("Author", back_populates="books")


Base.metadata.create_all(engine)
Base.metadata.create_all(engine)  # finds everything there

with Session(engine) as s:
    s.add(Author(name="Woolf", born=datetime.date(1882, 1, 25), rating=decimal.Decimal("9.50"), traits={"a": 1},
                 books=[Book(title="Orlando", pages=300, tags=["x"], kind="novel"), Book(title="A Room", kind="essay")]))
    s.commit()
    woolf = s.query(Author).options(joinedload(Author.books)).filter(Author.traits["a"].astext == "1").one()
    assert [b.title for b in woolf.books] == ["Orlando", "A Room"] and woolf.books[0].id == 10
    assert s.query(Book).filter(Book.tags.contains(["x"])).count() == 1
    with s.begin_nested() as nested:
        woolf.rating = 1
        s.flush()
        nested.rollback()
    assert s.query(sa.func.max(Author.rating)).scalar() == decimal.Decimal("9.50")
    s.add(Book(title="Orlando", author_id=woolf.id))
    try:
        s.commit()
        raise AssertionError("a duplicate was taken")
    except exc.IntegrityError as e:
        assert e.orig.pgcode == "23505", e
        s.rollback()
    s.execute(sa.insert(Book), [{"title": f"t{i}", "author_id": woolf.id} for i in range(200)])
    up = pg.insert(Author).values(name="Woolf", rating=3)
    s.execute(up.on_conflict_do_update(index_elements=["name"], set_={"rating": up.excluded.rating}))
    s.commit()
    assert s.execute(sa.select(Author.rating)).scalar_one() == 3
    s.delete(s.get(Author, woolf.id))
    s.commit()
    assert s.query(Book).count() == 0

# Reflection finds what was declared.
inspector = sa.inspect(engine)
assert sorted(inspector.get_table_names()) == ["author", "book"]
columns = {c["name"]: c for c in inspector.get_columns("book")}
assert str(columns["pages"]["type"]) == "SMALLINT" and isinstance(columns["tags"]["type"], pg.ARRAY), columns
assert columns["kind"]["type"].enums == ["novel", "essay"] and columns["title"]["comment"] == "as printed", columns
assert columns["id"]["identity"]["start"] == 10 and columns["title"]["nullable"] is False, columns["id"]
assert inspector.get_pk_constraint("book") == {"constrained_columns": ["id"], "name": "book_pkey"}, inspector.get_pk_constraint("book")
(fk,) = inspector.get_foreign_keys("book")
assert fk["referred_table"] == "author" and fk["options"] == {"ondelete": "CASCADE"}, fk
assert inspector.get_check_constraints("book") == [{"name": "book_pages_positive", "sqltext": "pages > 0"}], inspector.get_check_constraints("book")
assert [u["name"] for u in inspector.get_unique_constraints("book")] == ["book_once"]
indexes = {i["name"]: i for i in inspector.get_indexes("book")}  # this release leaves out those on expressions
assert set(indexes) == {"book_in_print", "book_once"}, indexes
assert indexes["book_in_print"]["dialect_options"]["postgresql_where"] == "in_print", indexes
assert inspector.get_table_comment("book") == {"text": "what they wrote"}
assert [e["name"] for e in inspector.get_enums()] == ["book_kind"]
with engine.begin() as c:
    c.execute(sa.text("create view old as select id from author"))
assert inspector.get_view_names() == ["old"] and "author" in inspector.get_view_definition("old")
meta = sa.MetaData()
meta.reflect(engine)
assert list(meta.tables["book"].c.keys()) == [c.name for c in Book.__table__.c]

with engine.connect().execution_options(isolation_level="REPEATABLE READ") as c:
    assert c.execute(sa.text("show transaction_isolation")).scalar() == "repeatable read"
with engine.begin() as c:
    c.execute(sa.text("drop view old"))
Base.metadata.drop_all(engine)
assert sa.inspect(engine).get_table_names() == [] and sa.inspect(engine).get_enums() == []
print("ok")
