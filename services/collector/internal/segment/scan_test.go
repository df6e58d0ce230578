package segment

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestWhatIsAnObject(t *testing.T) {
	for _, text := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":[1,2,{"b":null}],"c":-0.5e+10}`, `{"a":"\ud83d\ude00\u0000\n"}`, `{"":""}`, `{"a":1e999}`,
		`{"a":{"a":{"a":1}}}`, "{\"a\":\"\u00e4\U0001F600\"}", `{"a":0}`, `{"a":true,"b":false}`,
	} {
		if !ValidObject([]byte(text)) {
			t.Errorf("%s is refused", text)
		}
	}
	for _, text := range []string{
		``, `null`, `[]`, `"a"`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":1e}`,
		`{"a":tru}`, `{"a":nul}`, `{"a":NaN}`, `{"a":"\x41"}`, `{"a":"\u12g4"}`, `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\u0041"}`,
		"{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\xff\"}", "{\"\xc3\x28\":1}", `{"a":1}}`, `{"a":1} x`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":1 "b":2}`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"b":{"a":1,"b":1,"a":2}}`, `{"a":"`, `{"a":"\`, `{"a":"\u00`, `{/**/}`, "\xef\xbb\xbf{}",
	} {
		if ValidObject([]byte(text)) {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestKeysOfWideObjects(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"inner":{"k1":1}`)
	for i := range 500 {
		b.WriteString(`,"k` + strings.Repeat("x", i) + `":{"k":1}`)
	}
	if text := b.String() + `}`; !ValidObject([]byte(text)) {
		t.Error("500 different keys are refused")
	}
	if text := b.String() + `,"kxxx":2}`; ValidObject([]byte(text)) {
		t.Error("a key among 500 that stands twice is taken")
	}
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n)) }
	if !ValidObject(nested(MaxDepth)) {
		t.Errorf("%d levels are refused", MaxDepth)
	}
	if ValidObject(nested(MaxDepth + 1)) {
		t.Errorf("%d levels are taken", MaxDepth+1)
	}
	lists := []byte(`{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "}")
	if ValidObject(lists) {
		t.Error("1000 lists in each other are taken")
	}
}

// The scanner takes exactly the objects that a strict JSON parser takes, up to the depth; and a text's meaning is the same.
func FuzzScannerAgainstStrictParser(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":"\ud83d\ude00"}`, `{"a":1,"a":2}`, `{"a":[{},[],null,-1.5e3]}`, `{"a":"\u00`, "{\"a\":\"\xff\"}", `{"x":{"y":[{"z":{}}]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := ValidObject(text)
		v := jsontext.Value(text)
		want := v.IsValid() && v.Kind() == '{'
		if got && !want {
			t.Fatalf("%q is taken", text)
		}
		if want && !got && strings.Count(string(text), "{")+strings.Count(string(text), "[") <= MaxDepth {
			t.Fatalf("%q is refused", text)
		}
	})
}

func FuzzTextMeans(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\"\\/\b\f\n\r\t \U0001F600 \u2028")
	f.Fuzz(func(t *testing.T, text string) {
		quoted, err := jsontext.AppendQuote(nil, text)
		if err != nil {
			return // no UTF-8
		}
		s := scanner{b: quoted}
		inner, err := s.text()
		if err != nil {
			t.Fatalf("%s is refused: %v", quoted, err)
		}
		if got := string(unquote(nil, inner)); got != text {
			t.Fatalf("%s means %q, want %q", quoted, got, text)
		}
	})
}
