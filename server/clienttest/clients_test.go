package clienttest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/server"
)

// client is one program and what it needs.
type client struct {
	name string
	// probes are the commands of which one must succeed; {} in run stands for it. Debian's libraries belong to
	// Debian's interpreter, which need not be the first in PATH.
	probes [][]string
	run    func(t *testing.T, probe []string) *exec.Cmd
}

// script runs a program by the interpreter that the probe found.
func script(file string) func(*testing.T, []string) *exec.Cmd {
	return func(_ *testing.T, probe []string) *exec.Cmd {
		return exec.Command(probe[0], filepath.Join("programs", file))
	}
}

func python(module, file string) client {
	probe := []string{"-c", "import " + module}
	return client{strings.TrimSuffix(file, "_client.py"), [][]string{
		append([]string{"/usr/bin/python3"}, probe...), append([]string{"python3"}, probe...)}, script(file)}
}

func ruby(library, file string) client {
	probe := []string{"-e", fmt.Sprintf("require %q", library)}
	return client{library, [][]string{append([]string{"/usr/bin/ruby"}, probe...), append([]string{"ruby"}, probe...)}, script(file)}
}

func php(function, file string) client {
	probe := []string{"-r", fmt.Sprintf("exit(%s ? 0 : 1);", function)}
	return client{strings.TrimSuffix(file, "_client.php"), [][]string{append([]string{"php"}, probe...)}, script(file)}
}

const jdbcJar = "/usr/share/java/postgresql.jar"

var clients = []client{
	python("psycopg2", "psycopg2_client.py"),
	python("psycopg2.extras", "psycopg2_replication_client.py"),
	python("psycopg", "psycopg3_client.py"),
	python("asyncpg", "asyncpg_client.py"),
	python("psycopg2, sqlalchemy", "sqlalchemy_client.py"),
	python("psycopg2, django", "django_client.py"),
	ruby("pg", "pg_client.rb"),
	ruby("active_record", "activerecord_client.rb"),
	ruby("sequel", "sequel_client.rb"),
	{"dbd-pg", [][]string{{"perl", "-MDBD::Pg", "-e", "1"}}, script("dbi_client.pl")},
	php("function_exists('pg_connect')", "pgsql_client.php"),
	php("class_exists('PDO') && in_array('pgsql', PDO::getAvailableDrivers())", "pdo_client.php"),
	{"jdbc", [][]string{{"sh", "-c", "javac -version && java -version && test -r " + jdbcJar}}, func(t *testing.T, _ []string) *exec.Cmd {
		dir := t.TempDir()
		out, err := exec.Command("javac", "-cp", jdbcJar, "-d", dir, "programs/JdbcClient.java").CombinedOutput()
		if err != nil {
			t.Fatalf("javac: %v\n%s", err, out)
		}
		return exec.Command("java", "-XX:TieredStopAtLevel=1", "-cp", dir+":"+jdbcJar, "JdbcClient")
	}},
}

// demo is the cluster that all tests share. It is made by the first that finds its client.
var demo struct {
	once sync.Once
	*server.Demo
	dir string
	err error
}

func cluster(t *testing.T) *server.Demo {
	t.Helper()
	demo.once.Do(func() {
		if demo.dir, demo.err = os.MkdirTemp("", "clienttest"); demo.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		demo.Demo, demo.err = server.StartDemo(ctx, server.DemoConfig{SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: demo.dir})
	})
	if demo.err != nil {
		t.Fatal(demo.err)
	}
	return demo.Demo
}

func TestMain(m *testing.M) {
	code := m.Run()
	if demo.Demo != nil {
		demo.Stop()
	}
	if demo.dir != "" {
		os.RemoveAll(demo.dir)
	}
	os.Exit(code)
}

// database makes a database of the test's own and returns the environment of its clients.
func database(t *testing.T, name string) []string {
	t.Helper()
	addr := cluster(t).Servers[0].SQLAddr()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+addr+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	return clientEnv(t, addr, name)
}

// clientEnv is the environment in which clients find a server and a database.
func clientEnv(t *testing.T, addr, database string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PGHOST=" + host, "PGPORT=" + port, "PGUSER=postgres", "PGDATABASE=" + database, "PGSSLMODE=disable"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") {
			env = append(env, kv)
		}
	}
	return env
}

// TestClients runs every program whose client is installed.
func TestClients(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			var found []string
			for _, probe := range c.probes {
				if exec.Command(probe[0], probe[1:]...).Run() == nil {
					found = probe
					break
				}
			}
			if found == nil {
				t.Skipf("%s is not installed", c.name)
			}
			if testing.Short() {
				t.Skip("runs other programs; left out with -short")
			}
			cmd := c.run(t, found)
			runClient(t, cmd, database(t, c.name))
		})
	}
}

// runClient runs a program to its end, which must be "ok".
func runClient(t *testing.T, cmd *exec.Cmd, env []string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err != nil || lines[len(lines)-1] != "ok" {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestGoClients builds the programs of goclients, which is a module of its own so that this one does not
// require what they do, and runs each. It is left out where the modules have not been downloaded.
func TestGoClients(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs other programs; left out with -short")
	}
	offline := append(os.Environ(), "GOPROXY=off", "CGO_ENABLED=0")
	list := exec.Command("go", "list", "-deps", "./...")
	list.Dir, list.Env = "goclients", offline
	if out, err := list.CombinedOutput(); err != nil {
		t.Skipf("the modules are not here (go -C server/clienttest/goclients mod download): %s", out)
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "./...")
	build.Dir, build.Env = "goclients", offline
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, name := range []string{"pgx", "libpq", "gorm", "bun", "migrate", "goose"} {
		t.Run(name, func(t *testing.T) { runClient(t, exec.Command(filepath.Join(bin, name)), database(t, "go_"+name)) })
	}
}
