// Package money reads amounts. Senders and files give them as decimals in major units; the product keeps integers in minor
// units, by the number of digits that ISO 4217 gives the currency. It is pure and exact: no floating point on the way.
package money

import "strings"

// Digits of the currencies that do not have two. Those without minor units in ISO 4217 (gold, test codes) are not listed.
var digits = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
	"UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

// Digits is the number of digits behind the point of a currency's amounts: two where the currency is unknown or empty.
func Digits(currency string) int {
	if n, ok := digits[currency]; ok {
		return n
	}
	if n, ok := digits[strings.ToUpper(currency)]; ok {
		return n
	}
	return 2
}

// Minor reads a decimal in major units ("19.99", "-5", "1.2e3") and returns it in minor units of the currency, rounded half
// away from zero. It is false if the text is no such number, or its amount does not fit.
func Minor(text, currency string) (int64, bool) { return Scaled(text, Digits(currency)) }

// Whole reads a decimal that is a whole number: "3", "3.0", "3e0", but not "3.5".
func Whole(text string) (int64, bool) {
	d, ok := parse(text)
	if !ok || d.digits(d.point) {
		return 0, false
	}
	return d.scaled(0)
}

// Scaled reads a decimal and returns it times 10 to the power of places, rounded half away from zero.
func Scaled(text string, places int) (int64, bool) {
	d, ok := parse(text)
	if !ok {
		return 0, false
	}
	return d.scaled(places)
}

// decimal is a number as written: the digits of text[from:to] (there may be one point among them), with the decimal point
// behind the point-th digit.
type decimal struct {
	text  string // digits and at most one point
	minus bool
	point int
}

// far is a bound on exponents beyond which nothing fits anyway; it keeps sums of them small.
const far = 1 << 20

func parse(text string) (decimal, bool) {
	d := decimal{text: strings.Trim(text, " \t\r\n")}
	if d.text != "" && (d.text[0] == '-' || d.text[0] == '+') {
		d.minus = d.text[0] == '-'
		d.text = d.text[1:]
	}
	exponent := 0
	if i := strings.IndexAny(d.text, "eE"); i >= 0 {
		var ok bool
		if exponent, ok = parseExponent(d.text[i+1:]); !ok {
			return d, false
		}
		d.text = d.text[:i]
	}
	count, point := 0, -1
	for i := range len(d.text) {
		switch c := d.text[i]; {
		case '0' <= c && c <= '9':
			count++
		case c == '.' && point < 0:
			point = count
		default:
			return d, false
		}
	}
	if point < 0 {
		point = count
	}
	d.point = point + exponent
	return d, count > 0
}

func parseExponent(text string) (int, bool) {
	minus := strings.HasPrefix(text, "-")
	if minus || strings.HasPrefix(text, "+") {
		text = text[1:]
	}
	n := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = min(n*10+int(text[i]-'0'), far)
	}
	if minus {
		n = -n
	}
	return n, text != ""
}

// digits says whether a digit other than 0 stands behind the first n.
func (d decimal) digits(n int) bool {
	for i := range len(d.text) {
		if d.text[i] == '.' {
			continue
		}
		if n--; n < 0 && d.text[i] != '0' {
			return true
		}
	}
	return false
}

func (d decimal) scaled(places int) (int64, bool) {
	const limit = int64(1) << 62 / 10 // leaves room for a digit and the rounding
	keep := d.point + places          // so many digits count; the next one rounds
	var n int64
	seen := 0
	for i := range len(d.text) {
		c := d.text[i]
		if c == '.' {
			continue
		}
		if seen == keep {
			if c >= '5' {
				n++
			}
			seen++
			break
		}
		if keep < 0 {
			break
		}
		if n > limit {
			return 0, false
		}
		n = n*10 + int64(c-'0')
		seen++
	}
	for ; seen < keep && n != 0; seen++ {
		if n > limit {
			return 0, false
		}
		n *= 10
	}
	if d.minus {
		n = -n
	}
	return n, true
}
