package relay

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificateLasts is how long a certificate is used before its file is looked at
// again.
const certificateLasts = time.Minute

// Certificate is one that is read from files, and read again when they change: it is
// renewed every few weeks, and a call is not to end for it.
type Certificate struct {
	cert, key string

	// Guarded by mu.
	mu      sync.Mutex
	loaded  *tls.Certificate
	written time.Time // as the file of the certificate says
	looked  time.Time
}

// LoadCertificate reads a certificate and its key from PEM files.
func LoadCertificate(cert, key string) (*Certificate, error) {
	c := &Certificate{cert: cert, key: key}
	return c, c.load()
}

// Get gives the newest that can be read. It fits tls.Config.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) > certificateLasts {
		_ = c.load() // half of the pair may be written yet: what is loaded goes on
	}
	return c.loaded, nil
}

// load is called with mu held, or before anybody else knows c.
func (c *Certificate) load() error {
	c.looked = time.Now()
	file, err := os.Stat(c.cert)
	if err != nil {
		return err
	}
	if file.ModTime().Equal(c.written) {
		return nil
	}
	loaded, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.cert, err)
	}
	c.loaded, c.written = &loaded, file.ModTime()
	return nil
}
