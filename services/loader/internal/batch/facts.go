package batch

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// sessionBlock is the columns of `sessions`.
type sessionBlock struct {
	block
	project, person, sessionID, entry, exit, referrer         texts
	startedAt, endedAt                                        times
	sign                                                      *proto.ColInt8
	version                                                   *proto.ColUInt64
	number, events, pageViews, adds, removes, orders          *proto.ColUInt32
	campaign, campaignSource, campaignMedium, channel, device lows
	browser, country, app, stageStart, stageEnd, rules        lows
	steps, funnels, currencies, flags                         lowLists
	stepTimes                                                 timeLists
	furthest                                                  *proto.ColArr[uint8]
	amounts                                                   *proto.ColArr[int64]
	abandoned, runaway, bot                                   *proto.ColBool
	partition                                                 *proto.ColUInt16
	offset                                                    *proto.ColInt64
	hex                                                       []byte
	times                                                     []proto.DateTime64
	places                                                    []uint8
}

func newSessionBlock() *sessionBlock {
	b := &sessionBlock{block: block{table: "sessions"}}
	b.project, b.person, b.startedAt, b.sessionID = b.text("project"), b.text("person"), b.time("started_at"), b.text("session_id")
	b.sign, b.version, b.number, b.endedAt = b.int8("sign"), b.uint64("version"), b.uint32("number"), b.time("ended_at")
	b.events, b.pageViews = b.uint32("events"), b.uint32("page_views")
	b.entry, b.exit, b.referrer = b.text("entry_page"), b.text("exit_page"), b.text("referrer")
	b.campaign, b.campaignSource, b.campaignMedium = b.low("campaign"), b.low("campaign_source"), b.low("campaign_medium")
	b.channel, b.device, b.browser, b.country, b.app = b.low("channel"), b.low("device"), b.low("browser"), b.low("country"), b.low("app_version")
	b.steps, b.stepTimes = b.lowList("steps"), b.timeList("step_times")
	b.funnels, b.furthest = b.lowList("furthest_funnels"), add(&b.block, "furthest_steps", new(proto.ColUInt8).Array())
	b.stageStart, b.stageEnd = b.low("stage_start"), b.low("stage_end")
	b.adds, b.removes, b.abandoned, b.orders = b.uint32("cart_adds"), b.uint32("cart_removes"), b.bool("abandoned"), b.uint32("orders")
	b.currencies, b.amounts = b.lowList("revenue_currencies"), add(&b.block, "revenue_amounts", new(proto.ColInt64).Array())
	b.runaway, b.bot, b.flags, b.rules = b.bool("runaway"), b.bool("bot"), b.lowList("flags"), b.low("rule_version")
	b.partition, b.offset = b.uint16("_partition"), b.int64("_offset")
	return b
}

func (b *sessionBlock) append(s *facts.Session, partition int32, offset int64) {
	b.project.Append(s.Project)
	b.person.Append(s.Person)
	b.startedAt.AppendRaw(millis(s.StartedAt))
	b.hex = hex.AppendEncode(b.hex[:0], s.SessionId)
	b.sessionID.AppendBytes(b.hex)
	b.sign.Append(int8(s.Sign))
	b.version.Append(s.Version)
	b.number.Append(s.Number)
	b.endedAt.AppendRaw(millis(s.EndedAt))
	b.events.Append(s.Events)
	b.pageViews.Append(s.PageViews)
	b.entry.Append(s.EntryPage)
	b.exit.Append(s.ExitPage)
	b.referrer.Append(s.Referrer)
	b.campaign.Append(s.Campaign)
	b.campaignSource.Append(s.CampaignSource)
	b.campaignMedium.Append(s.CampaignMedium)
	b.channel.Append(s.Channel)
	b.device.Append(s.Device)
	b.browser.Append(s.Browser)
	b.country.Append(s.Country)
	b.app.Append(s.AppVersion)
	b.steps.Append(s.Steps)
	b.times = millisList(s.StepTimes, b.times)
	b.stepTimes.Append(b.times)
	b.funnels.Append(s.FurthestFunnels)
	b.places = b.places[:0]
	for _, step := range s.FurthestSteps {
		b.places = append(b.places, uint8(step))
	}
	b.furthest.Append(b.places)
	b.stageStart.Append(s.StageStart)
	b.stageEnd.Append(s.StageEnd)
	b.adds.Append(s.CartAdds)
	b.removes.Append(s.CartRemoves)
	b.abandoned.Append(s.Abandoned)
	b.orders.Append(s.Orders)
	b.currencies.Append(s.RevenueCurrencies)
	b.amounts.Append(s.RevenueAmounts)
	b.runaway.Append(s.Runaway)
	b.bot.Append(s.Bot)
	b.flags.Append(s.Flags)
	b.rules.Append(s.RuleVersion)
	b.partition.Append(uint16(partition))
	b.offset.Append(offset)
}

