package web

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sources gives the text of every embedded file of ours with this extension, by name.
func sources(t *testing.T, ext string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ext || strings.HasPrefix(name, "vendor/") {
			return err
		}
		b, err := files.ReadFile(name)
		found[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no %s file is embedded", ext)
	}
	return found
}

// references gives what each expression's first group matches, over all sources.
func references(text string, expressions ...string) []string {
	var found []string
	for _, expression := range expressions {
		for _, match := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
			found = append(found, match[1])
		}
	}
	return found
}

func TestEveryFileThatIsNamedExists(t *testing.T) {
	served := theSite()
	for name, text := range sources(t, ".html") {
		for _, link := range references(text, `(?:href|src)="(/[^"#]*)`) {
			if _, ok := served[link]; !ok {
				t.Errorf("%s names %s, which is not served", name, link)
			}
		}
	}
	for name, text := range sources(t, ".js") {
		for _, link := range references(text, `from '([^']+)'`, `import '([^']+)'`, `new URL\('([^']+)', import\.meta\.url\)`) {
			if target := path.Join(path.Dir(urlPath(name)), link); served[target].plain == nil || !strings.HasPrefix(link, ".") {
				t.Errorf("%s names %s, which is not served", name, link)
			}
		}
	}
	for name, text := range sources(t, ".css") {
		for _, link := range references(text, `url\("?([^")]+)"?\)`) {
			if target := path.Join(path.Dir(urlPath(name)), link); served[target].plain == nil {
				t.Errorf("%s names %s, which is not served", name, link)
			}
		}
	}
}

func TestEveryIconThatIsNamedIsInTheSprite(t *testing.T) {
	known := references(sources(t, ".svg")["assets/icons.svg"], `<symbol id="([^"]+)"`)
	for name, text := range sources(t, ".html") {
		for _, icon := range references(text, `icons\.svg#([a-z-]+)`) {
			if !slices.Contains(known, icon) {
				t.Errorf("%s shows the icon %s, which there is not", name, icon)
			}
		}
	}
	for name, text := range sources(t, ".js") {
		for _, icon := range references(text, `\bicon\('([a-z-]+)'`, `\biconButton\('([a-z-]+)'`, `\bbutton\('([a-z-]+)', '`, `setIcon\([^,]+, '([a-z-]+)'\)`) {
			if !slices.Contains(known, icon) {
				t.Errorf("%s shows the icon %s, which there is not", name, icon)
			}
		}
	}
}

func TestPagesHaveNothingInline(t *testing.T) {
	forbidden := map[string]string{
		`(?i)<script(?:\s[^>]*)?>[^<]`:                        "an inline script",
		`(?i)<script(?:\s+(?:type|defer)[^>]*)?>\s*</script>`: "a script without a source",
		`(?i)<style\b`:                        "an inline style sheet",
		`(?i)\sstyle\s*=`:                     "a style attribute",
		`(?i)<[^>]+\son[a-z]+\s*=`:            "an event attribute",
		`(?i)javascript:`:                     "a javascript: link",
		`(?i)(?:href|src)="(?:https?:)?//`:    "a link to another origin",
		`(?i)<(?:iframe|object|embed|base)\b`: "an element that loads or redirects others",
	}
	pages := sources(t, ".html")
	maps.Copy(pages, sources(t, ".svg"))
	for name, text := range pages {
		for expression, what := range forbidden {
			expression := regexp.MustCompile(expression)
			for _, match := range expression.FindAllString(text, -1) {
				if strings.Contains(match, " src=") && what == "a script without a source" {
					continue
				}
				t.Errorf("%s has %s: %q", name, what, match)
			}
		}
	}
}

func TestDataReachesPagesOnlyAsText(t *testing.T) {
	forbidden := []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "createContextualFragment", "DOMParser", "srcdoc", "eval(", "new Function", "setHTMLUnsafe", "setAttribute('style'", "cssText"}
	for name, text := range sources(t, ".js") {
		for _, word := range forbidden {
			if strings.Contains(text, word) {
				t.Errorf("%s uses %s", name, word)
			}
		}
	}
}

func TestTokensAreNeverRemembered(t *testing.T) {
	for name, text := range sources(t, ".js") {
		if base := path.Base(name); base != "prefs.js" && base != "early.js" && strings.Contains(text, "localStorage") {
			t.Errorf("%s uses localStorage; only prefs.js may, and it keeps no token", name)
		}
	}
}

func TestElementsThatModulesLookUpExist(t *testing.T) {
	// Modules that both pages load look up only what both pages have.
	pages := sources(t, ".html")
	ids := map[string][]string{}
	for name, text := range pages {
		ids[name] = references(text, `\sid="([^"]+)"`)
		seen := map[string]bool{}
		for _, id := range ids[name] {
			if seen[id] {
				t.Errorf("%s has the id %s twice", name, id)
			}
			seen[id] = true
		}
	}
	scripts := sources(t, ".js")
	for page, entry := range map[string]string{"pages/player.html": "player.js", "pages/admin.html": "admin.js"} {
		for _, module := range reachable(scripts, entry, nil) {
			for _, id := range references(scripts["assets/js/"+module], `byId\('([^']+)'\)`) {
				if !slices.Contains(ids[page], id) {
					t.Errorf("%s looks up #%s, which %s does not have", module, id, page)
				}
			}
		}
	}
}

