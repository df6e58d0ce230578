package money_test

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/waymark-analytics/waymark/pkg/money"
)

func TestMinorByTheCurrencysDigits(t *testing.T) {
	for _, c := range []struct {
		text, currency string
		want           int64
	}{
		{"19.99", "EUR", 1999},
		{"19.9", "USD", 1990},
		{"19", "", 1900},
		{"19.99", "jpy", 20},
		{"1500", "JPY", 1500},
		{"1.2345", "KWD", 1235},
		{"1.2345", "CLF", 12345},
		{"1.005", "XYZ", 101},
		{"-1.005", "EUR", -101},
		{"-0.004", "EUR", 0},
		{"19.990000000000002", "EUR", 1999},
		{"1.2e3", "EUR", 120000},
		{"12E-1", "EUR", 120},
		{"5e-3", "EUR", 1},
		{"5e-4", "EUR", 0},
		{"+7.", "EUR", 700},
		{".5", "EUR", 50},
		{" 12.50 ", "EUR", 1250},
		{"0e999999999999", "EUR", 0},
		{"1e-999999999999", "EUR", 0},
		{"000000000000000000000000000000.10", "EUR", 10},
	} {
		if got, ok := money.Minor(c.text, c.currency); !ok || got != c.want {
			t.Errorf("Minor(%q, %q) = %d, %v; want %d", c.text, c.currency, got, ok, c.want)
		}
	}
}

func TestNoAmount(t *testing.T) {
	for _, text := range []string{"", " ", "-", ".", "e3", "1e", "1e+", "1,299.00", "$5", "0x10", "1.2.3", "NaN", "Infinity", "1e400", "99999999999999999999", "1 2", "--1"} {
		if got, ok := money.Minor(text, "EUR"); ok {
			t.Errorf("Minor(%q) = %d; want none", text, got)
		}
	}
}

func TestWhole(t *testing.T) {
	for text, want := range map[string]int64{"3": 3, "3.0": 3, "3e0": 3, "30e-1": 3, "-2": -2, "0.00": 0, "1e2": 100} {
		if got, ok := money.Whole(text); !ok || got != want {
			t.Errorf("Whole(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"3.5", "1e-1", "", "three"} {
		if got, ok := money.Whole(text); ok {
			t.Errorf("Whole(%q) = %d; want none", text, got)
		}
	}
}

// Minor agrees with exact rational arithmetic wherever it gives a number.
func TestMinorIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,9}(\.[0-9]{0,12})?(e-?[0-9]{1,2})?`).Draw(t, "text")
		places := rapid.IntRange(0, 4).Draw(t, "places")
		got, ok := money.Scaled(text, places)
		exact, valid := new(big.Rat).SetString(text)
		if !valid {
			t.Fatalf("%q is no number", text)
		}
		scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil))
		exact.Mul(exact, scale)
		half := big.NewRat(1, 2)
		minus := exact.Sign() < 0
		exact.Abs(exact).Add(exact, half)
		want := new(big.Int).Quo(exact.Num(), exact.Denom())
		if minus {
			want.Neg(want)
		}
		if !ok {
			if want.BitLen() < 58 {
				t.Fatalf("Scaled(%q, %d) gives none; want %s", text, places, want)
			}
			return
		}
		if want.Cmp(big.NewInt(got)) != 0 {
			t.Fatalf("Scaled(%q, %d) = %d; want %s", text, places, got, want)
		}
	})
}
