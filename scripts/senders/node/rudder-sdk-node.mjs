// Sends a small journey with @rudderstack/rudder-sdk-node: node rudder-sdk-node.mjs ADDRESS KEY USER
import RudderAnalytics from '@rudderstack/rudder-sdk-node'

const [, , dataPlaneUrl, writeKey, userId] = process.argv
const Client = RudderAnalytics.default ?? RudderAnalytics
const client = new Client(writeKey, { dataPlaneUrl, flushAt: 20, flushInterval: 200, gzip: true })

const anonymousId = `anonymous-${userId}`
client.identify({ userId, anonymousId, traits: { plan: 'basic' } })
client.page({ userId, anonymousId, name: 'Home', properties: { url: 'https://shop.example/home', path: '/home' } })
client.track({ userId, event: 'Product Viewed', properties: { product_id: 'p1', colour: 'red' } })
client.track({ userId, event: 'Product Added', properties: { product_id: 'p1', price: 19.99, quantity: 2, currency: 'EUR', cart_id: 'c1' } })
client.track({ userId, event: 'Order Completed', properties: { order_id: 'o1', revenue: 39.98, currency: 'EUR', products: [{ product_id: 'p1', price: 19.99, quantity: 2 }] } })
await client.flush()
