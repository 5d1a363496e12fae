package ddl

// TSVectorByColumn is the trigger function that finds its configuration in a column.
const TSVectorByColumn = "tsvector_update_trigger_column"

// builtinTriggers are PostgreSQL's own trigger functions of general use.
var builtinTriggers = map[string]uint32{"tsvector_update_trigger": 3752, TSVectorByColumn: 3753, "suppress_redundant_updates_trigger": 1291}

// BuiltinTrigger is the name of a trigger function of PostgreSQL's, "" for the id of another.
func BuiltinTrigger(oid uint32) string {
	for name, id := range builtinTriggers {
		if id == oid {
			return name
		}
	}
	return ""
}

// builtinTrigger finds a trigger function of PostgreSQL's by name.
func builtinTrigger(name []string) uint32 {
	if len(name) > 2 || len(name) == 2 && name[0] != "pg_catalog" {
		return 0
	}
	return builtinTriggers[name[len(name)-1]]
}
