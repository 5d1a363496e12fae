package catalog

import "slices"

// EventTrigger is an event trigger of a database.
type EventTrigger struct {
	Header
	DB       uint32   `json:"db"`
	Event    string   `json:"e"`
	Function uint32   `json:"f"`
	Tags     []string `json:"t,omitempty"` // nil: all
	Enabled  byte     `json:"en"`          // pg_event_trigger's: 'O', 'D', 'R', 'A'
}

// kindEventTrigger is the storage tag of event triggers.
const kindEventTrigger descKind = 'v'

// spaceEventTrigger has the event triggers of a database.
const spaceEventTrigger nameSpace = 'v'

func (*EventTrigger) kind() descKind { return kindEventTrigger }

// Clone returns a copy that may be changed and given to Txn.Put.
func (e *EventTrigger) Clone() *EventTrigger {
	c := *e
	c.Tags = slices.Clone(e.Tags)
	return &c
}

// EventTriggerByName returns an event trigger of the snapshot's database, nil if there is none.
func (s *Snapshot) EventTriggerByName(name string) *EventTrigger {
	if s.db == nil {
		return nil
	}
	e, _ := s.byID[s.names[nameKey{spaceEventTrigger, s.db.ID, name}]].(*EventTrigger)
	return e
}

// EventTriggers lists the event triggers of the snapshot's database by id.
func (s *Snapshot) EventTriggers() []*EventTrigger {
	if s.eventTriggers == 0 {
		return nil
	}
	return sortedByID(s.byID, func(e *EventTrigger) bool { return s.db != nil && e.DB == s.db.ID })
}
