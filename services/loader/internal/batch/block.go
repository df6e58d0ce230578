package batch

import (
	"github.com/ClickHouse/ch-go/proto"
)

// block is the columns of one table. They are kept and filled again for every batch.
type block struct {
	table string
	input proto.Input
}

func (b *block) rows() int { return b.input[0].Data.Rows() }

func (b *block) reset() {
	for _, column := range b.input {
		column.Data.(proto.Resettable).Reset()
	}
}

func add[C proto.ColInput](b *block, name string, column C) C {
	b.input = append(b.input, proto.InputColumn{Name: name, Data: column})
	return column
}

type (
	texts     = *proto.ColStr
	lows      = *proto.ColLowCardinality[string]
	times     = *proto.ColDateTime64
	lowLists  = *proto.ColArr[string]
	timeLists = *proto.ColArr[proto.DateTime64]
)

func (b *block) text(name string) texts { return add(b, name, new(proto.ColStr)) }
func (b *block) low(name string) lows   { return add(b, name, new(proto.ColStr).LowCardinality()) }
func (b *block) lowList(name string) lowLists {
	return add(b, name, new(proto.ColStr).LowCardinality().Array())
}

func (b *block) textList(name string) lowLists     { return add(b, name, new(proto.ColStr).Array()) }
func (b *block) int64(name string) *proto.ColInt64 { return add(b, name, new(proto.ColInt64)) }
func (b *block) uint64(name string) *proto.ColUInt64 {
	return add(b, name, new(proto.ColUInt64))
}
func (b *block) uint32(name string) *proto.ColUInt32 { return add(b, name, new(proto.ColUInt32)) }
func (b *block) uint16(name string) *proto.ColUInt16 { return add(b, name, new(proto.ColUInt16)) }
func (b *block) uint8(name string) *proto.ColUInt8   { return add(b, name, new(proto.ColUInt8)) }
func (b *block) int8(name string) *proto.ColInt8     { return add(b, name, new(proto.ColInt8)) }
func (b *block) bool(name string) *proto.ColBool     { return add(b, name, new(proto.ColBool)) }

func (b *block) time(name string) times {
	return add(b, name, new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli))
}

func (b *block) timeList(name string) timeLists {
	column := new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli)
	return add(b, name, proto.NewArray[proto.DateTime64](column.Raw()))
}

// millis is a time in UTC ms as its column holds it.
func millis(ms int64) proto.DateTime64 { return proto.DateTime64(ms) }

func millisList(ms []int64, room []proto.DateTime64) []proto.DateTime64 {
	room = room[:0]
	for _, t := range ms {
		room = append(room, millis(t))
	}
	return room
}
