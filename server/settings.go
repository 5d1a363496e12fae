package server

import (
	"strconv"
	"strings"
)

// settings are how this node was started, by flag, for people to look at: secrets are only said to be there. What is not
// given and not decided is left out.
func (s *Server) settings() map[string]string {
	c := &s.cfg
	given := func(v string) string {
		if v == "" {
			return ""
		}
		return "given"
	}
	out := map[string]string{
		"store": c.Store, "sql-addr": s.SQLAddr(), "rpc-addr": s.RPCAddr(), "advertise-rpc-addr": c.AdvertiseRPCAddr, "http-addr": s.HTTPAddr(),
		"region": c.Region, "zone": c.Zone, "time-source": strings.Join(c.TimeSources, ", "), "join": strings.Join(c.Join, ", "),
		"certs": c.Certs, "hba": c.HBA, "audit-log": c.AuditLog, "store-key": given(c.StoreKey), "old-store-key": given(c.OldStoreKey),
		"postgres-password": given(c.PostgresPassword), "insecure": flagText(c.Insecure), "insecure-listen-anywhere": flagText(c.InsecureListenAnywhere),
		"simulated-latency": c.SimulatedLatency, "max-clock-uncertainty": c.MaxClockUncertainty.String(), "clock-poll-interval": c.ClockPollInterval.String(),
		"cache-bytes": strconv.FormatInt(c.CacheBytes, 10), "range-max-bytes": strconv.FormatInt(c.RangeMaxBytes, 10),
		"replace-after": c.ReplaceAfter.String(), "drain-timeout": c.DrainTimeout.String(),
	}
	for k, v := range out {
		if v == "" {
			delete(out, k)
		}
	}
	return out
}

func flagText(on bool) string {
	if on {
		return "on"
	}
	return ""
}
