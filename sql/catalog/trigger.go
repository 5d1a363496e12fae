package catalog

// Trigger is a trigger of the table that holds it.
type Trigger struct {
	OID      uint32  `json:"o"`
	Name     string  `json:"n"`
	Function uint32  `json:"f"`
	Timing   byte    `json:"w"` // 'B' before, 'A' after, 'I' instead of
	Row      bool    `json:"row,omitempty"`
	Events   uint8   `json:"ev"`            // Trigger* bits
	Columns  []int16 `json:"col,omitempty"` // UPDATE OF
	When     string  `json:"if,omitempty"`  // SQL text over old and new
	// Args are handed to the function.
	Args     []string `json:"args,omitempty"`
	Disabled bool     `json:"off,omitempty"`
	// Fires is 'A' for ENABLE ALWAYS and 'R' for ENABLE REPLICA.
	Fires      byte   `json:"fi,omitempty"`
	Constraint uint32 `json:"con,omitempty"` // of a constraint trigger: the constraint's oid
	Deferrable bool   `json:"def,omitempty"`
	Deferred   bool   `json:"idef,omitempty"` // initially
	RefTable   uint32 `json:"ref,omitempty"`  // FROM of a constraint trigger
	OldTable   string `json:"ot,omitempty"`
	NewTable   string `json:"nt,omitempty"`
	Comment    string `json:"c,omitempty"`
	// PartOf is the trigger of the partitioned table that this one was made for.
	PartOf uint32 `json:"po,omitempty"`
}

// Bits of Trigger.Events, as in ast.CreateTriggerStmt.
const (
	TriggerInsert uint8 = 1 << iota
	TriggerDelete
	TriggerUpdate
	TriggerTruncate
)
