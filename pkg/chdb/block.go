package chdb

import "github.com/ClickHouse/ch-go/proto"

// Block is the columns of one table, filled row by row and sent at once. It is kept and filled again: after Reset it has no
// rows, and its columns keep their memory. Short texts of Low columns are not copied until the block is sent.
type Block struct {
	Table string // in database Store

	input proto.Input
}

// NewBlock is a block without columns.
func NewBlock(table string) *Block { return &Block{Table: table} }

// Rows is the number of rows.
func (b *Block) Rows() int { return b.input[0].Data.Rows() }

// Reset empties the block.
func (b *Block) Reset() {
	for _, column := range b.input {
		column.Data.(proto.Resettable).Reset()
	}
}

// Text is a column of texts.
type Text = proto.ColStr

// Low is a column of texts of which there are few.
type Low = proto.ColLowCardinality[string]

// Int8 is a column of numbers.
type Int8 = proto.ColInt8

// Int64 is a column of numbers.
type Int64 = proto.ColInt64

// UInt8 is a column of numbers.
type UInt8 = proto.ColUInt8

// UInt16 is a column of numbers.
type UInt16 = proto.ColUInt16

// UInt32 is a column of numbers.
type UInt32 = proto.ColUInt32

// UInt64 is a column of numbers.
type UInt64 = proto.ColUInt64

// Bool is a column of yes or no.
type Bool = proto.ColBool

// TextList is a column of lists of texts.
type TextList = proto.ColArr[string]

// List is a column of lists.
type List[T any] = proto.ColArr[T]

// Time is a column of times.
type Time struct{ column *proto.ColDateTime64 }

// Append adds a time in UTC ms.
func (t Time) Append(ms int64) { t.column.AppendRaw(proto.DateTime64(ms)) }

// TimeList is a column of lists of times.
type TimeList struct {
	column *proto.ColArr[proto.DateTime64]
	room   []proto.DateTime64
}

// Append adds a list of times in UTC ms.
func (t *TimeList) Append(ms []int64) {
	t.room = t.room[:0]
	for _, m := range ms {
		t.room = append(t.room, proto.DateTime64(m))
	}
	t.column.Append(t.room)
}

func add[C proto.ColInput](b *Block, name string, column C) C {
	b.input = append(b.input, proto.InputColumn{Name: name, Data: column})
	return column
}

// Text adds a column of texts.
func (b *Block) Text(name string) *Text { return add(b, name, new(proto.ColStr)) }

// Low adds a column of texts of which there are few.
func (b *Block) Low(name string) *Low { return add(b, name, new(proto.ColStr).LowCardinality()) }

// Int8 adds a column.
func (b *Block) Int8(name string) *Int8 { return add(b, name, new(Int8)) }

// Int64 adds a column.
func (b *Block) Int64(name string) *Int64 { return add(b, name, new(Int64)) }

// UInt8 adds a column.
func (b *Block) UInt8(name string) *UInt8 { return add(b, name, new(UInt8)) }

// UInt16 adds a column.
func (b *Block) UInt16(name string) *UInt16 { return add(b, name, new(UInt16)) }

// UInt32 adds a column.
func (b *Block) UInt32(name string) *UInt32 { return add(b, name, new(UInt32)) }

// UInt64 adds a column.
func (b *Block) UInt64(name string) *UInt64 { return add(b, name, new(UInt64)) }

// Bool adds a column.
func (b *Block) Bool(name string) *Bool { return add(b, name, new(Bool)) }

// Time adds a column of times with milliseconds.
func (b *Block) Time(name string) Time {
	return Time{add(b, name, new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli))}
}

// TextLists adds a column of lists of texts.
func (b *Block) TextLists(name string) *TextList { return add(b, name, new(proto.ColStr).Array()) }

// LowLists adds a column of lists of texts of which there are few.
func (b *Block) LowLists(name string) *TextList {
	return add(b, name, new(proto.ColStr).LowCardinality().Array())
}

// TimeLists adds a column of lists of times.
func (b *Block) TimeLists(name string) *TimeList {
	column := new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli)
	return &TimeList{column: add(b, name, proto.NewArray[proto.DateTime64](column.Raw()))}
}

// BoolLists adds a column of lists.
func (b *Block) BoolLists(name string) *List[bool] { return add(b, name, new(Bool).Array()) }

// UInt8Lists adds a column of lists.
func (b *Block) UInt8Lists(name string) *List[uint8] { return add(b, name, new(UInt8).Array()) }

// UInt16Lists adds a column of lists.
func (b *Block) UInt16Lists(name string) *List[uint16] { return add(b, name, new(UInt16).Array()) }

// UInt32Lists adds a column of lists.
func (b *Block) UInt32Lists(name string) *List[uint32] { return add(b, name, new(UInt32).Array()) }

// UInt64Lists adds a column of lists.
func (b *Block) UInt64Lists(name string) *List[uint64] { return add(b, name, new(UInt64).Array()) }

// Int64Lists adds a column of lists.
func (b *Block) Int64Lists(name string) *List[int64] { return add(b, name, new(Int64).Array()) }

// TextLists2 adds a column of lists of lists of texts.
func (b *Block) TextLists2(name string) *List[[]string] {
	return add(b, name, proto.NewArray(new(proto.ColStr).Array()))
}

// TextLists3 adds a column of lists of lists of lists of texts.
func (b *Block) TextLists3(name string) *List[[][]string] {
	return add(b, name, proto.NewArray(proto.NewArray(new(proto.ColStr).Array())))
}
