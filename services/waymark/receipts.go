package main

import (
	"context"

	"github.com/waymark-analytics/waymark/services/collector"
	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
)

// A message may be refused first and accepted when it is sent again, corrected: what was stored is the answer then.
const receiptQuery = `
SELECT * FROM (
    SELECT 1 AS rank, 'applied' AS state, '' AS reason, name, step, person, session_id,
        toUnixTimestamp64Milli(occurred_at) AS occurred, toUnixTimestamp64Milli(received_at) AS received
    FROM waymark.events WHERE project = {project:String} AND message_id = {id:String}
    UNION ALL
    SELECT 2, 'too_late', 'older than the lateness of the project', name, step, person, '',
        toUnixTimestamp64Milli(occurred_at), toUnixTimestamp64Milli(received_at)
    FROM waymark.events_too_late WHERE project = {project:String} AND message_id = {id:String}
    UNION ALL
    SELECT 3, 'refused', reason, '', '', '', '', 0, toUnixTimestamp64Milli(received_at)
    FROM waymark_store.refused WHERE project = {project:String} AND message_id = {id:String}
)
ORDER BY rank, received DESC LIMIT 1`

// locator answers the collector's receipts from ClickHouse.
func locator(client *ask.Client) func(ctx context.Context, project, id string) (collector.Receipt, error) {
	type row struct {
		State, Reason, Name, Step, Person string
		SessionID                         string `json:"session_id"`
		Occurred, Received                int64
	}
	return func(ctx context.Context, project, id string) (collector.Receipt, error) {
		rows, err := ask.Rows[row](ctx, client, receiptQuery, map[string]string{"project": project, "id": id})
		if err != nil {
			return collector.Receipt{}, err
		}
		if len(rows) == 0 {
			return collector.Receipt{}, collector.ErrUnknown
		}
		r := rows[0]
		return collector.Receipt{
			Project: project, MessageID: id, State: r.State, Reason: r.Reason, Name: r.Name, Step: r.Step, Person: r.Person,
			SessionID: r.SessionID, OccurredAt: r.Occurred, ReceivedAt: r.Received,
		}, nil
	}
}
