// Sends a small journey with @segment/analytics-node: node analytics-node.mjs ADDRESS KEY USER [EVENTS]
// With EVENTS it sends so many track calls instead, in batches of five, and waits until all were taken.
import { Analytics } from '@segment/analytics-node'

const [, , host, writeKey, userId, events] = process.argv
const analytics = new Analytics({ writeKey, host, maxEventsInBatch: 5, flushInterval: 200, maxRetries: 20 })
analytics.on('error', (err) => {
  console.error(err)
  process.exitCode = 1
})

const anonymousId = `anonymous-${userId}`
if (events) {
  for (let i = 0; i < Number(events); i++) {
    analytics.track({ userId, event: 'Product Viewed', properties: { position: i } })
  }
} else {
  analytics.identify({ userId, anonymousId, traits: { plan: 'basic' } })
  analytics.page({ userId, anonymousId, name: 'Home', properties: { url: 'https://shop.example/home', path: '/home' } })
  analytics.track({ userId, event: 'Product Viewed', properties: { product_id: 'p1', colour: 'red' } })
  analytics.track({ userId, event: 'Product Added', properties: { product_id: 'p1', price: 19.99, quantity: 2, currency: 'EUR', cart_id: 'c1' } })
  analytics.track({ userId, event: 'Order Completed', properties: { order_id: 'o1', revenue: 39.98, currency: 'EUR', products: [{ product_id: 'p1', price: 19.99, quantity: 2 }] } })
}
await analytics.closeAndFlush({ timeout: 30_000 })
