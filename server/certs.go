package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/meridian-db/meridian/server/rpc"
)

// Certs are the TLS configurations of a node.
type Certs struct {
	RPCServer, RPCClient *tls.Config // mutual, both ends under the cluster's CA
	SQL                  *tls.Config // asks clients for a certificate and takes any; see VerifyUser
	load                 func() (*tls.Certificate, *x509.CertPool, error)
}

// VerifyUser checks that the certificate that a client has shown is a user's, of this cluster's CA. Whose it is says its
// common name. One that would do for a node does not: its names are those of hosts.
func (c *Certs) VerifyUser(st tls.ConnectionState) error {
	_, pool, err := c.load()
	if err != nil {
		return err
	}
	if len(st.PeerCertificates) == 0 {
		return errors.New("the client showed no certificate")
	}
	opts := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, c := range st.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := st.PeerCertificates[0]
	if _, err := leaf.Verify(opts); err != nil {
		return err
	}
	opts.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if _, err := leaf.Verify(opts); err == nil {
		return errors.New("the certificate is a node's")
	}
	return nil
}

// LoadCerts reads ca.crt, node.crt and node.key of a --certs directory. Node-to-node connections require a
// certificate of the CA from both ends. The files are read again for every handshake, so that certificates can be
// replaced on a running node; unreadable new ones fail the handshake, not the node.
func LoadCerts(dir string) (*Certs, error) {
	load := func() (*tls.Certificate, *x509.CertPool, error) {
		cert, err := tls.LoadX509KeyPair(filepath.Join(dir, nodeCertFile), filepath.Join(dir, nodeKeyFile))
		if err != nil {
			return nil, nil, err
		}
		pem, err := os.ReadFile(filepath.Join(dir, caCertFile))
		if err != nil {
			return nil, nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, caCertFile))
		}
		return &cert, pool, nil
	}
	cert, pool, err := load()
	if err != nil {
		return nil, err
	}
	if err := checkOwn(cert, pool); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, nodeCertFile), err)
	}
	server := &tls.Config{MinVersion: tls.VersionTLS13}
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cert, pool, err := load()
		if err != nil {
			return nil, err
		}
		return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{rpc.ALPN}, Certificates: []tls.Certificate{*cert},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
			// Only nodes may be both ends: a certificate for clients alone is not a node's.
			VerifyConnection: func(st tls.ConnectionState) error { return verifyPeer(st, pool, "") }}, nil
	}
	client := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{rpc.ALPN},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, _, err := load()
			return cert, err
		},
		// The peer is verified below, against the CA as it is now.
		InsecureSkipVerify: true,
	}
	client.VerifyConnection = func(st tls.ConnectionState) error {
		_, pool, err := load()
		if err != nil {
			return err
		}
		return verifyPeer(st, pool, st.ServerName)
	}
	sqlTLS := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, _, err := load()
		return cert, err
	}}
	return &Certs{RPCServer: server, RPCClient: client, SQL: sqlTLS, load: load}, nil
}

// checkOwn looks whether other nodes will accept this node's certificate: better now than on every connection.
func checkOwn(cert *tls.Certificate, pool *x509.CertPool) error {
	st := tls.ConnectionState{}
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		st.PeerCertificates = append(st.PeerCertificates, c)
	}
	return verifyPeer(st, pool, "")
}

// verifyPeer checks that a certificate is a node's, of this cluster's CA, and good for a host name unless that is empty.
func verifyPeer(st tls.ConnectionState, pool *x509.CertPool, host string) error {
	if len(st.PeerCertificates) == 0 {
		return errors.New("the peer showed no certificate")
	}
	opts := x509.VerifyOptions{Roots: pool, DNSName: host, Intermediates: x509.NewCertPool()}
	for _, c := range st.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		opts.KeyUsages = []x509.ExtKeyUsage{usage}
		if _, err := st.PeerCertificates[0].Verify(opts); err != nil {
			return err
		}
	}
	return nil
}
