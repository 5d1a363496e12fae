package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names in a --certs directory. The key of the CA belongs on no node.
const (
	caCertFile   = "ca.crt"
	caKeyFile    = "ca.key"
	nodeCertFile = "node.crt"
	nodeKeyFile  = "node.key"
)

// IssueCA makes a cluster's certificate authority: ca.crt and ca.key in dir. Existing files stay as they are.
func IssueCA(dir string, valid time.Duration) error {
	if err := checkValid(valid); err != nil {
		return err
	}
	now := time.Now()
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: "Meridian CA"}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(valid),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	cert, key, err := sign(tmpl, nil, nil)
	if err != nil {
		return err
	}
	return writeNew(dir, map[string][]byte{caCertFile: cert, caKeyFile: key})
}

// IssueNode makes a node's --certs directory: node.crt for hosts, names or addresses, signed by the CA in caDir, node.key,
// and a copy of ca.crt. Existing files stay as they are.
func IssueNode(caDir, dir string, hosts []string, valid time.Duration) error {
	if len(hosts) == 0 {
		return flagErr("host", "is required", "give the names and addresses by which clients and other nodes reach this node, separated by commas")
	}
	ca, caKey, caPEM, until, err := authority(caDir, valid)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: hosts[0], OrganizationalUnit: []string{"Meridian node"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	cert, key, err := sign(tmpl, ca, caKey)
	if err != nil {
		return err
	}
	return writeWithCA(dir, caPEM, map[string][]byte{nodeCertFile: cert, nodeKeyFile: key})
}

// authority reads a certificate authority, and how long what it signs now is good.
func authority(caDir string, valid time.Duration) (ca *x509.Certificate, key *ecdsa.PrivateKey, caPEM []byte, until time.Time, err error) {
	fail := func(err error) (*x509.Certificate, *ecdsa.PrivateKey, []byte, time.Time, error) {
		return nil, nil, nil, until, flagErr("ca", err.Error(), "give the directory that `meridian cert ca` wrote")
	}
	if err := checkValid(valid); err != nil {
		return nil, nil, nil, until, err
	}
	if caPEM, err = os.ReadFile(filepath.Join(caDir, caCertFile)); err != nil {
		return fail(err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(caDir, caKeyFile))
	if err != nil {
		return fail(err)
	}
	if ca, err = parsePEM(caPEM, "CERTIFICATE", x509.ParseCertificate); err != nil {
		return fail(fmt.Errorf("%s: %w", filepath.Join(caDir, caCertFile), err))
	}
	if key, err = parsePEM(keyPEM, "EC PRIVATE KEY", x509.ParseECPrivateKey); err != nil {
		return fail(fmt.Errorf("%s: %w", filepath.Join(caDir, caKeyFile), err))
	}
	now := time.Now()
	if until = now.Add(valid); until.After(ca.NotAfter) {
		until = ca.NotAfter
	}
	if !until.After(now) {
		return nil, nil, nil, until, flagErr("ca", fmt.Sprintf("the CA's certificate ended on %s", ca.NotAfter.Format(time.DateOnly)), "make a new one by `meridian cert ca`")
	}
	return ca, key, caPEM, until, nil
}

// IssueClient makes a certificate by which a role logs in: client.ROLE.crt and client.ROLE.key in dir, and a copy of ca.crt.
// Existing files stay as they are.
func IssueClient(caDir, dir, role string, valid time.Duration) error {
	switch {
	case role == "":
		return flagErr("user", "is required", "give the role that the certificate is for")
	case len(role) > 63 || strings.ContainsAny(role, "/\\\x00\n"):
		return flagErr("user", fmt.Sprintf("%q cannot be the name of a file", role), "give a role whose name has no slashes")
	}
	ca, caKey, caPEM, until, err := authority(caDir, valid)
	if err != nil {
		return err
	}
	// For clients only: nodes accept it from no node.
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: role, OrganizationalUnit: []string{"Meridian client"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	cert, key, err := sign(tmpl, ca, caKey)
	if err != nil {
		return err
	}
	return writeWithCA(dir, caPEM, map[string][]byte{"client." + role + ".crt": cert, "client." + role + ".key": key})
}

// writeWithCA is writeNew with ca.crt among the files, unless the same is there already.
func writeWithCA(dir string, caPEM []byte, files map[string][]byte) error {
	if old, err := os.ReadFile(filepath.Join(dir, caCertFile)); err != nil || !bytes.Equal(old, caPEM) {
		files[caCertFile] = caPEM
	}
	return writeNew(dir, files)
}

func checkValid(valid time.Duration) error {
	if valid < time.Minute {
		return flagErr("valid", fmt.Sprintf("%s is too short", valid), "give a duration such as 8760h")
	}
	return nil
}

// sign makes a key and a certificate, signed by itself without a parent.
func sign(tmpl, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, parentKey = tmpl, k
	}
	if tmpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &k.PublicKey, parentKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), nil
}

func parsePEM[T any](b []byte, kind string, parse func([]byte) (T, error)) (v T, err error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return v, fmt.Errorf("it holds no %s in PEM", kind)
	}
	return parse(block.Bytes)
}

// writeNew writes files, for the owner's eyes only, or none of them if one exists.
func writeNew(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return flagErr("out", err.Error(), "give a directory that this user can write")
	}
	for name := range files {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return flagErr("out", fmt.Sprintf("%s exists already", filepath.Join(dir, name)), "move it away, or give another directory")
		}
	}
	for name, content := range files {
		mode := os.FileMode(0o644)
		if filepath.Ext(name) == ".key" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, mode); err != nil {
			return flagErr("out", err.Error(), "give a directory that this user can write")
		}
	}
	return nil
}
