package builtin

import (
	"time"

	"github.com/meridian-db/meridian/sql/types"
)

const (
	microsPerDay  = 86400 * 1000000
	microsPerHour = 3600 * 1000000
)

// location is the session's time zone.
func (c *Ctx) location() *time.Location {
	if c == nil || c.Settings == nil || c.Settings.TimeZone == nil {
		return time.UTC
	}
	return c.Settings.TimeZone
}

// clock returns the wall clock in microseconds since 2000.
func (c *Ctx) clock() int64 {
	if c.Clock == nil {
		return c.StmtTime
	}
	return MicrosOf(c.Clock())
}

// MicrosOf converts a time to microseconds since 2000-01-01 UTC.
func MicrosOf(t time.Time) int64 { return t.UnixMicro() - 946684800*1e6 }

func (c *Ctx) settings() *types.Settings {
	if c == nil || c.Settings == nil {
		return types.DefaultSettings
	}
	return c.Settings
}
