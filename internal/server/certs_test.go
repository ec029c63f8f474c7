package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCert makes a certificate with the given serial number for 127.0.0.1.
func writeCert(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "errand test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pk}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		// The times must differ even where the clock of the file system is coarse.
		at := time.Unix(1_700_000_000+serial, 0)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// serial connects anew and returns the serial number that the server shows.
func serial(t *testing.T, url string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true}) // the serial is what is asked
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestCertReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCert(t, cert, key, 1)
	l := &logs{}
	certs, err := NewCerts(cert, key, slog.New(slog.NewJSONHandler(l, nil)))
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now()
	certs.now = func() time.Time { clock = clock.Add(certCheck); return clock } // called under the lock
	s, _ := testServer(t, Options{Certs: certs})
	urls, _ := running(t, s, "")
	if !strings.HasPrefix(urls[0], "https://") {
		t.Fatalf("address %s", urls[0])
	}

	// A connection that outlives the change.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	ask := func() int64 {
		resp, err := client.Get(urls[0] + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := ask(); got != 1 {
		t.Fatalf("serial %d at first", got)
	}

	writeCert(t, cert, key, 2)
	if got := serial(t, urls[0]); got != 2 {
		t.Errorf("a handshake after the change shows serial %d", got)
	}
	if got := ask(); got != 1 {
		t.Errorf("the connection that was there was replaced: serial %d", got)
	}

	// Half a change: a key that does not fit.
	writeCert(t, filepath.Join(dir, "other.pem"), key, 3)
	if got := serial(t, urls[0]); got != 2 {
		t.Errorf("with a key that does not fit the server shows serial %d", got)
	}
	if err := certs.Reload(); err == nil {
		t.Error("Reload takes a key that does not fit")
	}
	if len(l.lines(t, "certificate not reloaded; the one in use stays")) == 0 {
		t.Errorf("nothing is logged of the failed reload: %s", l)
	}
	writeCert(t, cert, key, 4)
	if err := certs.Reload(); err != nil {
		t.Error(err)
	}
	if got := serial(t, urls[0]); got != 4 {
		t.Errorf("after Reload the server shows serial %d", got)
	}
}

func TestCertMissing(t *testing.T) {
	t.Parallel()
	_, err := NewCerts("/nonexistent/cert.pem", "/nonexistent/key.pem", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/cert.pem") {
		t.Errorf("missing files: %v", err)
	}
}
