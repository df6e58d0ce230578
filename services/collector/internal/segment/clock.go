package segment

import "time"

// lastMilli is the last millisecond of the year 9999: what comes later is no time.
const lastMilli = 253402300799999

// parseTime reads a time as senders write it and returns it as UTC milliseconds, finer digits cut off: ISO 8601 with T, t or a
// space, or the date alone; a zone as Z, +hh:mm, +hhmm or +hh, without one UTC; or a whole number, of seconds since 1970 where
// it is below 10^11, else of milliseconds. It is false for anything else and for years beyond 9999; times before 1970 are
// negative.
func parseTime(s string) (int64, bool) {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	if len(s) < 10 || s[4] != '-' {
		return parseUnix(s)
	}
	year, ok1 := number(s[0:4])
	month, ok2 := number(s[5:7])
	day, ok3 := number(s[8:10])
	if !ok1 || !ok2 || !ok3 || s[7] != '-' || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	var hour, minute, second, milli int
	rest := s[10:]
	if rest != "" {
		if rest[0] != 'T' && rest[0] != 't' && rest[0] != ' ' {
			return 0, false
		}
		var ok bool
		if hour, minute, second, milli, rest, ok = parseClock(rest[1:]); !ok {
			return 0, false
		}
	}
	zone, ok := parseZone(rest)
	if !ok {
		return 0, false
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, milli*1e6, time.UTC).UnixMilli() - zone
	return at, at <= lastMilli
}

func parseClock(s string) (hour, minute, second, milli int, rest string, ok bool) {
	if len(s) < 5 || s[2] != ':' {
		return
	}
	hour, ok1 := number(s[0:2])
	minute, ok2 := number(s[3:5])
	rest = s[5:]
	ok3 := true
	if rest != "" && rest[0] == ':' {
		if len(rest) < 3 {
			return
		}
		second, ok3 = number(rest[1:3])
		rest = rest[3:]
		if rest != "" && (rest[0] == '.' || rest[0] == ',') {
			i, unit := 1, 100
			for ; i < len(rest) && '0' <= rest[i] && rest[i] <= '9'; i++ {
				milli += int(rest[i]-'0') * unit
				unit /= 10
			}
			if i == 1 {
				return
			}
			rest = rest[i:]
		}
	}
	// Second 60 is a leap second; it becomes the next minute's first.
	ok = ok1 && ok2 && ok3 && hour < 24 && minute < 60 && second <= 60
	return hour, minute, second, milli, rest, ok
}

// parseZone reads a zone and returns how far it is ahead of UTC, in milliseconds.
func parseZone(s string) (int64, bool) {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	sign := int64(1)
	switch s[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	s = s[1:]
	if len(s) == 5 && s[2] == ':' {
		s = s[:2] + s[3:]
	}
	minutes := 0
	switch len(s) {
	case 2:
	case 4:
		var ok bool
		if minutes, ok = number(s[2:4]); !ok || minutes > 59 {
			return 0, false
		}
	default:
		return 0, false
	}
	hours, ok := number(s[:2])
	if !ok || hours > 23 {
		return 0, false
	}
	return sign * int64(hours*60+minutes) * 60000, true
}

func parseUnix(s string) (int64, bool) {
	minus := len(s) > 0 && s[0] == '-'
	if minus {
		s = s[1:]
	}
	n, ok := number(s)
	if !ok {
		return 0, false
	}
	at := int64(n)
	if at < 1e11 {
		at *= 1000
	}
	if minus {
		at = -at
	}
	return at, at <= lastMilli
}

// number reads up to 17 decimal digits.
func number(s string) (n int, ok bool) {
	if s == "" || len(s) > 17 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
