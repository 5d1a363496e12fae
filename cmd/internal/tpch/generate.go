package tpch

import (
	"fmt"
	"strconv"
	"time"
)

// Rows calls emit with each row of a table as a line of COPY's text format, newline included. The line is
// valid until emit returns.
func (t *Table) Rows(scale float64, emit func(line []byte) error) error {
	return t.rows(newGenerator(scale), emit)
}

// generator makes rows. Every row has a random sequence of its own, seeded by table and key, so that tables
// can be made independently: a line item knows its part's price without the part having been made.
type generator struct {
	suppliersN, partsN, customersN, ordersN int
	line                                    []byte
}

func newGenerator(scale float64) *generator {
	n := func(base float64) int { return max(10, int(base*scale+0.5)) }
	return &generator{suppliersN: n(10_000), partsN: n(200_000), customersN: n(150_000), ordersN: n(1_500_000)}
}

// random is splitmix64.
type random uint64

// seed mixes, so that the sequences of neighbouring keys do not overlap.
func seed(table, key int) random {
	r := random(uint64(table)<<56 ^ uint64(key))
	return random(r.next())
}

func (r *random) next() uint64 {
	*r += 0x9E3779B97F4A7C15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// between returns a number from lo to hi, both included.
func (r *random) between(lo, hi int) int { return lo + int(r.next()%uint64(hi-lo+1)) }

func (r *random) of(words []string) string { return words[r.next()%uint64(len(words))] }

const (
	seedSupplier = iota + 1
	seedPart
	seedPartSupp
	seedCustomer
	seedOrder
	seedPlace
)

var (
	regionNames = []string{"AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"}
	nationNames = []string{"ALGERIA", "ARGENTINA", "BRAZIL", "CANADA", "EGYPT", "ETHIOPIA", "FRANCE", "GERMANY", "INDIA", "INDONESIA",
		"IRAN", "IRAQ", "JAPAN", "JORDAN", "KENYA", "MOROCCO", "MOZAMBIQUE", "PERU", "CHINA", "ROMANIA", "SAUDI ARABIA", "VIETNAM",
		"RUSSIA", "UNITED KINGDOM", "UNITED STATES"}
	nationRegion = []int{0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1}
	segments     = []string{"AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"}
	priorities   = []string{"1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"}
	instructions = []string{"DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"}
	modes        = []string{"REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"}
	typeFirst    = []string{"STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"}
	typeSecond   = []string{"ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"}
	typeThird    = []string{"TIN", "NICKEL", "BRASS", "STEEL", "COPPER"}
	boxFirst     = []string{"SM", "LG", "MED", "JUMBO", "WRAP"}
	boxSecond    = []string{"CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"}
	colours      = []string{"almond", "antique", "aquamarine", "azure", "beige", "bisque", "black", "blanched", "blue", "blush", "brown",
		"burlywood", "burnished", "chartreuse", "chiffon", "chocolate", "coral", "cornflower", "cornsilk", "cream", "cyan", "dark",
		"deep", "dim", "dodger", "drab", "firebrick", "floral", "forest", "frosted", "gainsboro", "ghost", "goldenrod", "green",
		"grey", "honeydew", "hot", "indian", "ivory", "khaki", "lace", "lavender", "lawn", "lemon", "light", "lime", "linen",
		"magenta", "maroon", "medium", "metallic", "midnight", "mint", "misty", "moccasin", "navajo", "navy", "olive", "orange",
		"orchid", "pale", "papaya", "peach", "peru", "pink", "plum", "powder", "puff", "purple", "red", "rose", "rosy", "royal",
		"saddle", "salmon", "sandy", "seashell", "sienna", "sky", "slate", "smoke", "snow", "spring", "steel", "tan", "thistle",
		"tomato", "turquoise", "violet", "wheat", "white", "yellow"}
	words = []string{"furiously", "quickly", "carefully", "blithely", "slyly", "express", "regular", "special", "pending", "final",
		"ironic", "even", "bold", "silent", "unusual", "deposits", "requests", "packages", "accounts", "foxes", "ideas", "theodolites",
		"pinto", "beans", "instructions", "dependencies", "excuses", "platelets", "asymptotes", "courts", "dolphins", "sleep", "wake",
		"haggle", "nag", "cajole", "boost", "detect", "among", "across", "above", "against", "the", "along", "after"}
)

// Days since 2000-01-01 of the dates that the specification names.
var (
	firstOrder  = day(1992, 1, 1)
	lastOrder   = day(1998, 12, 31) - 151
	currentDate = day(1995, 6, 17)
)

func day(y, m, d int) int {
	return int(time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC).Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Hours() / 24)
}

