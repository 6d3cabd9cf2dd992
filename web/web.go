// Package web holds the pages that people see, the player and the dashboard, inside the binary, so that any node of a
// mesh serves them without a file beside it.
//
// The pages are plain ES modules: what is in this folder is what the browser gets. They talk to the API of the node that
// served them and to nothing else, carry no inline script or style, and put data into the document only as text.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed pages assets vendor
var files embed.FS

// contentTypes are the kinds of file that are served; a file of another kind is not. They do not depend on the
// machine's own table.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".md":   "text/markdown; charset=utf-8",
}

// file is one answer, ready to be sent.
type file struct {
	contentType string
	etag        string // of the plain bytes; a packed answer has its own
	plain       []byte
	packed      []byte // gzip; nil where it saves nothing
}

// site maps a URL path to what is served there.
type site map[string]file

// Handler serves the pages: / and /player.html, /admin.html, and what they load under /assets/. It answers GET and HEAD;
// anything else that is not a page is 404. Every answer is to be revalidated by its ETag, a hash of its content, so
// that a page and its modules are of one version after an upgrade. The CSP header is set unless the caller has set one.
func Handler() http.Handler {
	return theSite()
}

// theSite is packed once and then only read.
var theSite = sync.OnceValue(load)

// CSP is the Content-Security-Policy of the pages. apis are origins (scheme://host:port) of other nodes whose API the
// pages may call and play from; values that are not such an origin are left out, since the header is a list of words.
func CSP(apis ...string) string {
	others := ""
	for _, origin := range apis {
		if isOrigin(origin) {
			others += " " + origin
		}
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'" +
		"; img-src 'self' blob: data:" + others +
		"; media-src 'self' blob:" + others +
		"; connect-src 'self'" + others +
		"; worker-src 'self' blob:; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

func isOrigin(s string) bool {
	host, ok := strings.CutPrefix(s, "http://")
	if !ok {
		host, ok = strings.CutPrefix(s, "https://")
	}
	return ok && host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		isWord := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !isWord && !strings.ContainsRune(".-:[]", r)
	})
}

func load() site {
	s := site{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		contentType, served := contentTypes[path.Ext(name)]
		if !served {
			return nil
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		s[urlPath(name)] = newFile(contentType, body)
		return nil
	})
	if err != nil {
		panic("web: the embedded files cannot be read: " + err.Error()) // the binary itself is broken
	}
	s["/"] = s["/player.html"]
	s["/favicon.ico"] = s["/assets/logo.svg"]
	return s
}

// urlPath says where an embedded file is served.
func urlPath(name string) string {
	if page, ok := strings.CutPrefix(name, "pages/"); ok {
		return "/" + page
	}
	if lib, ok := strings.CutPrefix(name, "vendor/"); ok {
		return "/assets/vendor/" + lib
	}
	return "/" + name
}

func newFile(contentType string, body []byte) file {
	sum := sha256.Sum256(body)
	f := file{contentType: contentType, etag: hex.EncodeToString(sum[:12]), plain: body}
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return f
	}
	if _, err := w.Write(body); err != nil {
		return f
	}
	if err := w.Close(); err == nil && buf.Len() < len(body) {
		f.packed = buf.Bytes()
	}
	return f
}

func (s site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := s[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	if h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", CSP())
	}
	h.Set("Content-Type", f.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Accept-Encoding")
	body, etag := f.plain, f.etag
	if f.packed != nil && r.Header.Get("Range") == "" && acceptsGzip(r) {
		body, etag = f.packed, f.etag+"-gz"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func acceptsGzip(r *http.Request) bool {
	for value := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(value), ";")
		if strings.TrimSpace(name) == "gzip" && strings.TrimSpace(quality) != "q=0" {
			return true
		}
	}
	return false
}
