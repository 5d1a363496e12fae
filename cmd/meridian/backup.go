package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/sql/backup"
)

// runBackup is meridian backup: it has a node take a backup, or looks at one (meridian backup show).
func runBackup(ctx context.Context, args []string, e env) error {
	if len(args) > 0 && args[0] == "show" {
		return runBackupShow(ctx, args[1:], e)
	}
	fs := newFlags("backup", "--to DEST [flags]\n       meridian backup show DEST [--no-verify]", e)
	url := fs.String("url", defaultSQLURL, "connection URL of a superuser; its node takes the backup")
	to := fs.String("to", "", "destination: file:///path on that node, or s3://bucket/prefix")
	from := fs.String("incremental-from", "", "location of the backup to go on from")
	database := fs.String("database", "", "back up this database only")
	table := fs.String("table", "", "back up this table only, as schema.table in --database")
	asOf := fs.String("as-of", "", "timestamp of the backup within the retention time; default now")
	history := fs.Bool("revision-history", false, "keep every version since the earlier backup, for restores to any point in time")
	hold := fs.Duration("hold", 0, "keep versions after this backup as long as that for an incremental one")
	if err := fs.parse(args); err != nil {
		return orHelp(fs, err)
	}
	if *to == "" {
		return &usageError{"backup: --to is required; `meridian backup --help` lists the flags"}
	}
	o := options{"incremental_from": *from, "database": *database, "table": *table, "as_of": *asOf}
	if *history {
		o["revision_history"] = true
	}
	if *hold != 0 {
		o["hold"] = hold.String()
	}
	return runClusterJob(ctx, e, *url, "backup", *to, o)
}

// runRestore is meridian restore.
func runRestore(ctx context.Context, args []string, e env) error {
	fs := newFlags("restore", "--from LOCATION [flags]", e)
	url := fs.String("url", defaultSQLURL, "connection URL of a superuser; its node restores")
	from := fs.String("from", "", "location of a backup; an incremental one brings those before it")
	database := fs.String("database", "", "restore this database only")
	table := fs.String("table", "", "restore this table only, as schema.table in --database")
	into := fs.String("into", "", "restore into a database of this name")
	asOf := fs.String("as-of", "", "timestamp to restore, within a backup with revision history")
	if err := fs.parse(args); err != nil {
		return orHelp(fs, err)
	}
	if *from == "" {
		return &usageError{"restore: --from is required; `meridian restore --help` lists the flags"}
	}
	return runClusterJob(ctx, e, *url, "restore", *from, options{"database": *database, "table": *table, "into": *into, "as_of": *asOf})
}

// runBackupShow looks at a backup without a cluster: what it holds, and whether every file is as it was written.
func runBackupShow(ctx context.Context, args []string, e env) error {
	fs := newFlags("backup show", "DEST [--no-verify]", e)
	quick := fs.Bool("no-verify", false, "read the manifests only")
	location := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		location, args = args[0], args[1:]
	}
	if err := fs.parse(args); err != nil {
		return orHelp(fs, err)
	}
	if location == "" {
		return &usageError{"backup show: name the location of a backup"}
	}
	chain, err := backup.OpenChain(ctx, location)
	if err != nil {
		return err
	}
	for _, s := range chain.Summaries() {
		kind := "full"
		if s.Since != 0 {
			kind = "incremental"
			if s.History {
				kind = "incremental, with revision history"
			}
		}
		fmt.Fprintf(e.stdout, "%s\n  backup %s of %s, %s\n  as of %s (%d)\n  %d files, %d entries, %d bytes\n", s.Location, s.ID, s.Scope, kind,
			s.Time.Format(time.RFC3339Nano), int64(s.Timestamp), s.Files, s.Entries, s.Bytes)
		for _, t := range s.Tables {
			fmt.Fprintf(e.stdout, "    %s\n", t)
		}
	}
	if *quick {
		return nil
	}
	files := 0
	if err := chain.Verify(ctx, func(string, *backup.File) { files++ }); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%d files are sound\n", files)
	return nil
}

// orHelp prints help when that was asked for.
func orHelp(f *flags, err error) error {
	if errors.Is(err, errHelp) {
		f.help()
		return nil
	}
	return err
}

// options are those of meridian.backup and meridian.restore; empty ones are left out.
type options map[string]any

// runClusterJob starts a job by a SQL function and reports its progress until it ends. An interrupt cancels it.
func runClusterJob(ctx context.Context, e env, url, function, location string, o options) error {
	for k, v := range o {
		if v == "" {
			delete(o, k)
		}
	}
	o["detached"] = true
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var id int64
	if err := conn.QueryRow(ctx, "SELECT (meridian."+function+"($1, $2::text::jsonb)->>'job_id')::bigint", location, string(text)).Scan(&id); err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "job %d: %s %s\n", id, function, strings.SplitN(location, "?", 2)[0])
	last := ""
	for {
		var state, problem, started, finished string
		var fraction float64
		err := conn.QueryRow(ctx, `SELECT state, fraction, coalesce(error, ''), started::text, coalesce(finished::text, '') FROM meridian.jobs
			WHERE job_id = $1 AND kind = $2`, id, function).Scan(&state, &fraction, &problem, &started, &finished)
		switch {
		case ctx.Err() != nil:
			return cancelJob(context.WithoutCancel(ctx), e, url, id)
		case err != nil:
			return fmt.Errorf("job %d goes on; its progress cannot be read: %w", id, err)
		}
		switch state {
		case "succeeded":
			fmt.Fprintf(e.stdout, "%s finished at %s\n", function, finished)
			return nil
		case "failed", "canceled":
			if problem == "" {
				problem = state
			}
			return fmt.Errorf("job %d: %s", id, problem)
		}
		if line := fmt.Sprintf("job %d: %s, %.0f%%", id, state, 100*fraction); line != last {
			fmt.Fprintln(e.stderr, line)
			last = line
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// cancelJob cancels a job over a connection of its own: the other one's query may have been interrupted.
func cancelJob(ctx context.Context, e env, url string, id int64) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err == nil {
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "SELECT meridian.cancel_job($1)", id)
	}
	if err != nil {
		return fmt.Errorf("job %d goes on, it cannot be canceled: %w", id, err)
	}
	return fmt.Errorf("job %d is being canceled", id)
}
