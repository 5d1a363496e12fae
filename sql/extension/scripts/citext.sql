CREATE TYPE citext (INPUT = textin, OUTPUT = textout, LIKE = text);
CREATE FUNCTION regexp_match(string citext, pattern citext) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_match(string::text, pattern::text, 'i');
CREATE FUNCTION regexp_match(string citext, pattern citext, flags text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_match(string::text, pattern::text, CASE WHEN flags LIKE '%c%' THEN flags ELSE flags || 'i' END);
CREATE FUNCTION regexp_matches(string citext, pattern citext) RETURNS SETOF text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_matches(string::text, pattern::text, 'i');
CREATE FUNCTION regexp_matches(string citext, pattern citext, flags text) RETURNS SETOF text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_matches(string::text, pattern::text, CASE WHEN flags LIKE '%c%' THEN flags ELSE flags || 'i' END);
CREATE FUNCTION regexp_replace(string citext, pattern citext, replacement text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_replace(string::text, pattern::text, replacement, 'i');
CREATE FUNCTION regexp_replace(string citext, pattern citext, replacement text, flags text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_replace(string::text, pattern::text, replacement, CASE WHEN flags LIKE '%c%' THEN flags ELSE flags || 'i' END);
CREATE FUNCTION regexp_split_to_array(string citext, pattern citext) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_split_to_array(string::text, pattern::text, 'i');
CREATE FUNCTION regexp_split_to_table(string citext, pattern citext) RETURNS SETOF text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.regexp_split_to_table(string::text, pattern::text, 'i');
CREATE FUNCTION strpos(string citext, part citext) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.strpos(pg_catalog.lower(string::text), pg_catalog.lower(part::text));
CREATE FUNCTION citext_cmp(citext, citext) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN $1 < $2 THEN -1 WHEN $1 > $2 THEN 1 ELSE 0 END;
