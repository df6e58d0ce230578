package chdb_test

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

func logger(t *testing.T) *zap.Logger { return zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)) }