// entrantBlock is the columns of `entrants`.
type entrantBlock struct {
	block
	project, funnel, person, sessionID             texts
	scope, channel, device, country, campaign, app lows
	startedAt                                      times
	sign                                           *proto.ColInt8
	version                                        *proto.ColUInt64
	furthest                                       *proto.ColUInt8
	reached                                        *proto.ColArr[uint8]
	reachedAt                                      timeLists
	partition                                      *proto.ColUInt16
	offset                                         *proto.ColInt64
	hex                                            []byte
	places                                         []uint8
	times                                          []proto.DateTime64
}

func newEntrantBlock() *entrantBlock {
	b := &entrantBlock{block: block{table: "entrants"}}
	b.project, b.funnel, b.scope, b.person = b.text("project"), b.text("funnel"), b.low("scope"), b.text("person")
	b.startedAt, b.sessionID, b.sign, b.version = b.time("started_at"), b.text("session_id"), b.int8("sign"), b.uint64("version")
	b.furthest, b.reached, b.reachedAt = b.uint8("furthest"), add(&b.block, "step_nos", new(proto.ColUInt8).Array()), b.timeList("times")
	b.channel, b.device, b.country, b.campaign, b.app = b.low("channel"), b.low("device"), b.low("country"), b.low("campaign"), b.low("app_version")
	b.partition, b.offset = b.uint16("_partition"), b.int64("_offset")
	return b
}

// append adds an entrant. It fails for one that its funnel's definition cannot have, which is a fault of the writer.
func (b *entrantBlock) append(def *facts.FunnelDef, e *facts.Entrant, partition int32, offset int64) error {
	if int(e.Furthest) != len(e.At) || len(e.OptionalSteps) != len(e.OptionalAt) {
		return fmt.Errorf("entrant in funnel %s: %d steps with %d times", def.Name, e.Furthest, len(e.At))
	}
	b.places, b.times = b.places[:0], b.times[:0]
	required, furthest := 0, 0
	for i, step := range def.Steps {
		at, ok := int64(0), false
		if step.Optional {
			for k, index := range e.OptionalSteps {
				if int(index) == i {
					at, ok = e.OptionalAt[k], true
				}
			}
		} else {
			if required < len(e.At) {
				at, ok, furthest = e.At[required], true, i+1
			}
			required++
		}
		if ok {
			b.places, b.times = append(b.places, uint8(i+1)), append(b.times, millis(at))
		}
	}
	if int(e.Furthest) > required {
		return fmt.Errorf("entrant in funnel %s: reached %d of %d steps", def.Name, e.Furthest, required)
	}
	b.project.Append(def.Project)
	b.funnel.Append(def.Name)
	b.scope.Append(def.Scope)
	b.person.Append(e.Person)
	b.startedAt.AppendRaw(millis(e.StartedAt))
	b.hex = hex.AppendEncode(b.hex[:0], e.SessionId)
	b.sessionID.AppendBytes(b.hex)
	b.sign.Append(int8(e.Sign))
	b.version.Append(e.Version)
	b.furthest.Append(uint8(furthest))
	b.reached.Append(b.places)
	b.reachedAt.Append(b.times)
	b.channel.Append(e.Channel)
	b.device.Append(e.Device)
	b.country.Append(e.Country)
	b.campaign.Append(e.Campaign)
	b.app.Append(e.AppVersion)
	b.partition.Append(uint16(partition))
	b.offset.Append(offset)
	return nil
}

