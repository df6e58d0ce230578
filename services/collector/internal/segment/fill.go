package segment

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/waymark-analytics/waymark/pkg/money"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// prop finds a member of the properties by its slot.
func (p *Parser) prop(s slot) *member { return find(p.props, s) }

func find(members []member, s slot) *member {
	for i := range members {
		if members[i].slot == s {
			return &members[i]
		}
	}
	return nil
}

// take is the text of the first of the slots that a member with a text stands in; the member is no leftover then.
func (p *Parser) take(members []member, names ...slot) string {
	for _, s := range names {
		if m := find(members, s); m != nil {
			if text, ok := p.scalar(m.value); ok && text != "" {
				m.taken = true
				return text
			}
		}
	}
	return ""
}

// peek is take for a member that stays a leftover too.
func (p *Parser) peek(members []member, s slot) string {
	if m := find(members, s); m != nil {
		text, _ := p.scalar(m.value)
		return text
	}
	return ""
}

// amount reads the first of the slots whose member is an amount of the currency.
func (p *Parser) amount(members []member, currency string, names ...slot) *int64 {
	for _, s := range names {
		if m := find(members, s); m != nil && m.value[0] != 't' && m.value[0] != 'f' {
			if text, ok := p.scalar(m.value); ok {
				if n, ok := money.Minor(text, currency); ok {
					m.taken = true
					return &n
				}
			}
		}
	}
	return nil
}

func (p *Parser) whole(members []member, s slot) *int64 {
	if m := find(members, s); m != nil {
		if text, ok := p.scalar(m.value); ok {
			if n, ok := money.Whole(text); ok {
				m.taken = true
				return &n
			}
		}
	}
	return nil
}

// surroundings fills what the context tells: page, campaign, device, channel, verdict.
func (p *Parser) surroundings(e *touchpoint.Event, kind Kind) {
	e.Url, e.Path, e.Title, e.Referrer = p.at(ctxURL), p.at(ctxPath), p.at(ctxTitle), p.at(ctxReferrer)
	switch kind {
	case Page, Screen: // what such a call says of the page is its properties
		for _, f := range [...]struct {
			into *string
			slot slot
		}{{&e.Url, propURL}, {&e.Path, propPath}, {&e.Title, propTitle}, {&e.Referrer, propReferrer}} {
			if text := p.take(p.props, f.slot); text != "" {
				*f.into = text
			}
		}
		if e.Title == "" {
			e.Title = p.at(msgName)
		}
	case Track:
		for _, f := range [...]struct {
			into *string
			slot slot
		}{{&e.Url, propURL}, {&e.Path, propPath}, {&e.Title, propTitle}, {&e.Referrer, propReferrer}} {
			if *f.into == "" {
				*f.into = p.peek(p.props, f.slot)
			}
		}
	case Any, Identify, Alias, Group:
	}
	e.Campaign, e.CampaignSource, e.CampaignMedium = p.at(ctxCampaign), p.at(ctxSource), p.at(ctxMedium)
	if e.Url != "" && (e.Path == "" || e.Campaign == "" && e.CampaignSource == "" && e.CampaignMedium == "") {
		fromURL(e)
	}
	if n := p.milliseconds(p.values[ctxLoadTime]); n != nil {
		e.LoadTime = n
	} else {
		for _, s := range [...]slot{propLoadTime, propLoadTimeCamel} {
			if m := p.prop(s); m != nil && e.LoadTime == nil {
				if e.LoadTime = p.milliseconds(m.value); e.LoadTime != nil {
					m.taken = true
				}
			}
		}
	}
	e.Device, e.Os, e.Browser = deviceType(p.at(ctxDevice)), p.at(ctxOS), p.at(ctxBrowser)
	e.Country, e.AppVersion = p.at(ctxCountry), p.at(ctxAppVersion)
	userAgent := p.at(ctxUserAgent)
	if userAgent == "" {
		userAgent = p.req.UserAgent
	}
	if userAgent != "" {
		a := p.req.Agent(userAgent)
		e.Device, e.Os, e.Browser = either(e.Device, a.Device), either(e.Os, a.OS), either(e.Browser, a.Browser)
		e.Bot = a.Bot
	}
	if p.at(ctxBot) == "true" || p.req.Staff(userAgent, p.at(ctxIP)) {
		e.Bot = true
	}
	e.Channel = p.req.Channel
	if said := either(p.at(msgChannel), p.at(ctxChannel)); channels[said] {
		e.Channel = said
	} else if of := stepChannels[e.Step]; of != "" && e.Channel == "other" {
		e.Channel = of
	}
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (p *Parser) milliseconds(value []byte) *int64 {
	if text, ok := p.scalar(value); ok && text != "" {
		if n, ok := money.Scaled(text, 0); ok && n >= 0 {
			return &n
		}
	}
	return nil
}

// deviceType is the kind of a device: mobile SDKs send the name of their system.
func deviceType(sent string) string {
	switch {
	case sent == "":
		return ""
	case strings.EqualFold(sent, "ios"), strings.EqualFold(sent, "android"):
		return "mobile"
	}
	return strings.ToLower(sent)
}

// fromURL fills path and campaign by the address of the page.
func fromURL(e *touchpoint.Event) {
	rest := e.Url
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		rest = rest[:i]
	}
	rest, query, _ := strings.Cut(rest, "?")
	if e.Path == "" {
		if i := strings.Index(rest, "://"); i >= 0 {
			rest = rest[i+3:]
			if i = strings.IndexByte(rest, '/'); i < 0 {
				rest = "/"
			} else {
				rest = rest[i:]
			}
		}
		e.Path = rest
	}
	if e.Campaign != "" || e.CampaignSource != "" || e.CampaignMedium != "" || !strings.Contains(query, "utm_") {
		return
	}
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		var into *string
		switch name {
		case "utm_campaign":
			into = &e.Campaign
		case "utm_source":
			into = &e.CampaignSource
		case "utm_medium":
			into = &e.CampaignMedium
		default:
			continue
		}
		if plain, err := url.QueryUnescape(value); err == nil && *into == "" {
			*into = strings.ToValidUTF8(plain, "\uFFFD")
		}
	}
}

