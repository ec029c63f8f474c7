package cli

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is the real binary, running.
type process struct {
	*exec.Cmd
	lines  []string // of standard output, up to "ready"
	stderr *output
	ended  chan error
}

// build makes the binary that ships.
func build(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "errand")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/errand")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// startProcess runs bin until the end of the test and returns once it is ready.
func startProcess(t *testing.T, bin string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(bin, args...), stderr: newOutput(), ended: make(chan error, 1)}
	p.Stderr = p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.lines = append(p.lines, lines.Text())
		if lines.Text() == "ready" {
			go func() { p.ended <- p.Wait() }()
			return p
		}
	}
	_ = p.Wait()
	t.Fatalf("errand ended: %s", p.stderr)
	return nil
}

// url returns the address of the first listener.
func (p *process) url() string {
	for _, l := range p.lines {
		if u, ok := strings.CutPrefix(l, "listening on "); ok {
			return u
		}
	}
	return ""
}

// writeCert makes a certificate for 127.0.0.1, its own authority.
func writeCert(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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
		var b bytes.Buffer
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProcess covers what only a process has: signals, and TLS end to end.
func TestProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs a real server")
	}
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCert(t, cert, key, 1)
	p := startProcess(t, build(t, dir), "serve", "--db=sqlite:"+filepath.Join(dir, "errand.db"), "--listen=127.0.0.1:0",
		"--tls-cert="+cert, "--tls-key="+key, "--log-format=json")
	if !strings.HasPrefix(p.url(), "https://") {
		t.Fatalf("address %q", p.url())
	}
	env := readEnv(t, filepath.Join(dir, "credentials"))
	env["ERRAND_SERVER"] = p.url()
	runSteps(t, env, []step{
		{args: "instance list", code: exitUnreachable, out: `certificate`},
		{args: "instance list --ca-file " + cert, out: `^ID`},
		{args: "instance list --ca-file " + key, code: exitUsage, out: `no certificate`},
		{args: "instance list --ca-file /nonexistent/ca.pem", code: exitUsage, out: `/nonexistent/ca\.pem`},
	})

	writeCert(t, cert, key, 2)
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.stderr.waitForText(t, `"SIGHUP: certificate reloaded"`)
	c, err := tls.Dial("tcp", strings.TrimPrefix(p.url(), "https://"), &tls.Config{InsecureSkipVerify: true}) // the serial is what is asked
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 2 {
		t.Errorf("after SIGHUP the server shows serial %d", got)
	}

	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err != nil {
		t.Errorf("SIGTERM: %v: %s", err, p.stderr)
	}
	if log := p.stderr.String(); !strings.Contains(log, `"stopping"`) || strings.Contains(log, env["HUAWEICLOUD_SDK_SK"]) {
		t.Errorf("log %s", log)
	}
}
