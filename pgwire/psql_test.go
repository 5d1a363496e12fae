package pgwire

import (
	"net"
	"os"
	"os/exec"
	"testing"
)

// psqlRun runs psql against addr and returns what it printed.
func psqlRun(t *testing.T, addr string, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed")
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(bin, append([]string{"-X", "-h", host, "-p", port, "-U", "postgres", "-d", "postgres", "-At"}, args...)...)
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=5", "PGPASSWORD=secret", "PGSSLMODE=prefer")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("psql: %v", err)
	}
	return string(out)
}

func TestPsqlUtility(t *testing.T) {
	_, addr := startServer(t, Config{Auth: AuthTrust})
	got := psqlRun(t, addr, "-c", "SHOW server_version", "-c", "BEGIN", "-c", "SET LOCAL DateStyle = 'German'", "-c", "SHOW DateStyle", "-c", "ROLLBACK", "-c", "SHOW datestyle", "-c", "COMMIT", "-c", "nonsense")
	want := "15.0 (Meridian)\nBEGIN\nSET\nGerman, DMY\nROLLBACK\nISO, MDY\nWARNING:  there is no transaction in progress\nCOMMIT\nERROR:  syntax error at or near \"nonsense\"\nLINE 1: nonsense\n        ^\n"
	if got != want {
		t.Errorf("psql printed\n%s\nwant\n%s", got, want)
	}
}
