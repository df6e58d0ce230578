package batch

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// sessionBlock is the columns of `sessions`.
type sessionBlock struct {
	*chdb.Block
	project, person, sessionID, entry, exit, referrer         *chdb.Text
	startedAt, endedAt                                        chdb.Time
	sign                                                      *chdb.Int8
	version                                                   *chdb.UInt64
	number, events, pageViews, adds, removes, orders          *chdb.UInt32
	campaign, campaignSource, campaignMedium, channel, device *chdb.Low
	browser, country, app, stageStart, stageEnd, rules        *chdb.Low
	steps, funnels, currencies, flags                         *chdb.TextList
	stepTimes                                                 *chdb.TimeList
	furthest                                                  *chdb.List[uint8]
	amounts                                                   *chdb.List[int64]
	abandoned, runaway, bot                                   *chdb.Bool
	partition                                                 *chdb.UInt16
	offset                                                    *chdb.Int64
	hex                                                       []byte
	places                                                    []uint8
}

func newSessionBlock() *sessionBlock {
	b := &sessionBlock{Block: chdb.NewBlock("sessions")}
	b.project, b.person, b.startedAt, b.sessionID = b.Text("project"), b.Text("person"), b.Time("started_at"), b.Text("session_id")
	b.sign, b.version, b.number, b.endedAt = b.Int8("sign"), b.UInt64("version"), b.UInt32("number"), b.Time("ended_at")
	b.events, b.pageViews = b.UInt32("events"), b.UInt32("page_views")
	b.entry, b.exit, b.referrer = b.Text("entry_page"), b.Text("exit_page"), b.Text("referrer")
	b.campaign, b.campaignSource, b.campaignMedium = b.Low("campaign"), b.Low("campaign_source"), b.Low("campaign_medium")
	b.channel, b.device, b.browser, b.country, b.app = b.Low("channel"), b.Low("device"), b.Low("browser"), b.Low("country"), b.Low("app_version")
	b.steps, b.stepTimes = b.LowLists("steps"), b.TimeLists("step_times")
	b.funnels, b.furthest = b.LowLists("furthest_funnels"), b.UInt8Lists("furthest_steps")
	b.stageStart, b.stageEnd = b.Low("stage_start"), b.Low("stage_end")
	b.adds, b.removes, b.abandoned, b.orders = b.UInt32("cart_adds"), b.UInt32("cart_removes"), b.Bool("abandoned"), b.UInt32("orders")
	b.currencies, b.amounts = b.LowLists("revenue_currencies"), b.Int64Lists("revenue_amounts")
	b.runaway, b.bot, b.flags, b.rules = b.Bool("runaway"), b.Bool("bot"), b.LowLists("flags"), b.Low("rule_version")
	b.partition, b.offset = b.UInt16("_partition"), b.Int64("_offset")
	return b
}

func (b *sessionBlock) append(s *facts.Session, partition int32, offset int64) {
	b.project.Append(s.Project)
	b.person.Append(s.Person)
	b.startedAt.Append(s.StartedAt)
	b.hex = hex.AppendEncode(b.hex[:0], s.SessionId)
	b.sessionID.AppendBytes(b.hex)
	b.sign.Append(int8(s.Sign))
	b.version.Append(s.Version)
	b.number.Append(s.Number)
	b.endedAt.Append(s.EndedAt)
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
	b.stepTimes.Append(s.StepTimes)
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
	*chdb.Block
	project, funnel, person, sessionID             *chdb.Text
	scope, channel, device, country, campaign, app *chdb.Low
	startedAt                                      chdb.Time
	sign                                           *chdb.Int8
	version                                        *chdb.UInt64
	furthest                                       *chdb.UInt8
	reached                                        *chdb.List[uint8]
	reachedAt                                      *chdb.TimeList
	partition                                      *chdb.UInt16
	offset                                         *chdb.Int64
	hex                                            []byte
	places                                         []uint8
	times                                          []int64
}

