package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What is asked of no path in particular is answered like everything else.
func TestOptionsOfTheServer(t *testing.T) {
	t.Parallel()
	// The answer may be here before the server has let go of its connection.
	s, l := testServer(t, Options{StopTimeout: time.Minute})
	urls, stop := running(t, s, "")
	c, err := net.Dial("tcp", strings.TrimPrefix(urls[0], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := stop(); err != nil { // by then the line is written
		t.Fatal(err)
	}
	lines := l.lines(t, "request")
	if len(lines) != 1 || lines[0]["request"] != resp.Header.Get("X-Request-Id") || lines[0]["method"] != "OPTIONS" {
		t.Errorf("X-Request-Id %q, status %d; lines %v", resp.Header.Get("X-Request-Id"), resp.StatusCode, lines)
	}
}
