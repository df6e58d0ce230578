package segment

// slot names a value that is looked for in a message.
type slot uint8

const (
	none slot = iota
	// Of the message itself.
	msgType
	msgID
	msgAnonymousID
	msgUserID
	msgPreviousID
	msgGroupID
	msgEvent
	msgName
	msgCategory
	msgTimestamp
	msgOriginalTimestamp
	msgSentAt
	msgChannel
	// Of its context. A batch may have a context too, for all its messages.
	ctxURL
	ctxPath
	ctxTitle
	ctxReferrer
	ctxLoadTime
	ctxCampaign
	ctxSource
	ctxMedium
	ctxDevice
	ctxOS
	ctxBrowser
	ctxCountry
	ctxAppVersion
	ctxUserAgent
	ctxIP
	ctxTraits
	ctxChannel
	ctxBot
	// Of its properties.
	propURL
	propPath
	propTitle
	propReferrer
	propLoadTime
	propLoadTimeCamel
	propProductID
	propProductIDCamel
	propItemID
	propSKU
	propID
	propPrice
	propQuantity
	propCurrency
	propCartID
	propCartIDCamel
	propOrderID
	propOrderIDCamel
	propTransactionID
	propRevenue
	propTotal
	propValue
	propCoupon
	propProducts
	propItems
	propGroupID
	propName
	propCategory
	slots
)

// shape is what is looked for in an object.
type shape map[string]field

// field is a member of it: a scalar goes into the slot, an object is searched by its own shape. What is neither is a leftover,
// and so is what is kept.
type field struct {
	slot  slot
	inner shape
	kept  bool
	any   bool // objects too go into the slot
}

var messageShape = shape{
	"type":              {slot: msgType},
	"messageId":         {slot: msgID},
	"anonymousId":       {slot: msgAnonymousID},
	"userId":            {slot: msgUserID},
	"previousId":        {slot: msgPreviousID},
	"groupId":           {slot: msgGroupID},
	"event":             {slot: msgEvent},
	"name":              {slot: msgName},
	"category":          {slot: msgCategory},
	"timestamp":         {slot: msgTimestamp},
	"originalTimestamp": {slot: msgOriginalTimestamp},
	"sentAt":            {slot: msgSentAt},
	"channel":           {slot: msgChannel},
}

var contextShape = shape{
	"page": {inner: shape{
		"url": {slot: ctxURL}, "path": {slot: ctxPath}, "title": {slot: ctxTitle}, "referrer": {slot: ctxReferrer},
		"load_time": {slot: ctxLoadTime}, "loadTime": {slot: ctxLoadTime},
	}},
	"campaign":  {inner: shape{"name": {slot: ctxCampaign}, "source": {slot: ctxSource}, "medium": {slot: ctxMedium}}},
	"device":    {slot: ctxDevice, inner: shape{"type": {slot: ctxDevice}}},
	"os":        {slot: ctxOS, inner: shape{"name": {slot: ctxOS}}},
	"browser":   {slot: ctxBrowser, inner: shape{"name": {slot: ctxBrowser}}},
	"location":  {inner: shape{"country": {slot: ctxCountry}}},
	"app":       {inner: shape{"version": {slot: ctxAppVersion}}},
	"userAgent": {slot: ctxUserAgent, kept: true},
	"ip":        {slot: ctxIP, kept: true},
	"traits":    {slot: ctxTraits, any: true},
	"channel":   {slot: ctxChannel, kept: true},
	"bot":       {slot: ctxBot},
	"country":   {slot: ctxCountry},
}

// properties are the members of properties, traits and products that are looked for, by the names of Segment's and Google's
// e-commerce events.
var properties = map[string]slot{
	"url": propURL, "path": propPath, "title": propTitle, "referrer": propReferrer,
	"load_time": propLoadTime, "loadTime": propLoadTimeCamel,
	"product_id": propProductID, "productId": propProductIDCamel, "item_id": propItemID, "sku": propSKU, "id": propID,
	"price": propPrice, "quantity": propQuantity, "currency": propCurrency,
	"cart_id": propCartID, "cartId": propCartIDCamel,
	"order_id": propOrderID, "orderId": propOrderIDCamel, "transaction_id": propTransactionID,
	"revenue": propRevenue, "total": propTotal, "value": propValue, "coupon": propCoupon,
	"products": propProducts, "items": propItems,
	"groupId": propGroupID, "name": propName, "category": propCategory,
}

// channels are the channels of events.
var channels = map[string]bool{
	"web": true, "app": true, "email": true, "sms": true, "chat": true, "social": true, "ad": true, "store": true, "phone": true,
	"service": true, "review": true, "mail": true, "fair": true, "word_of_mouth": true, "other": true,
}

// stepChannels are the channels that a step tells by itself, where the source has none of its own.
var stepChannels = map[string]string{
	"email_sent": "email", "email_delivered": "email", "email_bounced": "email", "email_open": "email", "email_click": "email",
	"ad_click": "ad", "ad_view": "ad", "store_visit": "store", "call": "phone",
}

// ChannelOf is the channel of the events of a source by its kind: a kind that is a channel is that channel, a shop is a store,
// any other ("server", "import") is "other".
func ChannelOf(kind string) string {
	switch {
	case channels[kind]:
		return kind
	case kind == "shop":
		return "store"
	}
	return "other"
}