func (g *generator) start()       { g.line = g.line[:0] }
func (g *generator) sep()         { g.line = append(g.line, '\t') }
func (g *generator) str(s string) { g.line = append(g.line, s...); g.sep() }
func (g *generator) int(n int)    { g.line = strconv.AppendInt(g.line, int64(n), 10); g.sep() }
func (g *generator) format(f string, a ...any) {
	g.line = fmt.Appendf(g.line, f, a...)
	g.sep()
}

// money writes hundredths.
func (g *generator) money(cents int) {
	if cents < 0 {
		g.line = append(g.line, '-')
		cents = -cents
	}
	g.line = strconv.AppendInt(g.line, int64(cents/100), 10)
	g.line = append(g.line, '.', byte('0'+cents/10%10), byte('0'+cents%10))
	g.sep()
}

func (g *generator) date(days int) {
	g.line = time.Date(2000, 1, 1+days, 0, 0, 0, 0, time.UTC).AppendFormat(g.line, time.DateOnly)
	g.sep()
}

func (g *generator) text(r *random, lo, hi int) {
	g.appendText(r, lo, hi)
	g.sep()
}

// appendText appends lo to hi bytes of words.
func (g *generator) appendText(r *random, lo, hi int) {
	begin, n := len(g.line), r.between(lo, hi)
	for len(g.line)-begin < n {
		g.line = append(append(g.line, r.of(words)...), ' ')
	}
	g.line = g.line[:begin+n]
	if g.line[len(g.line)-1] == ' ' {
		g.line[len(g.line)-1] = '.'
	}
}

func (g *generator) address(r *random) {
	const letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ,0123456789"
	for range r.between(10, 40) {
		g.line = append(g.line, letters[r.next()%uint64(len(letters))])
	}
	g.sep()
}

func (g *generator) phone(r *random, nation int) {
	g.format("%d-%03d-%03d-%04d", nation+10, r.between(100, 999), r.between(100, 999), r.between(1000, 9999))
}

// end ends the line in the place of the last separator.
func (g *generator) end(emit func([]byte) error) error {
	g.line[len(g.line)-1] = '\n'
	return emit(g.line)
}

