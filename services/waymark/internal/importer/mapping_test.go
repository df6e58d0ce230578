package importer

import (
	"strings"
	"testing"
)

func TestMappingProblemsAreNamedWithTheirLines(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", plainMapping + "user: x\n", `user: unknown key`},
		{"near key", plainMapping + "anonymus_id: x\n", `did you mean "anonymous_id"?`},
		{"line", plainMapping + "\n\nfield: {}\n", `line 9: field: unknown key; did you mean "fields"?`},
		{"twice", plainMapping + "time: x\n", `time: given twice`},
		{"near field", plainMapping + "fields: {commerce.product: x, context.devise: y, device: z, chanel: c}\n", `did you mean "context.device"?`},
		{"near top field", plainMapping + "fields: {chanel: c}\n", `did you mean "channel"?`},
		{"own key as field", plainMapping + "fields: {user_id: c}\n", `is a key of the mapping itself`},
		{"no project", "time: a\nuser_id: b\nname: c\n", `project: is missing`},
		{"no id", "project: p\ntime: a\nname: c\n", `user_id: neither`},
		{"format", plainMapping + "format: xml\n", `format: "xml": expected csv, ndjson or parquet`},
		{"zone", plainMapping + "time_zone: Mars\n", `time_zone: "Mars" is no time zone`},
		{"layout", strings.Replace(plainMapping, "unix", "unixms", 1), `did you mean "unix_ms"?`},
		{"delimiter", plainMapping + "delimiter: ';;'\n", `delimiter: ";;": expected one`},
		{"no map", "- a\n", `a mapping is a YAML map`},
		{"no yaml", "a: [\n", `yaml`},
		{"where", plainMapping + "where: {a: {b: c}}\n", `where.a: expected a value or a list`},
		{"currency", plainMapping + "currency: Euro\n", `currency: "Euro" is no currency`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseMapping([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func TestMappingValuesStayTexts(t *testing.T) {
	m, err := ParseMapping([]byte(plainMapping + "names: {010: yes, true: 1.50}\nwhere: {a: 007, b: [no, 1e3]}\ndelimiter: '\\t'\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Names["010"] != "yes" || m.Names["true"] != "1.50" || m.Where["a"][0] != "007" || m.Where["b"][1] != "1e3" || m.Delimiter != '\t' {
		t.Errorf("mapping %+v", m)
	}
}

func TestTimesOfAllForms(t *testing.T) {
	for _, c := range []struct {
		format, text string
		want         int64 // -1: refused
	}{
		{"rfc3339", "2016-08-01T10:10:45.123Z", 1470046245123},
		{"rfc3339", "2016-08-01T12:10:45+02:00", 1470046245000},
		{"rfc3339", "2016-08-01 10:10:45", 1470046245000},
		{"unix", "1470046245", 1470046245000},
		{"unix", "1470046245.1239", 1470046245124},
		{"unix", "1.470046245e9", 1470046245000},
		{"unix_ms", " 1470046245123 ", 1470046245123},
		{"02/01/2006 15:04", "01/08/2016 10:10", 1470046200000},
		{"unix", "-1", -1},
		{"unix", "", -1},
		{"unix", "99999999999999999999", -1},
		{"unix_ms", "253402300800000", -1},
		{"rfc3339", "1900-01-01T00:00:00Z", -1},
		{"rfc3339", "yesterday", -1},
	} {
		m, err := ParseMapping([]byte(strings.Replace(plainMapping, "unix", c.format, 1)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := newPlan(m, nil).timeOf(value{text: c.text})
		if err != nil {
			got = -1
		}
		if got != c.want {
			t.Errorf("%s of form %s is %d, want %d (%v)", c.text, c.format, got, c.want, err)
		}
	}
}