// commerce fills what the properties tell of products, carts and orders.
func (p *Parser) commerce(e *touchpoint.Event, kind Kind) {
	if kind != Track && kind != Page && kind != Screen || len(p.props) == 0 {
		return
	}
	e.Currency = currencyCode(p.take(p.props, propCurrency))
	e.ProductId = p.take(p.props, propProductID, propProductIDCamel, propItemID)
	if e.ProductId == "" {
		e.ProductId = p.peek(p.props, propSKU)
	}
	e.CartId = p.take(p.props, propCartID, propCartIDCamel)
	e.OrderId = p.take(p.props, propOrderID, propOrderIDCamel, propTransactionID)
	e.Coupon = p.take(p.props, propCoupon)
	e.Price = p.amount(p.props, e.Currency, propPrice)
	e.Quantity = p.whole(p.props, propQuantity)
	e.Revenue = p.amount(p.props, e.Currency, propRevenue)
	if e.Revenue == nil && (e.Step == "purchase" || e.Step == "refund") {
		e.Revenue = p.amount(p.props, e.Currency, propTotal, propValue)
	}
	for _, s := range [...]slot{propProducts, propItems} {
		if m := p.prop(s); m != nil && m.value[0] == '[' && len(e.Products) == 0 {
			m.taken = p.lines(e, m.value)
		}
	}
}

// currencyCode is a currency as ISO 4217 writes it; what cannot be a code of it stays as sent.
func currencyCode(sent string) string {
	if len(sent) == 3 {
		return strings.ToUpper(sent)
	}
	return sent
}

// lines reads a list of products. It is true if all that the list tells is in them, so that it is no leftover.
func (p *Parser) lines(e *touchpoint.Event, list []byte) bool {
	whole := true
	var members []member
	p.s.reset(list)
	err := p.s.array(func() error {
		if p.s.kind() != '{' {
			whole = false
			_, err := p.s.value()
			return err
		}
		members = members[:0]
		if err := p.list("product", &members, properties); err != nil {
			return err
		}
		line := p.product(len(e.Products))
		line.Currency = currencyCode(p.take(members, propCurrency))
		line.ProductId = p.take(members, propProductID, propProductIDCamel, propItemID, propID, propSKU)
		line.Price = p.amount(members, either(line.Currency, e.Currency), propPrice)
		line.Quantity = p.whole(members, propQuantity)
		for i := range members {
			whole = whole && members[i].taken
		}
		e.Products = append(e.Products, line)
		return nil
	})
	return whole && err == nil
}

// product is the i-th product of the message, from those that are used again.
func (p *Parser) product(i int) *touchpoint.Product {
	if i == len(p.products) {
		p.products = append(p.products, new(touchpoint.Product))
	}
	*p.products[i] = touchpoint.Product{}
	return p.products[i]
}

// leftovers gives the event what its fields did not take, as sent.
func (p *Parser) leftovers(e *touchpoint.Event, kind Kind) {
	e.Context = p.rest
	members, ofContext := p.props, p.values[ctxTraits]
	if kind == Identify || kind == Group {
		if len(p.traits) > 0 {
			members = p.traits
			ofContext = nil // senders repeat them there
		} else if len(members) == 0 && len(ofContext) > 0 && ofContext[0] == '{' {
			p.s.reset(ofContext)
			_ = p.list("traits", &p.traits, properties) // was checked before
			members, ofContext = p.traits, nil
		}
	}
	if len(ofContext) > 0 {
		e.Context = bytes.TrimSuffix(e.Context, []byte("}"))
		e.Context = appendMember(e.Context, append([]byte(`"traits":`), ofContext...))
		e.Context = closeObject(e.Context)
	}
	p.object = p.object[:0]
	for i := range members {
		if !members[i].taken {
			p.object = appendMember(p.object, members[i].raw)
		}
	}
	for _, own := range [...]struct {
		name string
		slot slot
		prop slot
		kind bool
	}{
		{`"name":`, msgName, propName, kind == Page || kind == Screen},
		{`"category":`, msgCategory, propCategory, kind == Page || kind == Screen},
		{`"groupId":`, msgGroupID, propGroupID, kind == Group},
	} {
		if value := p.values[own.slot]; own.kind && len(value) > 0 && find(members, own.prop) == nil {
			p.object = appendMember(p.object, []byte(own.name))
			p.object = append(p.object, value...)
		}
	}
	if len(p.object) > 0 {
		e.Properties = closeObject(p.object)
		p.object = e.Properties
	}
	if len(e.Context) == 0 {
		e.Context = nil
	}
}
