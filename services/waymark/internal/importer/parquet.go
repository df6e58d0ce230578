package importer

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/waymark-analytics/waymark/pkg/event"
)

// parquetColumn is a leaf of a Parquet file: a column, or a field of a struct by its dotted path, or the elements of a list.
type parquetColumn struct {
	name     string
	roles    []role
	repeated bool
	text     func(v parquet.Value) value
}

// readParquet reads the rows of all row groups. Row numbers stand in for lines. A file that is damaged ends with an error: the
// format has no bad rows that could be refused alone.
func readParquet(r io.ReaderAt, size int64, p *plan, emit emit) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("no readable Parquet file: %v", broken)
		}
	}()
	f, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return fmt.Errorf("no readable Parquet file: %w", err)
	}
	var header []string
	var columns []parquetColumn
	for _, path := range f.Schema().Columns() {
		leaf, ok := f.Schema().Lookup(path...)
		if !ok {
			return fmt.Errorf("no readable Parquet file: column %q has no type", strings.Join(path, "."))
		}
		name := columnName(path)
		header = append(header, name)
		columns = append(columns, parquetColumn{name: name, repeated: leaf.MaxRepetitionLevel > 0, text: parquetText(leaf.Node.Type(), p.m.Zone)})
	}
	if header, err = checkHeader(header, p); err != nil {
		return err
	}
	for i := range columns {
		columns[i].name, columns[i].roles = header[i], p.roles[header[i]]
	}
	line := int64(0)
	for _, group := range f.RowGroups() {
		rows := group.Rows()
		buf := make([]parquet.Row, 64)
		for {
			n, err := rows.ReadRows(buf)
			for _, r := range buf[:n] {
				line++
				if err := emit(parquetRow(r, line, columns, p)); err != nil {
					return errors.Join(err, rows.Close())
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return errors.Join(fmt.Errorf("row %d: %w", line+1, err), rows.Close())
			}
		}
		if err := rows.Close(); err != nil {
			return fmt.Errorf("row %d: %w", line, err)
		}
	}
	return nil
}

// columnName leaves out the levels that writers put around the elements of a list.
func columnName(path []string) string {
	for n := len(path); n >= 3 && path[n-2] == "list" && (path[n-1] == "element" || path[n-1] == "item"); n = len(path) {
		path = path[:n-2]
	}
	return strings.Join(path, ".")
}

func parquetRow(r parquet.Row, line int64, columns []parquetColumn, p *plan) row {
	p.begin()
	r.Range(func(i int, values []parquet.Value) bool {
		c := columns[i]
		if !c.repeated {
			v := value{kind: isNull}
			if !values[0].IsNull() {
				v = c.text(values[0])
			}
			p.column(c.name, c.roles, v)
			return true
		}
		list := []byte{'['}
		for _, element := range values {
			if element.IsNull() {
				continue
			}
			if len(list) > 1 {
				list = append(list, ',')
			}
			v := c.text(element)
			if v.kind == isScalar {
				list = append(list, v.text...)
			} else {
				list, _ = jsontext.AppendQuote(list, clean(v.text))
			}
		}
		if len(list) > 1 {
			p.column(c.name, c.roles, value{kind: isTree, text: string(append(list, ']'))})
		}
		return true
	})
	e, left, refused := p.finish()
	out := row{line: line, event: e, left: left, refused: refused}
	if refused != nil {
		out.raw = rawParquet(r, columns)
	} else if !left && e.SizeVT() > event.MaxBytes {
		out.refused = refuse(event.TooLarge, "%d bytes, an event has at most %d", e.SizeVT(), event.MaxBytes)
		out.raw = rawParquet(r, columns)
	}
	return out
}

// rawParquet shows a refused row, as JSON.
func rawParquet(r parquet.Row, columns []parquetColumn) []byte {
	var object []byte
	for _, v := range r {
		if c := columns[v.Column()]; !v.IsNull() && len(object) < event.MaxBytes {
			object = appendMember(object, c.name, c.text(v))
		}
	}
	object = closeObject(object)
	return object[:min(len(object), event.MaxBytes)]
}

