package main

import (
	"archive/zip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// runDebug is `meridian debug zip`: it fetches what one node has collected from all into a file.
func runDebug(ctx context.Context, args []string, e env) error {
	f := newFlags("debug zip", "[--http URL] [flags]", e)
	var bases []string
	f.Var((*list)(&bases), "http", "URLs of nodes' HTTP ports; the first that answers is asked (default http://127.0.0.1:8080)")
	out := f.String("out", "meridian-debug.zip", "file to write")
	cpu := f.Duration("cpu", 5*time.Second, "length of the CPU profiles, all nodes at once; 0s for none, at most 1m")
	user := f.String("user", "", "superuser to log in as, where the port asks for it")
	password := f.String("password", "", "password of --user; better given as MERIDIAN_PASSWORD")
	ca := f.String("ca", "", "file with the cluster's CA, ca.crt, for https")
	cert := f.String("cert", "", "client certificate to log in with instead of a password")
	key := f.String("key", "", "key of --cert")
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
		f.help()
		return nil
	}
	if args[0] != "zip" {
		return &usageError{fmt.Sprintf("debug: unknown command %q: there is `meridian debug zip`", args[0])}
	}
	if err := f.parse(args[1:]); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	if *cpu < 0 || *cpu > time.Minute {
		return &usageError{"debug zip: --cpu is from 0s to 1m"}
	}
	if len(bases) == 0 {
		bases = []string{"http://127.0.0.1:8080"}
	}
	client, err := debugClient(*ca, *cert, *key)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var problems []error
	for _, base := range bases {
		err := fetchDebug(ctx, client, base, *user, *password, *cpu, *out)
		if err == nil {
			return debugSummary(*out, e.stdout)
		}
		problems = append(problems, fmt.Errorf("%s: %w", base, err))
	}
	return errors.Join(problems...)
}

func debugClient(ca, cert, key string) (*http.Client, error) {
	cfg := &tls.Config{}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert and --key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ResponseHeaderTimeout: 2 * time.Minute}}, nil
}

// fetchDebug writes the archive that the node at base makes to the file out, which is not there after an error.
func fetchDebug(ctx context.Context, client *http.Client, base, user, password string, cpu time.Duration, out string) (err error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return errors.New("give a URL as http://HOST:PORT")
	}
	u = u.JoinPath("debug", "zip")
	u.RawQuery = "cpu=" + cpu.String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which may hold a password
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/zip" {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		hint := ""
		switch resp.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			hint = "; log in as a superuser with --user and --password, or --cert and --key"
		case http.StatusOK, http.StatusNotFound:
			hint = "; is this the HTTP port of a Meridian node?"
		}
		return fmt.Errorf("%s: %s%s", resp.Status, strings.TrimSpace(string(text)), hint)
	}
	f, err := os.OpenFile(out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(out)
	}
	return err
}

// debugSummary says what the archive has not.
func debugSummary(out string, w io.Writer) error {
	z, err := zip.OpenReader(out)
	if err != nil {
		return fmt.Errorf("%s: the archive is not whole: %w", out, err)
	}
	defer z.Close()
	f, err := z.Open("summary.txt")
	if err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	fmt.Fprintf(w, "%s: %d files. %s", out, len(z.File), text)
	return nil
}