// reachable gives a module and all that it imports, directly or not.
func reachable(scripts map[string]string, module string, seen []string) []string {
	if slices.Contains(seen, module) {
		return seen
	}
	seen = append(seen, module)
	for _, next := range references(scripts["assets/js/"+module], `from '\./([^']+)'`) {
		seen = reachable(scripts, next, seen)
	}
	return seen
}

func TestLabelsPointAtTheirFields(t *testing.T) {
	for name, text := range sources(t, ".html") {
		ids := references(text, `\sid="([^"]+)"`)
		for _, id := range references(text, `\sfor="([^"]+)"`, `aria-labelledby="([^"]+)"`, `aria-controls="([^"]+)"`, `aria-describedby="([^"]+)"`) {
			if !slices.Contains(ids, id) {
				t.Errorf("%s points at #%s, which there is not", name, id)
			}
		}
	}
}

func TestBothLanguagesSayEverything(t *testing.T) {
	scripts := sources(t, ".js")
	texts := func(name string) map[string]string {
		found := map[string]string{}
		for _, match := range regexp.MustCompile(`(?m)^  '([^']+)': '((?:[^'\\]|\\.)*)',$`).FindAllStringSubmatch(scripts["assets/js/i18n/"+name], -1) {
			if _, twice := found[match[1]]; twice {
				t.Errorf("%s says %s twice", name, match[1])
			}
			found[match[1]] = match[2]
		}
		return found
	}
	en, es := texts("en.js"), texts("es.js")
	if len(en) < 100 {
		t.Fatalf("only %d texts were read", len(en))
	}
	holes := func(text string) []string { return slices.Sorted(slices.Values(references(text, `(\{\w+\})`))) }
	for key, text := range en {
		if es[key] == "" {
			t.Errorf("%s is not said in Spanish", key)
		} else if !slices.Equal(holes(text), holes(es[key])) {
			t.Errorf("%s has other {names} in Spanish: %v and %v", key, holes(text), holes(es[key]))
		}
	}
	for key := range es {
		if en[key] == "" {
			t.Errorf("%s is not said in English", key)
		}
	}
	checkUse(t, en, scripts)
}

// checkUse compares the texts that there are with those that pages and modules use. A key that ends in a dot stands for all
// that begin with it.
func checkUse(t *testing.T, texts map[string]string, scripts map[string]string) {
	t.Helper()
	used := map[string]string{} // key -> where
	for name, text := range sources(t, ".html") {
		for _, key := range references(text, `data-i18n(?:-label|-placeholder)?="([^"]+)"`) {
			used[key] = name
		}
	}
	for name, text := range scripts {
		if strings.Contains(name, "/i18n/") {
			continue
		}
		for _, key := range references(text, `\btn\(\s*'([^']+)'`) {
			used[key+".one"], used[key+".other"] = name, name
		}
		// Any quoted word of the form of a key counts as used; keys given to t() must exist.
		for _, key := range references(text, `'([a-z][A-Za-z_]*(?:\.[A-Za-z_-]+)+)'`, `'([a-z][A-Za-z.]*\.)' \+`) {
			if _, ok := texts[key]; ok || strings.HasSuffix(key, ".") {
				used[key] = name
			}
		}
		for _, key := range references(text, `\bt\(\s*'([^']+)'`, `\bt\([^()']*\? '([^']+)' :`, `\bt\([^()]*\? '[^']+' : '([^']+)'`) {
			used[key] = name
		}
	}
	var prefixes []string
	for key, where := range used {
		if strings.HasSuffix(key, ".") {
			prefixes = append(prefixes, key)
			if !slices.ContainsFunc(slices.Collect(maps.Keys(texts)), func(k string) bool { return strings.HasPrefix(k, key) }) {
				t.Errorf("%s uses texts %s…, and there is none", where, key)
			}
		} else if texts[key] == "" {
			t.Errorf("%s uses the text %s, which there is not", where, key)
		}
	}
	for key := range texts {
		if used[key] == "" && !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			t.Errorf("the text %s is used nowhere", key)
		}
	}
}

func TestVendoredLibrariesHaveLicenceAndVersion(t *testing.T) {
	libraries, err := files.ReadDir("vendor")
	if err != nil {
		t.Fatal(err)
	}
	if len(libraries) == 0 {
		t.Fatal("nothing is vendored")
	}
	for _, library := range libraries {
		for _, name := range []string{"LICENSE.md", "VERSION"} {
			b, err := files.ReadFile(path.Join("vendor", library.Name(), name))
			if err != nil || len(b) == 0 {
				t.Errorf("%s has no %s (%v)", library.Name(), name, err)
			}
		}
	}
}

func TestNoFileIsTooLong(t *testing.T) {
	for _, ext := range []string{".js", ".css", ".html"} {
		for name, text := range sources(t, ext) {
			if n := strings.Count(text, "\n"); n > 600 {
				t.Errorf("%s has %d lines", name, n)
			}
		}
	}
}
