// Package tpch has the eight tables of TPC-H, data for them and the benchmark's 22 queries.
//
// The data is our own: deterministic for a scale factor, with the row counts, key relations and value
// distributions that the specification (TPC-H 3.0.1, clause 4.2.3) prescribes where the queries depend on
// them. It is not byte for byte what dbgen makes; answers are compared between databases that hold the same
// data, not with published ones.
package tpch

// Table is one of the eight tables.
type Table struct {
	Name string
	DDL  string
	// Indexes are the indexes on foreign keys that the benchmark allows; both databases get them.
	Indexes []string
	rows    func(g *generator, emit func([]byte) error) error
}

// Tables returns the tables in an order in which references point back.
func Tables() []Table {
	return []Table{
		{Name: "region", rows: (*generator).regions, DDL: `CREATE TABLE region (
	r_regionkey integer PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152))`},
		{Name: "nation", rows: (*generator).nations, DDL: `CREATE TABLE nation (
	n_nationkey integer PRIMARY KEY, n_name char(25) NOT NULL, n_regionkey integer NOT NULL, n_comment varchar(152))`},
		{Name: "supplier", rows: (*generator).suppliers, DDL: `CREATE TABLE supplier (
	s_suppkey integer PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, s_nationkey integer NOT NULL,
	s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, s_comment varchar(101) NOT NULL)`,
			Indexes: []string{"CREATE INDEX supplier_nation ON supplier (s_nationkey)"}},
		{Name: "part", rows: (*generator).parts, DDL: `CREATE TABLE part (
	p_partkey integer PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL,
	p_type varchar(25) NOT NULL, p_size integer NOT NULL, p_container char(10) NOT NULL,
	p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL)`},
		{Name: "partsupp", rows: (*generator).partsupps, DDL: `CREATE TABLE partsupp (
	ps_partkey integer NOT NULL, ps_suppkey integer NOT NULL, ps_availqty integer NOT NULL,
	ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey))`,
			Indexes: []string{"CREATE INDEX partsupp_supplier ON partsupp (ps_suppkey)"}},
		{Name: "customer", rows: (*generator).customers, DDL: `CREATE TABLE customer (
	c_custkey integer PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, c_nationkey integer NOT NULL,
	c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL)`,
			Indexes: []string{"CREATE INDEX customer_nation ON customer (c_nationkey)"}},
		{Name: "orders", rows: (*generator).orders, DDL: `CREATE TABLE orders (
	o_orderkey bigint PRIMARY KEY, o_custkey integer NOT NULL, o_orderstatus char(1) NOT NULL, o_totalprice numeric(15,2) NOT NULL,
	o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL,
	o_comment varchar(79) NOT NULL)`,
			Indexes: []string{"CREATE INDEX orders_customer ON orders (o_custkey)"}},
		{Name: "lineitem", rows: (*generator).lineitems, DDL: `CREATE TABLE lineitem (
	l_orderkey bigint NOT NULL, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer NOT NULL,
	l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
	l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL,
	l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL,
	l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber))`,
			Indexes: []string{"CREATE INDEX lineitem_part ON lineitem (l_partkey, l_suppkey)"}},
	}
}
