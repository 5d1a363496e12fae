package sql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-db/meridian/sql/backup"
	"github.com/meridian-db/meridian/sql/backup/store"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// meridianFunctions are the functions of schema meridian.
var meridianFunctions = map[string]builtin.EvalFunc{
	"backup":      onSession((*Session).backupFunction),
	"restore":     onSession((*Session).restoreFunction),
	"backup_show": onSession((*Session).backupShow),
	"pause_job":   onSession(controlJob((*jobs.Registry).Pause)),
	"resume_job":  onSession(controlJob((*jobs.Registry).Resume)),
	"cancel_job":  onSession(controlJob((*jobs.Registry).Cancel)),
}

// options decodes the second argument of backup and restore; unknown keys are errors.
func options(d types.Datum, into any) error {
	if d.JSON().Kind != types.JSONObject {
		return pgerr.New(pgerr.InvalidParameterValue, "options must be a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(types.AppendText(nil, d, types.JSONB, nil)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return pgerr.New(pgerr.InvalidParameterValue, "invalid options: %s", err)
	}
	return nil
}

// mayRunJobs refuses what needs a superuser, a registry, and no transaction block.
func (s *Session) mayRunJobs(what string) error {
	switch {
	case !s.superuser:
		return pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to call %s", what)
	case s.srv.cfg.Jobs == nil:
		return pgerr.Unsupported("%s is not supported by this server", what)
	case s.txn.phase == phaseBlock:
		return pgerr.New(pgerr.ActiveSQLTransaction, "%s cannot run inside a transaction block", what)
	}
	return nil
}

func (s *Session) scope(database, table string) (backup.Scope, error) {
	if table != "" && database == "" {
		database = s.args.Database
	}
	return backup.Scope{Database: database, Table: table}, nil
}

// backupFunction is meridian.backup(destination, options).
func (s *Session) backupFunction(ctx context.Context, args []types.Datum) (types.Datum, error) {
	if err := s.mayRunJobs("meridian.backup"); err != nil {
		return types.Null, err
	}
	var o struct {
		Database        string `json:"database"`
		Table           string `json:"table"`
		IncrementalFrom string `json:"incremental_from"`
		AsOf            string `json:"as_of"`
		History         bool   `json:"revision_history"`
		Hold            string `json:"hold"`
		Detached        bool   `json:"detached"`
	}
	if err := options(args[1], &o); err != nil {
		return types.Null, err
	}
	req := backup.Request{To: args[0].Str(), From: o.IncrementalFrom, History: o.History}
	var err error
	if req.Scope, err = s.scope(o.Database, o.Table); err != nil {
		return types.Null, err
	}
	for _, location := range []string{req.To, req.From} {
		if _, err := store.Open(ctx, location); location != "" && err != nil {
			return types.Null, storeError(err)
		}
	}
	if req.To == "" {
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "a backup needs a destination")
	}
	if o.AsOf != "" {
		if req.AsOf, err = s.parseReadTimestamp(o.AsOf); err != nil {
			return types.Null, err
		}
	}
	if o.Hold != "" {
		if req.Hold, err = time.ParseDuration(o.Hold); err != nil || req.Hold <= 0 {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid duration %q", o.Hold).WithHint("Give one such as 26h.")
		}
	}
	what := "of " + req.Scope.String()
	if req.From != "" {
		what = "of what has changed in " + req.Scope.String()
	}
	return s.runJob(ctx, backup.KindBackup, what+" to "+store.Redact(req.To), req, o.Detached)
}

// restoreFunction is meridian.restore(location, options).
func (s *Session) restoreFunction(ctx context.Context, args []types.Datum) (types.Datum, error) {
	if err := s.mayRunJobs("meridian.restore"); err != nil {
		return types.Null, err
	}
	var o struct {
		Database string `json:"database"`
		Table    string `json:"table"`
		AsOf     string `json:"as_of"`
		Into     string `json:"into"`
		Detached bool   `json:"detached"`
	}
	if err := options(args[1], &o); err != nil {
		return types.Null, err
	}
	req := backup.RestoreRequest{From: args[0].Str(), Into: o.Into}
	chain, err := backup.OpenChain(ctx, req.From)
	if err != nil {
		return types.Null, storeError(err)
	}
	// Without a scope, all that the backup has.
	ms, _ := chain.Manifests()
	req.Scope = ms[0].Scope
	if o.Database != "" || o.Table != "" {
		if req.Scope, err = s.scope(o.Database, o.Table); err != nil {
			return types.Null, err
		}
	}
	if o.Into != "" && req.Scope.Database == "" {
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "the option \"into\" is for the restore of a database or a table")
	}
	if o.AsOf != "" {
		if req.AsOf, err = s.parseReadTimestamp(o.AsOf); err != nil {
			return types.Null, err
		}
	}
	return s.runJob(ctx, backup.KindRestore, "of "+req.Scope.String()+" from "+store.Redact(req.From), req, o.Detached)
}

// backupShow is meridian.backup_show(location): what a backup and those before it hold, every file verified.
func (s *Session) backupShow(ctx context.Context, args []types.Datum) (types.Datum, error) {
	if !s.superuser {
		return types.Null, pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to call meridian.backup_show")
	}
	chain, err := backup.OpenChain(ctx, args[0].Str())
	if err == nil {
		err = chain.Verify(ctx, nil)
	}
	if err != nil {
		return types.Null, storeError(err)
	}
	b, err := json.Marshal(chain.Summaries())
	if err != nil {
		return types.Null, err
	}
	return types.ParseText(string(b), types.JSONB, nil)
}