// moveBlock is the columns of `events_moved`.
type moveBlock struct {
	block
	partition                             *proto.ColUInt16
	offset, version                       *proto.ColInt64
	project, oldPerson, person, sessionID texts
	occurredAt                            times
	hex                                   []byte
}

func newMoveBlock() *moveBlock {
	b := &moveBlock{block: block{table: "events_moved"}}
	b.partition, b.offset, b.project, b.occurredAt = b.uint16("_partition"), b.int64("_offset"), b.text("project"), b.time("occurred_at")
	b.oldPerson, b.person, b.sessionID, b.version = b.text("old_person"), b.text("person"), b.text("session_id"), b.int64("version")
	return b
}

func (b *moveBlock) append(m *facts.Move, partition int32) {
	b.partition.Append(uint16(partition))
	b.offset.Append(m.Offset)
	b.project.Append(m.Project)
	b.occurredAt.AppendRaw(millis(m.OccurredAt))
	b.oldPerson.Append(m.OldPerson)
	b.person.Append(m.Person)
	b.hex = hex.AppendEncode(b.hex[:0], m.SessionId)
	b.sessionID.AppendBytes(b.hex)
	b.version.Append(m.Version)
}

// watermarkBlock is the columns of `watermarks`.
type watermarkBlock struct {
	block
	project       texts
	partition     *proto.ColUInt16
	watermark, at times
	gap, offset   *proto.ColInt64
}

func newWatermarkBlock() *watermarkBlock {
	b := &watermarkBlock{block: block{table: "watermarks"}}
	b.project, b.partition, b.watermark, b.at = b.text("project"), b.uint16("_partition"), b.time("watermark"), b.time("at")
	b.gap, b.offset = b.int64("gap"), b.int64("_offset")
	return b
}

func (b *watermarkBlock) append(w *facts.Watermark, gap time.Duration, partition int32, offset int64) {
	b.project.Append(w.Project)
	b.partition.Append(uint16(partition))
	b.watermark.AppendRaw(millis(w.Watermark))
	b.at.AppendRaw(millis(w.At))
	b.gap.Append(gap.Milliseconds())
	b.offset.Append(offset)
}

// refusedBlock is the columns of `refused`.
type refusedBlock struct {
	block
	project, detail, messageID texts
	source, reason, app        lows
	receivedAt                 times
	partition                  *proto.ColUInt16
	offset                     *proto.ColInt64
}

func newRefusedBlock() *refusedBlock {
	b := &refusedBlock{block: block{table: "refused"}}
	b.project, b.receivedAt, b.source, b.reason = b.text("project"), b.time("received_at"), b.low("source"), b.low("reason")
	b.detail, b.messageID, b.app = b.text("detail"), b.text("message_id"), b.low("app_version")
	b.partition, b.offset = b.uint16("_partition"), b.int64("_offset")
	return b
}

func (b *refusedBlock) append(l *deadletter.Letter, partition int32, offset int64) {
	b.project.Append(l.Project)
	b.receivedAt.AppendRaw(millis(l.ReceivedAt))
	b.source.Append(l.Source)
	b.reason.Append(l.Reason)
	b.detail.Append(l.Detail)
	b.messageID.Append(l.MessageId)
	b.app.Append(l.AppVersion)
	b.partition.Append(uint16(partition))
	b.offset.Append(offset)
}
