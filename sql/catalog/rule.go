package catalog

// Rule is a rule of a table or view: what statements do in the place of a command, or besides. The rule behind a view's
// query is not among them.
type Rule struct {
	OID      uint32   `json:"o"`
	Name     string   `json:"n"`
	Event    string   `json:"e"` // "INSERT", "UPDATE" or "DELETE"
	Instead  bool     `json:"i,omitempty"`
	Where    string   `json:"w,omitempty"`
	Actions  []string `json:"a,omitempty"` // none: NOTHING
	Path     []string `json:"path,omitempty"`
	Disabled bool     `json:"d,omitempty"`
	Comment  string   `json:"c,omitempty"`
}

// Rule finds a rule by name, nil if there is none.
func (t *Table) Rule(name string) *Rule {
	for _, r := range t.Rules {
		if r.Name == name {
			return r
		}
	}
	return nil
}