// storeError gives errors about locations and files their SQLSTATE.
func storeError(err error) error {
	var file *backup.FileError
	var at *backup.TimeError
	var pg *pgerr.Error
	switch {
	case errors.As(err, &pg):
		return err
	case errors.Is(err, store.ErrLocation), errors.As(err, &at):
		return pgerr.New(pgerr.InvalidParameterValue, "%s", err).WithCause(err)
	case errors.Is(err, backup.ErrNoBackup):
		return pgerr.New("58P01", "%s", err).WithCause(err) // undefined_file
	case errors.As(err, &file):
		return pgerr.New("XX001", "%s", err).WithCause(err) // data_corrupted
	}
	return pgerr.New("58030", "%s", err).WithCause(err) // io_error
}

// runJob creates a job and waits for it. A statement that is canceled cancels the job.
func (s *Session) runJob(ctx context.Context, kind, description string, payload any, detached bool) (types.Datum, error) {
	reg := s.srv.cfg.Jobs
	id, err := reg.CreateAlone(ctx, jobs.Record{Kind: kind, Description: description, User: s.user, Database: s.args.Database}, payload)
	if err != nil {
		return types.Null, err
	}
	answer := map[string]any{"job_id": id}
	if !detached {
		rec, err := s.awaitJob(ctx, id)
		if err != nil {
			return types.Null, err
		}
		answer["state"] = rec.State
		if len(rec.Result) > 0 {
			var fields map[string]any
			dec := json.NewDecoder(bytes.NewReader(rec.Result))
			dec.UseNumber()
			if err := dec.Decode(&fields); err != nil {
				return types.Null, fmt.Errorf("result of job %d: %w", id, err)
			}
			for k, v := range fields {
				answer[k] = v
			}
		}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return types.Null, err
	}
	return types.ParseText(string(b), types.JSONB, nil)
}

// showAwaiting tells the views whether the session waits for a job.
func (s *Session) showAwaiting(is bool) {
	s.info.Lock()
	defer s.info.Unlock()
	s.info.AwaitsJob = is
}

// awaitJob waits until a job has succeeded or is paused; any other end is an error.
func (s *Session) awaitJob(ctx context.Context, id uint64) (*jobs.Record, error) {
	reg := s.srv.cfg.Jobs
	s.showAwaiting(true)
	rec, err := reg.Wait(ctx, id)
	s.showAwaiting(false)
	if err != nil {
		if ctx.Err() != nil {
			bg, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if cerr := reg.Cancel(bg, id); cerr != nil {
				s.srv.cfg.Log.Warn("the job of a canceled statement goes on", "job", id, "err", cerr)
			}
		}
		return nil, err
	}
	switch rec.State {
	case jobs.Failed:
		code := rec.Code
		if code == "" {
			code = pgerr.InternalError
		}
		e := pgerr.New(code, "%s", rec.Error)
		if rec.Hint != "" {
			e = e.WithHint("%s", rec.Hint)
		}
		if rec.ErrorDetail != "" {
			e = e.WithDetail("%s", rec.ErrorDetail)
		}
		return nil, e
	case jobs.Canceled:
		return nil, pgerr.New(pgerr.QueryCanceled, "job %d was canceled", id)
	}
	return rec, nil
}

// JobError tells package jobs what to keep of an error.
func JobError(err error) (code, message, detail, hint string) {
	e := WireError(err)
	if e.Code == pgerr.InternalError {
		var pg *pgerr.Error
		if se, ok := storeError(err).(*pgerr.Error); ok && !errors.As(err, &pg) && !errors.Is(err, kv.ErrRetry) {
			e = se
		}
	}
	return e.Code, e.Message, e.Detail, e.Hint
}

// controlJob makes a function of a request to a job.
func controlJob(f func(r *jobs.Registry, ctx context.Context, id uint64) error) func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
	return func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		reg := s.srv.cfg.Jobs
		if reg == nil {
			return types.Null, pgerr.Unsupported("jobs are not supported by this server")
		}
		id := uint64(args[0].Int())
		rec, err := reg.Get(ctx, id)
		if err == nil && !s.superuser && rec.User != s.user {
			return types.Null, pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to control another user's job")
		}
		if err == nil {
			err = f(reg, ctx, id)
		}
		var bad *jobs.StateError
		switch {
		case errors.Is(err, jobs.ErrNotFound):
			return types.Null, pgerr.New(pgerr.UndefinedObject, "job %d does not exist", args[0].Int())
		case errors.As(err, &bad):
			return types.Null, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "%s", bad.Error())
		case err != nil:
			return types.Null, err
		}
		return types.NewBool(true), nil
	}
}

// JobRows are the rows of meridian.jobs.
func (srv *Server) JobRows(ctx context.Context) ([]pgcatalog.Job, error) {
	var out []pgcatalog.Job
	if srv.cfg.Jobs == nil {
		return nil, nil
	}
	list, err := srv.cfg.Jobs.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		j := pgcatalog.Job{ID: r.ID, Kind: r.Kind, State: string(r.State), Description: r.Description, Fraction: r.Fraction, Error: r.Error,
			Started: r.Created.Time()}
		if r.Detail != "" {
			j.Description += " (" + r.Detail + ")"
		}
		if r.Finished != 0 {
			j.Finished = r.Finished.Time()
		}
		if r.Request != "" && !r.State.Final() {
			j.State += ", to be " + map[string]string{"pause": "paused", "cancel": "canceled"}[r.Request]
		}
		out = append(out, j)
	}
	return out, nil
}
