package httpapi

import "testing"

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[2Jb\rc\td":               "a[2Jbc d",
		"x\u202egpj.exe\u2066y\u200fz":  "xgpj.exeyz", // would show the letters in another order
		"ana \u0085\u009b \xff\nmúsica": "ana  ?música",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
