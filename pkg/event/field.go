package event

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// A Value is a scalar field of an event: string, int64, float64 or bool; nil if it is absent or no scalar.
type Value any

// Field returns the field with a dotted path: step, name, context.path, context.campaign.source, commerce.price,
// properties.plan. An absent text is nil.
func Field(e *touchpoint.Event, path string) Value {
	head, rest, dotted := strings.Cut(path, ".")
	if !dotted {
		switch head {
		case "step":
			return e.Step // an event without a step has the step ""
		case "project":
			return e.Project
		case "source":
			return text(e.Source)
		case "message_id":
			return e.MessageId
		case "name":
			return e.Name
		case "channel":
			return text(e.Channel)
		case "anonymous_id":
			return text(e.AnonymousId)
		case "user_id":
			return text(e.UserId)
		case "occurred_at":
			return e.OccurredAt
		case "received_at":
			return e.ReceivedAt
		}
		return nil
	}
	switch head {
	case "context":
		return contextField(e, rest)
	case "commerce":
		return commerceField(e, rest)
	case "properties":
		return jsonField(e.Properties, rest)
	}
	return nil
}

func contextField(e *touchpoint.Event, name string) Value {
	switch name {
	case "url":
		return text(e.Url)
	case "path":
		return text(e.Path)
	case "title":
		return text(e.Title)
	case "referrer":
		return text(e.Referrer)
	case "campaign.name":
		return text(e.Campaign)
	case "campaign.source":
		return text(e.CampaignSource)
	case "campaign.medium":
		return text(e.CampaignMedium)
	case "device":
		return text(e.Device)
	case "os":
		return text(e.Os)
	case "browser":
		return text(e.Browser)
	case "country":
		return text(e.Country)
	case "app_version":
		return text(e.AppVersion)
	case "load_time":
		return number(e.LoadTime)
	case "bot":
		if e.Bot {
			return true
		}
	}
	return jsonField(e.Context, name)
}

func commerceField(e *touchpoint.Event, name string) Value {
	switch name {
	case "product_id":
		return text(e.ProductId)
	case "cart_id":
		return text(e.CartId)
	case "order_id":
		return text(e.OrderId)
	case "currency":
		return text(e.Currency)
	case "coupon":
		return text(e.Coupon)
	case "price":
		return number(e.Price)
	case "quantity":
		return number(e.Quantity)
	case "revenue":
		return number(e.Revenue)
	}
	return jsonField(e.Commerce, name)
}

func text(s string) Value {
	if s == "" {
		return nil
	}
	return s
}

func number(n *int64) Value {
	if n == nil {
		return nil
	}
	return *n
}

// jsonField finds a scalar in a JSON object. A key may itself contain dots only where no nested object has the path.
func jsonField(object []byte, path string) Value {
	if len(object) == 0 {
		return nil
	}
	head, rest, dotted := strings.Cut(path, ".")
	var fields map[string]jsontext.Value
	if json.Unmarshal(object, &fields) != nil {
		return nil
	}
	value, ok := fields[head]
	if !ok {
		if value, ok = fields[path]; !ok {
			return nil
		}
	} else if dotted {
		return jsonField(value, rest)
	}
	return Scalar(value)
}

// Scalar decodes a JSON scalar; nil for null, arrays, objects and what is no JSON.
func Scalar(value jsontext.Value) Value {
	switch value.Kind() {
	case '"':
		var s string
		if json.Unmarshal(value, &s) != nil {
			return nil
		}
		return s
	case '0':
		if !strings.ContainsAny(string(value), ".eE") {
			var n int64
			if json.Unmarshal(value, &n) == nil {
				return n
			}
		}
		var f float64
		if json.Unmarshal(value, &f) != nil {
			return nil
		}
		return f
	case 't':
		return true
	case 'f':
		return false
	}
	return nil
}

// Text is the JSON text of a value, by which values are the same exactly where their types and contents are; "" for nil.
func Text(v Value) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "" // a text that is no UTF-8, or a number that is none
	}
	return string(b)
}
