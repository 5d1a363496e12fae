CREATE FUNCTION levenshtein(text, text) RETURNS integer LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'levenshtein';
CREATE FUNCTION levenshtein(text, text, integer, integer, integer) RETURNS integer LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'levenshtein_with_costs';
CREATE FUNCTION levenshtein_less_equal(text, text, integer) RETURNS integer LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'levenshtein_less_equal';
CREATE FUNCTION levenshtein_less_equal(text, text, integer, integer, integer, integer) RETURNS integer LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'levenshtein_less_equal_with_costs';
CREATE FUNCTION soundex(text) RETURNS text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'soundex';
CREATE FUNCTION text_soundex(text) RETURNS text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'soundex';
CREATE FUNCTION difference(text, text) RETURNS integer LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'difference';
