package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheck is how often handshakes look whether the certificate's files changed.
const certCheck = time.Second

// Certs is a certificate that follows its files: a handshake that finds them
// changed takes the new one. Connections that exist are not touched. Files that
// do not fit together are reported and the certificate in use stays.
type Certs struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]fileState
	checked time.Time
}

// fileState is what tells that a file changed.
type fileState struct {
	modified time.Time
	size     int64
}

// NewCerts loads a certificate chain and its key from PEM files.
func NewCerts(certFile, keyFile string, log *slog.Logger) (*Certs, error) {
	c := &Certs{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again, changed or not.
func (c *Certs) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

func (c *Certs) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

func (c *Certs) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certCheck {
		c.checked = now
		if c.stat() != c.seen {
			if err := c.load(); err != nil {
				c.log.Error("certificate not reloaded; the one in use stays", "error", err)
			} else {
				c.log.Info("certificate reloaded", "file", c.certFile)
			}
		}
	}
	return c.current
}

// load needs c.mu. The state is taken before the files are read: one that
// changes in between is then read again.
func (c *Certs) load() error {
	c.seen, c.checked = c.stat(), c.now()
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current = &cert
	return nil
}

func (c *Certs) stat() (state [2]fileState) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if fi, err := os.Stat(name); err == nil {
			state[i] = fileState{fi.ModTime(), fi.Size()}
		}
	}
	return state
}
