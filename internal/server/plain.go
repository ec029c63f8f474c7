package server

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// plainListener gives the few answers that net/http writes by itself, to bytes
// that are no HTTP request and to headers beyond every limit, the shape that the
// provider's gateway gives them and a request id. (On TLS connections they stay
// as net/http writes them.)
type plainListener struct{ net.Listener }

func (l *plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &plainConn{Conn: c}, nil
}

type plainConn struct{ net.Conn }

// bareReply is what follows the status line of the answers that net/http writes
// without a handler: all others have a Date.
var bareReply = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

func (c *plainConn) Write(p []byte) (int, error) {
	end := bytes.IndexByte(p, '\r')
	if end < 0 || !bytes.HasPrefix(p[end:], bareReply) || !bytes.HasPrefix(p, []byte("HTTP/1.1 ")) {
		return c.Conn.Write(p)
	}
	status, text := string(p[len("HTTP/1.1 "):end]), "API request error."
	if strings.HasPrefix(status, "431 ") {
		status, text = "494 Request Headers Too Large", "Request headers too large."
	}
	id := errand.NewID(time.Now())
	body := fmt.Sprintf(`{"error_msg":%q,"error_code":"APIGW.0201","request_id":%q}`, text, id)
	_, err := fmt.Fprintf(c.Conn, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n%s", status, len(body), id, body)
	return len(p), err
}
