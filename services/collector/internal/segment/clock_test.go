package segment

import (
	"testing"
	"time"
)

func TestTimesAsSendersWriteThem(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 34, 56, 789e6, time.UTC).UnixMilli()
	whole := at - 789
	for text, want := range map[string]int64{
		"2026-11-24T12:34:56.789Z":              at,
		"2026-11-24T12:34:56.789123+00:00":      at,
		"2026-11-24T12:34:56.789999999Z":        at,
		"2026-11-24T12:34:56.7Z":                at - 89,
		"2026-11-24t12:34:56,789z":              at,
		"2026-11-24 12:34:56.789":               at,
		"2026-11-24T14:34:56.789+02:00":         at,
		"2026-11-24T05:04:56.789-0730":          at,
		"2026-11-24T13:34:56.789+01":            at,
		" 2026-11-24T12:34:56Z ":                whole,
		"2026-11-24T12:34Z":                     whole - 56_000,
		"2026-11-24":                            time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC).UnixMilli(),
		"2024-02-29":                            time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC).UnixMilli(),
		"2016-12-31T23:59:60Z":                  time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(),
		"1900-01-01T00:00:00Z":                  time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(),
		"0000-01-01":                            time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(),
		"9999-12-31T23:59:59.999Z":              lastMilli,
		"1795523696":                            whole,
		"1795523696789":                         at,
		"0":                                     0,
		"-5":                                    -5000,
		"99999999999":                           99999999999000,
		"100000000000":                          100000000000,
		"253402300799999":                       lastMilli,
		"2026-11-24T12:34:56.789 +00:00":        at,
		"2026-11-24T12:34:56.7890000000000000Z": at,
	} {
		if got, ok := parseTime(text); !ok || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, ok, want)
		}
	}
}

func TestNoTimes(t *testing.T) {
	for _, text := range []string{
		"", "now", "yesterday", "2026-13-01", "2026-02-30", "2025-02-29", "2026-00-10", "2026-11-00", "2026-11-24T24:00:00Z",
		"2026-11-24T12:60:00Z", "2026-11-24T12:34:61Z", "2026-11-24T", "2026-11-24T12", "2026-11-24T12:34:56.Z", "2026-11-24T12:34:56X",
		"2026-11-24T12:34:56+1", "2026-11-24T12:34:56+24:00", "2026-11-24T12:34:56+01:60", "2026-11-24T12:34:56+aa:00",
		"10000-01-01T00:00:00Z", "+010000-01-01T00:00:00.000Z", "9999-12-31T23:59:59-01:00", "253402300800000", "1.5e12", "1795523696.5",
		"99999999999999999999", "Tue, 24 Nov 2026 12:00:00 GMT", "2026/11/24", "24-11-2026 10:00", "--5", "2026-1-1T00:00:00Z", "２０２６-11-24",
	} {
		if got, ok := parseTime(text); ok {
			t.Errorf("%q is %d; want none", text, got)
		}
	}
}

// What Go writes is read back to the millisecond.
func FuzzTimeRoundTrip(f *testing.F) {
	f.Add(int64(0), 0)
	f.Add(int64(253402300799999), 120)
	f.Add(int64(-62135596800000), -720)
	f.Fuzz(func(t *testing.T, at int64, minutes int) {
		if at < -62135596800000 || at > lastMilli || minutes < -720 || minutes > 720 {
			return
		}
		local := time.UnixMilli(at).In(time.FixedZone("", minutes*60))
		if y := local.Year(); y < 0 || y > 9999 {
			return
		}
		text := local.Format("2006-01-02T15:04:05.000Z07:00")
		if got, ok := parseTime(text); !ok || got != at {
			t.Fatalf("%s is %d, %v; want %d", text, got, ok, at)
		}
	})
}
