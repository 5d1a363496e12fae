package extension

import (
	"embed"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
)

// Extension is what CREATE EXTENSION can add to a database.
type Extension struct {
	Name    string
	Version string // PostgreSQL 15's
	Comment string
	Trusted bool // who may create in the database may create the extension
	// Requires names the extensions that must be there before.
	Requires []string
	// Script makes its types and functions. A function in language c names the symbol that Native knows it by; a type is
	// like text, but case does not count.
	Script string
	// Operators are the functions behind its operators, all binary, by the operators' names; one function's name may stand for
	// several. They are found wherever the operators of PostgreSQL's core do not fit, and for operands of the extension's own type
	// before those, whatever the search path.
	Operators map[string]string
}

//go:embed scripts/*.sql
var scripts embed.FS

var all = []*Extension{
	// Its operator classes need no functions here: exclusion constraints compare what an ordered index holds.
	{Name: "btree_gist", Version: "1.7", Trusted: true, Comment: "support for indexing common datatypes in GiST"},
	{Name: "citext", Version: "1.6", Trusted: true, Comment: "data type for case-insensitive character strings"},
	{Name: "fuzzystrmatch", Version: "1.1", Trusted: true, Comment: "determine similarities and distance between strings"},
	{Name: "hstore", Version: "1.8", Trusted: true, Comment: "data type for storing sets of (key, value) pairs",
		Operators: map[string]string{
			"->": "fetchval slice_array", "?": "exist", "?|": "exists_any", "?&": "exists_all",
			"@>": "hs_contains", "<@": "hs_contained", "||": "hs_concat", "-": "delete",
		}},
	{Name: "pg_trgm", Version: "1.6", Trusted: true, Comment: "text similarity measurement and index searching based on trigrams",
		Operators: map[string]string{
			"%": "similarity_op", "<->": "similarity_dist",
			"<%": "word_similarity_op", "%>": "word_similarity_commutator_op",
			"<<->": "word_similarity_dist_op", "<->>": "word_similarity_dist_commutator_op",
			"<<%": "strict_word_similarity_op", "%>>": "strict_word_similarity_commutator_op",
			"<<<->": "strict_word_similarity_dist_op", "<->>>": "strict_word_similarity_dist_commutator_op",
		}},
	{Name: "pgcrypto", Version: "1.3", Trusted: true, Comment: "cryptographic functions"},
	{Name: "unaccent", Version: "1.1", Trusted: true, Comment: "text search dictionary that removes accents"},
	{Name: "uuid-ossp", Version: "1.1", Trusted: true, Comment: "generate universally unique identifiers (UUIDs)"},
}

func init() {
	for _, e := range all {
		b, err := scripts.ReadFile("scripts/" + e.Name + ".sql")
		if err != nil {
			panic(err)
		}
		e.Script = string(b)
	}
}

// All lists the extensions by name.
func All() []*Extension { return all }

// ByName returns an extension, nil if there is none of that name.
func ByName(name string) *Extension {
	i, ok := slices.BinarySearchFunc(all, name, func(e *Extension, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return nil
	}
	return all[i]
}

// Native returns the function of a symbol. Of a symbol that this version does not know it has nothing to call.
func Native(symbol string) *builtin.Native {
	if n := natives[symbol]; n != nil {
		return n
	}
	return &builtin.Native{}
}

var natives = map[string]*builtin.Native{}

// eval registers a function.
func eval(symbol string, f builtin.EvalFunc) { natives[symbol] = &builtin.Native{Eval: f} }
