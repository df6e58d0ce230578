package importer

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waymark-analytics/waymark/pkg/event"
)

// readLines gives each line that is not empty to read, which turns it into a row.
func readLines(r io.Reader, read func(line []byte) row, emit emit) error {
	w := newWindow(r)
	for {
		number := w.line
		line, whole, err := w.readLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var out row
		if !whole || len(line) > event.MaxBytes {
			out.refused = refuse(event.TooLarge, "more than %d bytes", event.MaxBytes)
		} else {
			out = read(line)
		}
		out.line, out.raw = number, line[:min(len(line), event.MaxBytes)]
		if err := emit(out); err != nil {
			return err
		}
	}
}

// readNDJSON reads one JSON object a line. A column is a key, or a dotted path into objects where no key has that name.
func readNDJSON(r io.Reader, p *plan, emit emit) error {
	nested := map[string]bool{} // first parts of the paths that the mapping names
	for _, column := range p.m.columns() {
		if head, _, dotted := bytes.Cut([]byte(column), []byte{'.'}); dotted {
			nested[string(head)] = true
		}
	}
	return readLines(r, func(line []byte) row {
		p.begin()
		if err := p.object(line, nested); err != nil {
			return row{refused: refuse(event.BadJSON, "%v", err)}
		}
		e, left, refused := p.finish()
		return row{event: e, left: left, refused: refused}
	}, emit)
}

func (p *plan) object(line []byte, nested map[string]bool) error {
	return members(line, func(name string, raw jsontext.Value) error {
		p.column(name, p.use(name), jsonValue(raw))
		if nested[name] && raw.Kind() == '{' {
			return p.deeper(name, raw)
		}
		return nil
	})
}

// deeper looks for the mapping's dotted paths. The object itself is among the properties already.
func (p *plan) deeper(path string, object jsontext.Value) error {
	return members(object, func(name string, raw jsontext.Value) error {
		at := path + "." + name
		if roles := p.use(at); len(roles) > 0 {
			p.column(at, roles, jsonValue(raw))
		}
		if raw.Kind() == '{' {
			return p.deeper(at, raw)
		}
		return nil
	})
}

// use is the roles of a column of a file without a header; that it was seen is remembered.
func (p *plan) use(column string) []role {
	roles := p.roles[column]
	if len(roles) > 0 && !p.seen[column] {
		p.seen[column] = true
	}
	return roles
}

// members calls f for each member of a JSON object, and wants nothing behind it. Values are void after f returns.
func members(text []byte, f func(name string, raw jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	t, err := d.ReadToken()
	if err != nil {
		return err //nolint:wrapcheck // says where itself
	}
	if t.Kind() != '{' {
		return errors.New("expected a JSON object")
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err //nolint:wrapcheck // says where itself
		}
		key := name.String()
		raw, err := d.ReadValue()
		if err != nil {
			return err //nolint:wrapcheck // says where itself
		}
		if err := f(key, raw); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err //nolint:wrapcheck // says where itself
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("text behind the JSON object")
	}
	return nil
}

func jsonValue(raw jsontext.Value) value {
	switch raw.Kind() {
	case 'n':
		return value{kind: isNull}
	case '"':
		text, _ := jsontext.AppendUnquote(nil, raw)
		return value{text: string(text)}
	case '{', '[':
		return value{kind: isTree, text: string(raw)}
	}
	return value{kind: isScalar, text: string(raw)}
}
