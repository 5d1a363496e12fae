package sql

// settingKind is the type of a setting's value.
type settingKind uint8

const (
	kindBool settingKind = iota
	kindInt
	kindReal
	kindString
	kindEnum
)

// settingContext says who may change a setting.
type settingContext uint8

const (
	ctxUser      settingContext = iota // anyone, at any time
	ctxSuperuser                       // superusers
	ctxBackend                         // fixed when the session starts
	ctxSighup                          // by the server's operator only
	ctxInternal                        // never
)

// setting is one entry of the table of settings, PostgreSQL's "GUC".
type setting struct {
	name    string // as SHOW prints it
	kind    settingKind
	context settingContext
	def     string // canonical form: numbers in the base unit
	unit    string // "ms", "s", "min", "kB", "8kB" or ""
	min     float64
	max     float64
	enum    []string // values of an enum, the first spelling of each is canonical
	report  bool     // changes are sent as ParameterStatus
	list    bool     // a list of identifiers
	desc    string
	check   func(s *Session, v string) (string, error) // canonical form, or why v is refused
	assign  func(s *Session, v string)                 // after every change
}

const (
	maxInt32 = 1<<31 - 1
	// serverVersion is the release of PostgreSQL whose behaviour, catalogs and messages Meridian follows.
	serverVersion    = "15.0"
	serverVersionNum = "150000"
)

var isolationNames = []string{"serializable", "repeatable read", "read committed", "read uncommitted"}