// parquetText reads the values of a type as texts, whole numbers to their last digit.
func parquetText(t parquet.Type, zone *time.Location) func(v parquet.Value) value {
	if logical := t.LogicalType(); logical != nil {
		switch l := logical.Value.(type) {
		case *format.TimestampType:
			unit := time.Millisecond
			if l.Unit.Value != nil {
				unit = l.Unit.Value.Duration()
			}
			if l.IsAdjustedToUTC {
				zone = time.UTC
			}
			return func(v parquet.Value) value { return timestamp(v.Int64(), unit, zone) }
		case *format.DateType:
			return func(v parquet.Value) value {
				t := time.Unix(int64(v.Int32())*86400, 0).UTC()
				return value{kind: isTime, text: t.Format(time.DateOnly), at: t.UnixMilli()}
			}
		case *format.DecimalType:
			return func(v parquet.Value) value { return value{kind: isScalar, text: decimal(v, int(l.Scale))} }
		case *format.UUIDType:
			return func(v parquet.Value) value { return value{text: uuid(v.ByteArray())} }
		case *format.IntType:
			if !l.IsSigned {
				return func(v parquet.Value) value { return value{kind: isScalar, text: strconv.FormatUint(unsigned(v), 10)} }
			}
		}
	} else if c := t.ConvertedType(); c != nil {
		switch *c {
		case deprecated.TimestampMillis:
			return func(v parquet.Value) value { return timestamp(v.Int64(), time.Millisecond, time.UTC) }
		case deprecated.TimestampMicros:
			return func(v parquet.Value) value { return timestamp(v.Int64(), time.Microsecond, time.UTC) }
		}
	}
	return plainParquet
}

func plainParquet(v parquet.Value) value {
	switch v.Kind() {
	case parquet.Boolean:
		return value{kind: isScalar, text: strconv.FormatBool(v.Boolean())}
	case parquet.Int32:
		return value{kind: isScalar, text: strconv.FormatInt(int64(v.Int32()), 10)}
	case parquet.Int64:
		return value{kind: isScalar, text: strconv.FormatInt(v.Int64(), 10)}
	case parquet.Float:
		return float(float64(v.Float()), 32)
	case parquet.Double:
		return float(v.Double(), 64)
	case parquet.Int96: // nanoseconds of the day and the Julian day, as old writers give times
		i := v.Int96()
		day := int64(i[2]) - 2_440_588
		return timestamp(day*86_400_000+i.Int64()/1_000_000, time.Millisecond, time.UTC)
	case parquet.ByteArray, parquet.FixedLenByteArray:
	}
	text := v.ByteArray()
	if v.Kind() == parquet.FixedLenByteArray && !utf8.Valid(text) {
		return value{text: hex.EncodeToString(text)}
	}
	return value{text: string(text)}
}

func float(f float64, bits int) value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value{kind: isNull}
	}
	return value{kind: isScalar, text: strconv.FormatFloat(f, 'f', -1, bits)}
}

// timestamp is a count of units since 1970; of a zone other than UTC the clock on the wall there is counted.
func timestamp(n int64, unit time.Duration, zone *time.Location) value {
	perSecond := int64(time.Second / unit)
	t := time.Unix(n/perSecond, n%perSecond*int64(unit)).UTC()
	if zone != time.UTC {
		t = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
	}
	return value{kind: isTime, text: t.UTC().Format(time.RFC3339Nano), at: t.UnixMilli()}
}

func unsigned(v parquet.Value) uint64 {
	if v.Kind() == parquet.Int32 {
		return uint64(v.Uint32())
	}
	return v.Uint64()
}

func decimal(v parquet.Value, scale int) string {
	n := new(big.Int)
	switch v.Kind() {
	case parquet.Int32:
		n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		n.SetInt64(v.Int64())
	default: // two's complement, the highest byte first
		b := v.ByteArray()
		n.SetBytes(b)
		if len(b) > 0 && b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b)*8)))
		}
	}
	text := new(big.Int).Abs(n).String()
	if scale > 0 {
		if len(text) <= scale {
			text = strings.Repeat("0", scale-len(text)+1) + text
		}
		text = text[:len(text)-scale] + "." + text[len(text)-scale:]
	}
	if n.Sign() < 0 {
		text = "-" + text
	}
	return text
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	if len(h) != 32 {
		return h
	}
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
