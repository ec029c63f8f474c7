package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/errandhq/errand/internal/wire"
)

//go:embed static/*
var staticFiles embed.FS

// static holds the files that pages load, under names that carry a hash of what
// is in them: a browser may keep them for ever.
type static struct {
	files   map[string][]byte // by name
	css, js string            // names with hashes
}

func newStatic() *static {
	s := &static{files: map[string][]byte{}}
	names, err := fs.Glob(staticFiles, "static/*")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		b, err := staticFiles.ReadFile(name)
		if err != nil {
			panic(err)
		}
		base := path.Base(name)
		switch ext := path.Ext(base); ext {
		case ".css", ".js":
			sum := sha256.Sum256(b)
			base = strings.TrimSuffix(base, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
			if ext == ".css" {
				s.css = base
			} else {
				s.js = base
			}
		}
		s.files[base] = b
	}
	return s
}

// serveStatic sends a file. Anybody may read them.
func (c *Console) serveStatic(w http.ResponseWriter, r *http.Request) {
	wire.ExchangeOf(r).Route = "GET /static/{file}"
	name := r.PathValue("file")
	switch r.URL.Path {
	case "/favicon.ico":
		name = "icon.svg"
	case "/robots.txt":
		name = "robots.txt"
	}
	b, ok := c.static.files[name]
	if !ok {
		c.noPage(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	if name == c.static.css || name == c.static.js {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "public, max-age=86400")
	}
	_, _ = w.Write(b)
}
