package chdb

import (
	"errors"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
)

// exceptionCode is the server's code in an error of clickhouse-go.
func exceptionCode(err error) (proto.Error, bool) {
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return proto.Error(e.Code), true
	}
	return 0, false
}
