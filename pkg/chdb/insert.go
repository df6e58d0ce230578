package chdb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"go.uber.org/zap"
)

// Insert writes a block in one insert; the token makes it repeatable: another insert into the table with the same token,
// whatever its rows, is dropped. After an error whether the rows are stored is unknown, unless the server said no: the same
// insert may follow.
func (db *DB) Insert(ctx context.Context, b *Block, token string) error {
	if b.Rows() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, db.c.ReadTimeout)
	defer cancel()
	conn, err := db.inserter(ctx)
	if err != nil {
		return fmt.Errorf("insert into %s: %w", b.Table, err)
	}
	names := make([]string, 0, len(b.input))
	for _, column := range b.input {
		names = append(names, "`"+column.Name+"`")
	}
	q := ch.Query{
		Body:  "INSERT INTO " + Store + "." + b.Table + " (" + strings.Join(names, ", ") + ") VALUES",
		Input: b.input,
	}
	if token != "" {
		q.Settings = append(q.Settings, ch.Setting{Key: "insert_deduplication_token", Value: token, Important: true})
	}
	if err := conn.client.Do(ctx, q); err != nil {
		_ = conn.close() // what is left on the wire is unknown
		return fmt.Errorf("insert into %s: %w", b.Table, err)
	}
	select {
	case db.inserts <- conn:
	default:
		_ = conn.close()
	}
	return nil
}

type inserter struct{ client *ch.Client }

func (i *inserter) close() error { return i.client.Close() }

func (db *DB) inserter(ctx context.Context) (*inserter, error) {
	for {
		select {
		case in := <-db.inserts:
			if !in.client.IsClosed() {
				return in, nil
			}
			continue
		default:
		}
		break
	}
	o := ch.Options{
		Logger: zap.NewNop(), Address: db.c.Addr, User: db.c.User, Password: db.c.Password, ClientName: "waymark",
		ReadTimeout: db.c.ReadTimeout, DialTimeout: db.c.DialTimeout, HandshakeTimeout: db.c.ReadTimeout,
	}
	if db.c.Compress {
		o.Compression = ch.CompressionLZ4
	}
	for name, value := range db.settings {
		o.Settings = append(o.Settings, ch.Setting{Key: name, Value: fmt.Sprint(value), Important: true})
	}
	client, err := ch.Dial(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", db.c.Addr, err)
	}
	return &inserter{client: client}, nil
}

// Drop closes the idle insert connections, so that the next inserts dial anew: after the server has gone.
func (db *DB) Drop() {
	for {
		select {
		case in := <-db.inserts:
			_ = in.close()
		default:
			return
		}
	}
}

// Class says what to do about an error of the server.
type Class int

// The classes.
const (
	Retryable     Class = iota + 1 // wait and do the same again
	Configuration                  // an operator must change something first
	Poison                         // these rows will never be taken
)

// String names the class.
func (c Class) String() string {
	return [...]string{"unknown", "retryable", "configuration", "poison"}[c]
}

// Codes with which a server says that it is set up otherwise than this program expects, or lets it in otherwise.
var configuration = []proto.Error{
	16,  // no such column in table
	36,  // bad arguments
	46,  // unknown function
	47,  // unknown identifier
	50,  // unknown type
	53,  // type mismatch
	60,  // unknown table
	62,  // syntax error
	81,  // unknown database
	115, // unknown setting
	164, // readonly
	192, // unknown user
	193, // wrong password
	194, // required password
	291, // database access denied
	497, // access denied
	516, // authentication failed
}

// Codes that blame the data of a block.
var poison = []proto.Error{
	6, 27, 32, 33, 38, 41, 69, 70, 72, // parsing and conversion
	117, // incorrect data
	131, // too large string
	190, // sizes of arrays do not match
	321, // value is out of range
	349, // cannot insert NULL
	469, // violated constraint
}

// ClassOf says what to do about an error. Whatever is not known to be otherwise is retryable: waiting loses nothing.
func ClassOf(err error) Class {
	var code proto.Error
	if e, ok := ch.AsException(err); ok {
		code = e.Code
	} else if c, ok := exceptionCode(err); ok {
		code = c
	}
	switch {
	case slices.Contains(configuration, code):
		return Configuration
	case slices.Contains(poison, code):
		return Poison
	}
	return Retryable
}
