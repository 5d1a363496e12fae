package catalog

// The predefined roles of PostgreSQL 15, which every cluster has. They are not stored, cannot log in and cannot be changed;
// others can be made members of them.
const (
	monitorRoleID         = 3373
	readAllSettingsRoleID = 3374
	ReadAllStatsRoleID    = 3375 // pg_read_all_stats: sees what the sessions of others do
	scanTablesRoleID      = 3377
	SignalBackendRoleID   = 4200 // pg_signal_backend: ends sessions of others, unless they are superusers'
	readAllDataRoleID     = 6181
	writeAllDataRoleID    = 6182
)

var predefinedRoles = []*Role{
	predefined(monitorRoleID, "pg_monitor", readAllSettingsRoleID, ReadAllStatsRoleID, scanTablesRoleID),
	predefined(readAllSettingsRoleID, "pg_read_all_settings"),
	predefined(ReadAllStatsRoleID, "pg_read_all_stats"),
	predefined(scanTablesRoleID, "pg_stat_scan_tables"),
	predefined(SignalBackendRoleID, "pg_signal_backend"),
	predefined(4544, "pg_checkpoint"),
	predefined(4569, "pg_read_server_files"),
	predefined(4570, "pg_write_server_files"),
	predefined(4571, "pg_execute_server_program"),
	predefined(DatabaseOwnerRoleID, "pg_database_owner"),
	predefined(readAllDataRoleID, "pg_read_all_data"),
	predefined(writeAllDataRoleID, "pg_write_all_data"),
}

func predefined(id uint32, name string, in ...uint32) *Role {
	r := &Role{Header: Header{ID: id, Name: name}, Inherit: true, ConnLimit: -1}
	for _, g := range in {
		r.MemberOf = append(r.MemberOf, Membership{Role: g, Grantor: BootstrapRoleID})
	}
	return r
}

// Predefined reports whether a role is one of those that every cluster has besides the first superuser.
func (r *Role) Predefined() bool { return r.ID < FirstUserID && r.ID != BootstrapRoleID }

func predefinedRole(is func(r *Role) bool) *Role {
	for _, r := range predefinedRoles {
		if is(r) {
			return r
		}
	}
	return nil
}

// MayAnyData reports whether a role may do something with every relation.
func (s *state) MayAnyData(role uint32, priv byte) bool {
	switch priv {
	case 'r':
		return s.HasPrivsOf(role, readAllDataRoleID)
	case 'a', 'w', 'd':
		return s.HasPrivsOf(role, writeAllDataRoleID)
	}
	return false
}

// Monitors reports whether a role may see what the sessions of others do: a member of pg_read_all_stats, or one with the
// setting meridian.monitor.
func (s *state) Monitors(r *Role) bool { return r.monitors() || s.HasPrivsOf(r.ID, ReadAllStatsRoleID) }