func (g *generator) regions(emit func([]byte) error) error {
	for i, name := range regionNames {
		r := seed(seedPlace, i)
		g.start()
		g.int(i)
		g.str(name)
		g.text(&r, 31, 115)
		if err := g.end(emit); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) nations(emit func([]byte) error) error {
	for i, name := range nationNames {
		r := seed(seedPlace, 100+i)
		g.start()
		g.int(i)
		g.str(name)
		g.int(nationRegion[i])
		g.text(&r, 31, 114)
		if err := g.end(emit); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) suppliers(emit func([]byte) error) error {
	for k := 1; k <= g.suppliersN; k++ {
		r := seed(seedSupplier, k)
		nation := r.between(0, 24)
		g.start()
		g.int(k)
		g.format("Supplier#%09d", k)
		g.address(&r)
		g.int(nation)
		g.phone(&r, nation)
		g.money(r.between(-99999, 999999))
		g.appendText(&r, 25, 50)
		switch r.between(1, 100) {
		case 1:
			g.line = append(g.line, " Customer slow Complaints"...)
		case 2:
			g.line = append(g.line, " Customer glad Recommends"...)
		}
		g.sep()
		if err := g.end(emit); err != nil {
			return err
		}
	}
	return nil
}

func retailPrice(part int) int { return 90000 + part/10%20001 + 100*(part%1000) }

func (g *generator) parts(emit func([]byte) error) error {
	for k := 1; k <= g.partsN; k++ {
		r := seed(seedPart, k)
		g.start()
		g.int(k)
		for i := range 5 {
			if i > 0 {
				g.line = append(g.line, ' ')
			}
			g.line = append(g.line, r.of(colours)...)
		}
		g.sep()
		m := r.between(1, 5)
		g.format("Manufacturer#%d", m)
		g.format("Brand#%d%d", m, r.between(1, 5))
		g.str(r.of(typeFirst) + " " + r.of(typeSecond) + " " + r.of(typeThird))
		g.int(r.between(1, 50))
		g.str(r.of(boxFirst) + " " + r.of(boxSecond))
		g.money(retailPrice(k))
		g.text(&r, 5, 22)
		if err := g.end(emit); err != nil {
			return err
		}
	}
	return nil
}

// supplierOf returns the i-th of a part's four suppliers.
func (g *generator) supplierOf(part, i int) int {
	n := g.suppliersN
	return (part+i*(n/4+(part-1)/n))%n + 1
}

func (g *generator) partsupps(emit func([]byte) error) error {
	for k := 1; k <= g.partsN; k++ {
		r := seed(seedPartSupp, k)
		for i := range 4 {
			g.start()
			g.int(k)
			g.int(g.supplierOf(k, i))
			g.int(r.between(1, 9999))
			g.money(r.between(100, 100000))
			g.text(&r, 49, 198)
			if err := g.end(emit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *generator) customers(emit func([]byte) error) error {
	for k := 1; k <= g.customersN; k++ {
		r := seed(seedCustomer, k)
		nation := r.between(0, 24)
		g.start()
		g.int(k)
		g.format("Customer#%09d", k)
		g.address(&r)
		g.int(nation)
		g.phone(&r, nation)
		g.money(r.between(-99999, 999999))
		g.str(r.of(segments))
		g.text(&r, 29, 116)
		if err := g.end(emit); err != nil {
			return err
		}
	}
	return nil
}

// order is an order with its line items, as far as both tables need it.
type order struct {
	key, customer, date, total int
	open, closed               bool // some line item is open, is not
	lines                      []lineItem
	rest                       random // for the columns that depend on nothing
}

type lineItem struct {
	part, supplier, quantity, price, discount, tax, ship, commit, receipt int
	returned                                                              byte
}

// order makes order number i, counted from 0. Its key uses the first 8 of each 32 numbers. A third of the
// customers has no orders.
func (g *generator) order(i int, o *order) {
	r := seed(seedOrder, i)
	*o = order{key: i/8*32 + i%8 + 1, lines: o.lines[:0]}
	for o.customer = r.between(1, g.customersN); o.customer%3 == 0; {
		o.customer = r.between(1, g.customersN)
	}
	o.date = r.between(firstOrder, lastOrder)
	for range r.between(1, 7) {
		l := lineItem{part: r.between(1, g.partsN), quantity: r.between(1, 50), discount: r.between(0, 10), tax: r.between(0, 8)}
		l.supplier = g.supplierOf(l.part, r.between(0, 3))
		l.price = l.quantity * retailPrice(l.part)
		l.ship = o.date + r.between(1, 121)
		l.commit = o.date + r.between(30, 90)
		l.receipt = l.ship + r.between(1, 30)
		l.returned = 'N'
		if l.receipt <= currentDate {
			l.returned = "RA"[r.between(0, 1)]
		}
		if l.ship > currentDate {
			o.open = true
		} else {
			o.closed = true
		}
		o.total += (l.price*(100+l.tax)*(100-l.discount) + 5000) / 10000
		o.lines = append(o.lines, l)
	}
	o.rest = r
}

func (g *generator) orders(emit func([]byte) error) error {
	var o order
	for i := range g.ordersN {
		g.order(i, &o)
		r := o.rest
		status := "P"
		if !o.closed {
			status = "O"
		} else if !o.open {
			status = "F"
		}
		g.start()
		g.int(o.key)
		g.int(o.customer)
		g.str(status)
		g.money(o.total)
		g.date(o.date)
		g.str(r.of(priorities))
		g.format("Clerk#%09d", r.between(1, max(1, g.suppliersN/10)))
		g.int(0)
		g.appendText(&r, 19, 50)
		if r.between(1, 50) == 1 {
			g.line = append(g.line, " special deposits requests"...)
		}
		g.sep()
		if err := g.end(emit); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) lineitems(emit func([]byte) error) error {
	var o order
	for i := range g.ordersN {
		g.order(i, &o)
		r := o.rest
		r.next()
		for n, l := range o.lines {
			g.start()
			g.int(o.key)
			g.int(l.part)
			g.int(l.supplier)
			g.int(n + 1)
			g.money(l.quantity * 100)
			g.money(l.price)
			g.money(l.discount)
			g.money(l.tax)
			g.str(string(rune(l.returned)))
			if l.ship > currentDate {
				g.str("O")
			} else {
				g.str("F")
			}
			g.date(l.ship)
			g.date(l.commit)
			g.date(l.receipt)
			g.str(r.of(instructions))
			g.str(r.of(modes))
			g.text(&r, 10, 43)
			if err := g.end(emit); err != nil {
				return err
			}
		}
	}
	return nil
}
