package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Certs are the TLS configurations of a node.
type Certs struct {
	RPCServer, RPCClient *tls.Config // mutual, both ends under the cluster's CA
	SQL                  *tls.Config
}

// LoadCerts reads ca.crt, node.crt and node.key of a --certs directory. Node-to-node connections require a
// certificate of the CA from both ends. The files are read again for every handshake, so that certificates can be
// replaced on a running node; unreadable new ones fail the handshake, not the node.
func LoadCerts(dir string) (*Certs, error) {
	load := func() (*tls.Certificate, *x509.CertPool, error) {
		cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key"))
		if err != nil {
			return nil, nil, err
		}
		pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
		if err != nil {
			return nil, nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, nil, errors.New("ca.crt holds no certificate")
		}
		return &cert, pool, nil
	}
	if _, _, err := load(); err != nil {
		return nil, fmt.Errorf("--certs %s: it must hold ca.crt, node.crt and node.key: %w", dir, err)
	}
	server := &tls.Config{MinVersion: tls.VersionTLS13}
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cert, pool, err := load()
		if err != nil {
			return nil, err
		}
		return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{*cert},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, nil
	}
	client := &tls.Config{MinVersion: tls.VersionTLS13,
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
		if len(st.PeerCertificates) == 0 {
			return errors.New("the peer showed no certificate")
		}
		opts := x509.VerifyOptions{Roots: pool, DNSName: st.ServerName, Intermediates: x509.NewCertPool(),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		for _, c := range st.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err = st.PeerCertificates[0].Verify(opts)
		return err
	}
	sqlTLS := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, _, err := load()
		return cert, err
	}}
	return &Certs{RPCServer: server, RPCClient: client, SQL: sqlTLS}, nil
}
