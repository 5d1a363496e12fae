package types

import "time"

// DateOrder is the field order half of DateStyle.
type DateOrder uint8

const (
	OrderMDY DateOrder = iota
	OrderDMY
	OrderYMD
)

// DateFormat is the output half of DateStyle.
type DateFormat uint8

const (
	DateISO DateFormat = iota
	DateSQL
	DatePostgres
	DateGerman
)

// IntervalStyle is the setting of that name.
type IntervalStyle uint8

const (
	IntervalPostgres IntervalStyle = iota
	IntervalPostgresVerbose
	IntervalSQLStandard
	IntervalISO8601
)

// ByteaFormat is the setting bytea_output.
type ByteaFormat uint8

const (
	ByteaHex ByteaFormat = iota
	ByteaEscape
)

// Settings are the session settings that the text form of values depends on. A Settings is read by any
// number of goroutines and changed by none: a session that changes a setting makes a new one.
type Settings struct {
	DateFormat       DateFormat
	DateOrder        DateOrder
	IntervalStyle    IntervalStyle
	TimeZone         *time.Location // nil means UTC
	TimeZoneName     string         // as SHOW TimeZone prints it
	ExtraFloatDigits int
	ByteaOutput      ByteaFormat
	// TxnTimestamp is now() for the input strings 'now', 'today' and so on, in microseconds since 2000.
	TxnTimestamp int64
	// Reg resolves the names of regclass and its relatives; nil prints and reads numbers only.
	Reg RegResolver
	// Resolve finds types that are not built in, for casts by name and for array and row I/O; may be nil.
	Resolve func(OID) *T
}

// RegResolver connects the OID alias types to a catalog. typ is OIDRegclass, OIDRegtype and so on.
type RegResolver interface {
	// RegName returns the name to print for an object, false if there is none (its number is printed).
	RegName(typ OID, oid uint32) (string, bool)
	// RegLookup finds an object by the text a user wrote, or returns an *pgerr.Error.
	RegLookup(typ OID, name string) (uint32, error)
}

// DefaultSettings are PostgreSQL's defaults in UTC.
var DefaultSettings = &Settings{TimeZone: time.UTC, TimeZoneName: "UTC", ExtraFloatDigits: 1}

func (s *Settings) location() *time.Location {
	if s == nil || s.TimeZone == nil {
		return time.UTC
	}
	return s.TimeZone
}

func (s *Settings) orDefault() *Settings {
	if s == nil {
		return DefaultSettings
	}
	return s
}
