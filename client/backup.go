package client

import (
	"context"
	"io"
	"net/http"

	"github.com/errandhq/errand"
)

// Backup writes a consistent copy of the server's database to w and returns its
// size. After an error, what was written is not a copy. It is for admins, and
// not repeated by itself. Errors: Unavailable about "backup" while another one
// is being made, or about "answer" if it was cut off.
func (c *Client) Backup(ctx context.Context, w io.Writer) (int64, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: []string{"backup"}})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	from := &sourceReader{r: resp.Body}
	n, err := io.Copy(w, from)
	switch {
	case from.err != nil:
		return n, answerError(resp, errand.Errorf(errand.Unavailable, "answer", "the copy was cut off after %d bytes", n).WithCause(from.err))
	case err == nil && n != resp.ContentLength:
		return n, answerError(resp, errand.Errorf(errand.Unavailable, "answer", "the copy has %d bytes; the server announced %d", n, resp.ContentLength))
	}
	return n, err
}

// sourceReader remembers the error of its reader, which io.Copy does not tell from
// one of the writer.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