// settingTable is ordered by name, without regard to case. Settings of PostgreSQL that tune machinery
// Meridian does not have are listed when clients, dumps or drivers set them; changing them has no effect.
var settingTable = []setting{
	{name: "allow_system_table_mods", kind: kindBool, context: ctxSuperuser, def: "off"},
	{name: "application_name", kind: kindString, def: "", report: true, desc: "Sets the application name to be reported in statistics and logs.", check: checkApplicationName, assign: assignApplicationName},
	{name: "array_nulls", kind: kindBool, def: "on"},
	{name: "authentication_timeout", kind: kindInt, context: ctxSighup, def: "60", unit: "s", min: 1, max: 600},
	{name: "autovacuum", kind: kindBool, context: ctxSighup, def: "on"},
	{name: "backslash_quote", kind: kindEnum, def: "safe_encoding", enum: []string{"safe_encoding", "on", "off"}},
	{name: "backtrace_functions", kind: kindString, context: ctxSuperuser, def: ""},
	{name: "block_size", kind: kindInt, context: ctxInternal, def: "8192"},
	{name: "bytea_output", kind: kindEnum, def: "hex", enum: []string{"hex", "escape"}, desc: "Sets the output format for bytea.", assign: assignFormat},
	{name: "check_function_bodies", kind: kindBool, def: "on"},
	{name: "client_encoding", kind: kindString, def: "UTF8", report: true, desc: "Sets the client's character set encoding.", check: checkEncoding},
	{name: "client_min_messages", kind: kindEnum, def: "notice", enum: []string{"debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"}, assign: assignMinMessages},
	{name: "commit_delay", kind: kindInt, context: ctxSuperuser, def: "0", min: 0, max: 100000},
	{name: "compute_query_id", kind: kindEnum, context: ctxSuperuser, def: "auto", enum: []string{"auto", "regress", "on", "off"}},
	{name: "constraint_exclusion", kind: kindEnum, def: "partition", enum: []string{"partition", "on", "off"}},
	{name: "cpu_index_tuple_cost", kind: kindReal, def: "0.005", min: 0, max: 1e308},
	{name: "cpu_operator_cost", kind: kindReal, def: "0.0025", min: 0, max: 1e308},
	{name: "cpu_tuple_cost", kind: kindReal, def: "0.01", min: 0, max: 1e308},
	{name: "cursor_tuple_fraction", kind: kindReal, def: "0.1", min: 0, max: 1},
	{name: "data_directory_mode", kind: kindString, context: ctxInternal, def: "0700"},
	{name: "data_checksums", kind: kindBool, context: ctxInternal, def: "on"},
	{name: "DateStyle", kind: kindString, def: "ISO, MDY", report: true, list: true, desc: "Sets the display format for date and time values.", check: checkDateStyle, assign: assignFormat},
	{name: "deadlock_timeout", kind: kindInt, context: ctxSuperuser, def: "1000", unit: "ms", min: 1, max: maxInt32},
	{name: "debug_assertions", kind: kindBool, context: ctxInternal, def: "off"},
	{name: "debug_print_plan", kind: kindBool, def: "off"},
	{name: "default_statistics_target", kind: kindInt, def: "100", min: 1, max: 10000},
	{name: "default_table_access_method", kind: kindString, def: "heap", check: checkAccessMethod},
	{name: "default_tablespace", kind: kindString, def: "", desc: "Sets the default tablespace to create tables and indexes in.", check: checkTablespace},
	{name: "default_text_search_config", kind: kindString, def: "pg_catalog.english", check: checkTextConfig},
	{name: "default_toast_compression", kind: kindEnum, def: "pglz", enum: []string{"pglz", "lz4"}},
	{name: "default_transaction_deferrable", kind: kindBool, def: "off"},
	{name: "default_transaction_isolation", kind: kindEnum, def: "serializable", enum: isolationNames, desc: "Sets the transaction isolation level of each new transaction."},
	{name: "default_transaction_read_only", kind: kindBool, def: "off", report: true, desc: "Sets the default read-only status of new transactions."},
	{name: "effective_cache_size", kind: kindInt, def: "524288", unit: "8kB", min: 1, max: maxInt32},
	{name: "effective_io_concurrency", kind: kindInt, def: "1", min: 0, max: 1000},
	{name: "enable_async_append", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_bitmapscan", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_gathermerge", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_hashagg", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_hashjoin", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_incremental_sort", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_indexonlyscan", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_indexscan", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_material", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_memoize", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_mergejoin", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_nestloop", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_parallel_append", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_parallel_hash", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_partition_pruning", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_partitionwise_aggregate", kind: kindBool, def: "off", assign: assignPlanner},
	{name: "enable_partitionwise_join", kind: kindBool, def: "off", assign: assignPlanner},
	{name: "enable_seqscan", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_sort", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "enable_tidscan", kind: kindBool, def: "on", assign: assignPlanner},
	{name: "escape_string_warning", kind: kindBool, def: "on"},
	{name: "exit_on_error", kind: kindBool, def: "off"},
	{name: "extra_float_digits", kind: kindInt, def: "1", min: -15, max: 3, desc: "Sets the number of digits displayed for floating-point values.", assign: assignFormat},
	{name: "from_collapse_limit", kind: kindInt, def: "8", min: 1, max: maxInt32},
	{name: "fsync", kind: kindBool, context: ctxSighup, def: "on"},
	{name: "full_page_writes", kind: kindBool, context: ctxSighup, def: "on"},
	{name: "geqo", kind: kindBool, def: "on"},
	{name: "geqo_threshold", kind: kindInt, def: "12", min: 2, max: maxInt32},
	{name: "gin_fuzzy_search_limit", kind: kindInt, def: "0", min: 0, max: maxInt32},
	{name: "hash_mem_multiplier", kind: kindReal, def: "2", min: 1, max: 1000},
	{name: "hot_standby", kind: kindBool, context: ctxInternal, def: "on"},
	{name: "idle_in_transaction_session_timeout", kind: kindInt, def: "0", unit: "ms", min: 0, max: maxInt32, assign: assignTimeouts},
	{name: "idle_session_timeout", kind: kindInt, def: "0", unit: "ms", min: 0, max: maxInt32, assign: assignTimeouts},
	{name: "in_hot_standby", kind: kindBool, context: ctxInternal, def: "off", report: true},
	{name: "integer_datetimes", kind: kindBool, context: ctxInternal, def: "on", report: true},
	{name: "IntervalStyle", kind: kindEnum, def: "postgres", enum: []string{"postgres", "postgres_verbose", "sql_standard", "iso_8601"}, report: true, desc: "Sets the display format for interval values.", assign: assignFormat},
	{name: "is_superuser", kind: kindBool, context: ctxInternal, def: "off", report: true},
	{name: "jit", kind: kindBool, def: "off"},
	{name: "join_collapse_limit", kind: kindInt, def: "8", min: 1, max: maxInt32},
	{name: "lc_collate", kind: kindString, context: ctxInternal, def: "C"},
	{name: "lc_ctype", kind: kindString, context: ctxInternal, def: "C.UTF-8"},
	{name: "lc_messages", kind: kindString, context: ctxSuperuser, def: "C"},
	{name: "lc_monetary", kind: kindString, def: "C"},
	{name: "lc_numeric", kind: kindString, def: "C"},
	{name: "lc_time", kind: kindString, def: "C"},
	{name: "listen_addresses", kind: kindString, context: ctxSighup, def: "localhost"},
	{name: "lo_compat_privileges", kind: kindBool, context: ctxSuperuser, def: "off"},
	{name: "lock_timeout", kind: kindInt, def: "0", unit: "ms", min: 0, max: maxInt32, desc: "Sets the maximum allowed duration of any wait for a lock.", assign: assignTimeouts},
	{name: "log_duration", kind: kindBool, context: ctxSuperuser, def: "off"},
	{name: "log_min_duration_statement", kind: kindInt, context: ctxSuperuser, def: "-1", unit: "ms", min: -1, max: maxInt32, desc: "Sets the duration from which on statements are logged, without their literals.", assign: assignSlow},
	{name: "log_min_messages", kind: kindEnum, context: ctxSuperuser, def: "warning", enum: []string{"debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"}},
	{name: "log_statement", kind: kindEnum, context: ctxSuperuser, def: "none", enum: []string{"none", "ddl", "mod", "all"}},
	{name: "maintenance_work_mem", kind: kindInt, def: "65536", unit: "kB", min: 1024, max: maxInt32},
	{name: "max_connections", kind: kindInt, context: ctxInternal, def: "5000"},
	{name: "max_function_args", kind: kindInt, context: ctxInternal, def: "100"},
	{name: "max_identifier_length", kind: kindInt, context: ctxInternal, def: "63"},
	{name: "max_index_keys", kind: kindInt, context: ctxInternal, def: "32"},
	{name: "max_parallel_workers", kind: kindInt, def: "8", min: 0, max: 1024},
	{name: "max_parallel_workers_per_gather", kind: kindInt, def: "2", min: 0, max: 1024},
	{name: "max_prepared_transactions", kind: kindInt, context: ctxInternal, def: "0"},
	{name: "max_stack_depth", kind: kindInt, context: ctxSuperuser, def: "2048", unit: "kB", min: 100, max: maxInt32},
	{name: "meridian.exact_staleness", kind: kindString, def: "", desc: "Reads of read-only transactions happen exactly this long ago.", check: checkStaleness, assign: assignStaleness},
	{name: "meridian.max_retries", kind: kindInt, def: "32", min: 0, max: 1000, desc: "Sets how often an implicit transaction is run again after a conflict.", assign: assignTimeouts},
	{name: "meridian.max_staleness", kind: kindString, def: "", desc: "Reads of read-only transactions are at most this old.", check: checkStaleness, assign: assignStaleness},
	{name: "meridian.min_read_timestamp", kind: kindString, def: "", desc: "Reads of read-only transactions happen at this timestamp or later.", check: checkReadTimestamp, assign: assignStaleness},
	{name: "meridian.monitor", kind: kindBool, context: ctxSuperuser, def: "off", desc: "Lets a role, for which it is stored by ALTER ROLE, see the console and what the sessions of other roles do."},
	{name: "meridian.plan_cache", kind: kindBool, def: "on", desc: "Lets statements use plans made for the same text before.", assign: assignPlanner},
	{name: "meridian.read_staleness", kind: kindString, def: "strong", desc: "Timestamp bound of read-only transactions: strong, exact_staleness, max_staleness, read_timestamp or min_read_timestamp, with its value.", check: checkReadStaleness, assign: assignStaleness},
	{name: "meridian.read_timestamp", kind: kindString, def: "", desc: "Reads of read-only transactions happen at this timestamp.", check: checkReadTimestamp, assign: assignStaleness},
	{name: "meridian.role_memory", kind: kindInt, context: ctxSuperuser, def: "0", unit: "kB", min: 0, max: maxInt32, desc: "Sets how much memory the statements of the role may hold together on each node; 0 is no limit but the node's.", assign: assignLimits},
	{name: "meridian.statement_rate", kind: kindInt, context: ctxSuperuser, def: "0", min: 0, max: 1000000, desc: "Sets how many statements a second the role may run on each node; 0 is no limit.", assign: assignLimits},
	{name: "min_parallel_index_scan_size", kind: kindInt, def: "64", unit: "8kB", min: 0, max: 715827882},
	{name: "min_parallel_table_scan_size", kind: kindInt, def: "1024", unit: "8kB", min: 0, max: 715827882},
	{name: "parallel_leader_participation", kind: kindBool, def: "on"},
	{name: "parallel_setup_cost", kind: kindReal, def: "1000", min: 0, max: 1e308},
	{name: "parallel_tuple_cost", kind: kindReal, def: "0.1", min: 0, max: 1e308},
	{name: "password_encryption", kind: kindEnum, def: "scram-sha-256", enum: []string{"scram-sha-256"}},
	{name: "pgaudit.log", kind: kindString, context: ctxSuperuser, def: "none", desc: "Sets which classes of statements are recorded in the audit log.", check: checkAuditLog, assign: assignAudit},
	{name: "pgaudit.log_catalog", kind: kindBool, context: ctxSuperuser, def: "on", desc: "Records statements that only touch the system catalog, too.", assign: assignAudit},
	{name: "pgaudit.log_parameter", kind: kindBool, context: ctxSuperuser, def: "off", check: checkAuditParameter},
	{name: "pgaudit.log_relation", kind: kindBool, context: ctxSuperuser, def: "off", desc: "Writes an event for each relation that a statement touches.", assign: assignAudit},
	{name: "pgaudit.log_rows", kind: kindBool, context: ctxSuperuser, def: "off", desc: "Records the number of rows.", assign: assignAudit},
	{name: "pgaudit.log_statement", kind: kindBool, context: ctxSuperuser, def: "on", desc: "Records the statement's text, without its literals.", assign: assignAudit},
	{name: "pgaudit.role", kind: kindString, context: ctxSuperuser, def: "", desc: "Names a role: what it has privileges on is watched for the use of these.", assign: assignAudit},
	{name: "plan_cache_mode", kind: kindEnum, def: "auto", enum: []string{"auto", "force_generic_plan", "force_custom_plan"}},
	{name: "port", kind: kindInt, context: ctxInternal, def: "5432"},
	{name: "quote_all_identifiers", kind: kindBool, def: "off"},
	{name: "random_page_cost", kind: kindReal, def: "4", min: 0, max: 1e308},
	{name: "role", kind: kindString, def: "none", check: checkRole, assign: assignRole},
	{name: "row_security", kind: kindBool, def: "on"},
	{name: "search_path", kind: kindString, def: "\"$user\", public", list: true, desc: "Sets the schema search order for names that are not schema-qualified.", check: checkSearchPath, assign: assignSearchPath},
	{name: "seed", kind: kindReal, def: "0", min: -1, max: 1},
	{name: "segment_size", kind: kindInt, context: ctxInternal, def: "131072", unit: "8kB"},
	{name: "seq_page_cost", kind: kindReal, def: "1", min: 0, max: 1e308},
	{name: "server_encoding", kind: kindString, context: ctxInternal, def: "UTF8", report: true},
	{name: "server_version", kind: kindString, context: ctxInternal, def: serverVersion + " (Meridian)", report: true},
	{name: "server_version_num", kind: kindInt, context: ctxInternal, def: serverVersionNum},
	{name: "session_authorization", kind: kindString, def: "", report: true, check: checkSessionAuthorization, assign: assignSessionAuthorization},
	{name: "session_preload_libraries", kind: kindString, context: ctxSuperuser, def: "", list: true},
	{name: "session_replication_role", kind: kindEnum, context: ctxSuperuser, def: "origin", enum: []string{"origin", "replica", "local"}},
	{name: "shared_buffers", kind: kindInt, context: ctxInternal, def: "16384", unit: "8kB"},
	{name: "shared_preload_libraries", kind: kindString, context: ctxInternal, def: "", list: true},
	{name: "ssl", kind: kindBool, context: ctxInternal, def: "off"},
	{name: "standard_conforming_strings", kind: kindBool, def: "on", report: true},
	{name: "statement_timeout", kind: kindInt, def: "0", unit: "ms", min: 0, max: maxInt32, desc: "Sets the maximum allowed duration of any statement.", assign: assignTimeouts},
	{name: "synchronize_seqscans", kind: kindBool, def: "on"},
	{name: "synchronous_commit", kind: kindEnum, def: "on", enum: []string{"on", "off", "local", "remote_write", "remote_apply"}},
	{name: "tcp_keepalives_count", kind: kindInt, def: "0", min: 0, max: maxInt32},
	{name: "tcp_keepalives_idle", kind: kindInt, def: "0", unit: "s", min: 0, max: maxInt32},
	{name: "tcp_keepalives_interval", kind: kindInt, def: "0", unit: "s", min: 0, max: maxInt32},
	{name: "temp_buffers", kind: kindInt, def: "1024", unit: "8kB", min: 100, max: 1073741823},
	{name: "temp_tablespaces", kind: kindString, def: "", list: true},
	{name: "TimeZone", kind: kindString, def: "UTC", report: true, desc: "Sets the time zone for displaying and interpreting time stamps.", check: checkTimeZone, assign: assignFormat},
	{name: "timezone_abbreviations", kind: kindString, def: "Default"},
	{name: "track_activities", kind: kindBool, context: ctxSuperuser, def: "on"},
	{name: "track_io_timing", kind: kindBool, context: ctxSuperuser, def: "off"},
	{name: "transaction_deferrable", kind: kindBool, def: "off", assign: assignTxnMode},
	{name: "transaction_isolation", kind: kindEnum, def: "serializable", enum: isolationNames, assign: assignTxnMode},
	{name: "transaction_read_only", kind: kindBool, def: "off", assign: assignTxnMode},
	{name: "transform_null_equals", kind: kindBool, def: "off"},
	{name: "vacuum_cost_delay", kind: kindReal, def: "0", unit: "ms", min: 0, max: 100},
	{name: "wal_level", kind: kindEnum, context: ctxInternal, def: "logical", enum: []string{"minimal", "replica", "logical"}},
	{name: "wal_segment_size", kind: kindString, context: ctxInternal, def: "16MB"},
	{name: "work_mem", kind: kindInt, def: "4096", unit: "kB", min: 64, max: maxInt32, desc: "Sets the maximum memory to be used for query workspaces."},
	{name: "xmlbinary", kind: kindEnum, def: "base64", enum: []string{"base64", "hex"}},
	{name: "xmloption", kind: kindEnum, def: "content", enum: []string{"content", "document"}},
	{name: "zero_damaged_pages", kind: kindBool, context: ctxSuperuser, def: "off"},
}