func newEntrantBlock() *entrantBlock {
	b := &entrantBlock{Block: chdb.NewBlock("entrants")}
	b.project, b.funnel, b.scope, b.person = b.Text("project"), b.Text("funnel"), b.Low("scope"), b.Text("person")
	b.startedAt, b.sessionID, b.sign, b.version = b.Time("started_at"), b.Text("session_id"), b.Int8("sign"), b.UInt64("version")
	b.furthest, b.reached, b.reachedAt = b.UInt8("furthest"), b.UInt8Lists("step_nos"), b.TimeLists("times")
	b.channel, b.device, b.country, b.campaign, b.app = b.Low("channel"), b.Low("device"), b.Low("country"), b.Low("campaign"), b.Low("app_version")
	b.partition, b.offset = b.UInt16("_partition"), b.Int64("_offset")
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
			b.places, b.times = append(b.places, uint8(i+1)), append(b.times, at)
		}
	}
	if int(e.Furthest) > required {
		return fmt.Errorf("entrant in funnel %s: reached %d of %d steps", def.Name, e.Furthest, required)
	}
	b.project.Append(def.Project)
	b.funnel.Append(def.Name)
	b.scope.Append(def.Scope)
	b.person.Append(e.Person)
	b.startedAt.Append(e.StartedAt)
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
	*chdb.Block
	partition                             *chdb.UInt16
	offset, version                       *chdb.Int64
	project, oldPerson, person, sessionID *chdb.Text
	occurredAt                            chdb.Time
	hex                                   []byte
}

func newMoveBlock() *moveBlock {
	b := &moveBlock{Block: chdb.NewBlock("events_moved")}
	b.partition, b.offset, b.project, b.occurredAt = b.UInt16("_partition"), b.Int64("_offset"), b.Text("project"), b.Time("occurred_at")
	b.oldPerson, b.person, b.sessionID, b.version = b.Text("old_person"), b.Text("person"), b.Text("session_id"), b.Int64("version")
	return b
}

func (b *moveBlock) append(m *facts.Move, partition int32) {
	b.partition.Append(uint16(partition))
	b.offset.Append(m.Offset)
	b.project.Append(m.Project)
	b.occurredAt.Append(m.OccurredAt)
	b.oldPerson.Append(m.OldPerson)
	b.person.Append(m.Person)
	b.hex = hex.AppendEncode(b.hex[:0], m.SessionId)
	b.sessionID.AppendBytes(b.hex)
	b.version.Append(m.Version)
}

// watermarkBlock is the columns of `watermarks`.
type watermarkBlock struct {
	*chdb.Block
	project       *chdb.Text
	partition     *chdb.UInt16
	watermark, at chdb.Time
	gap, offset   *chdb.Int64
}

func newWatermarkBlock() *watermarkBlock {
	b := &watermarkBlock{Block: chdb.NewBlock("watermarks")}
	b.project, b.partition, b.watermark, b.at = b.Text("project"), b.UInt16("_partition"), b.Time("watermark"), b.Time("at")
	b.gap, b.offset = b.Int64("gap"), b.Int64("_offset")
	return b
}

func (b *watermarkBlock) append(w *facts.Watermark, gap time.Duration, partition int32, offset int64) {
	b.project.Append(w.Project)
	b.partition.Append(uint16(partition))
	b.watermark.Append(w.Watermark)
	b.at.Append(w.At)
	b.gap.Append(gap.Milliseconds())
	b.offset.Append(offset)
}

// refusedBlock is the columns of `refused`.
type refusedBlock struct {
	*chdb.Block
	project, detail, messageID *chdb.Text
	source, reason, app        *chdb.Low
	receivedAt                 chdb.Time
	partition                  *chdb.UInt16
	offset                     *chdb.Int64
}

func newRefusedBlock() *refusedBlock {
	b := &refusedBlock{Block: chdb.NewBlock("refused")}
	b.project, b.receivedAt, b.source, b.reason = b.Text("project"), b.Time("received_at"), b.Low("source"), b.Low("reason")
	b.detail, b.messageID, b.app = b.Text("detail"), b.Text("message_id"), b.Low("app_version")
	b.partition, b.offset = b.UInt16("_partition"), b.Int64("_offset")
	return b
}

func (b *refusedBlock) append(l *deadletter.Letter, partition int32, offset int64) {
	b.project.Append(l.Project)
	b.receivedAt.Append(l.ReceivedAt)
	b.source.Append(l.Source)
	b.reason.Append(l.Reason)
	b.detail.Append(l.Detail)
	b.messageID.Append(l.MessageId)
	b.app.Append(l.AppVersion)
	b.partition.Append(uint16(partition))
	b.offset.Append(offset)
}
