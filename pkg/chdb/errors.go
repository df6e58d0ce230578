package chdb

import (
	"errors"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
)

// exceptionCode is the server's code in an error of clickhouse-go.
func exceptionCode(err error) (proto.Error, bool) {
	var e *clickhouse.Exception
	if errors.As(err, &e) {
		return proto.Error(e.Code), true
	}
	return 0, false
}
