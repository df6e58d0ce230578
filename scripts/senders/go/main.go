// Command go sends a small journey with analytics-go: go run . ADDRESS KEY USER.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/segmentio/analytics-go/v3"
)

func main() {
	if err := send(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(address, key, user string) error {
	client, err := analytics.NewWithConfig(key, analytics.Config{Endpoint: address, Interval: 200 * time.Millisecond, BatchSize: 3})
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	anonymous := "anonymous-" + user
	for _, message := range []analytics.Message{
		analytics.Identify{UserId: user, AnonymousId: anonymous, Traits: analytics.NewTraits().Set("plan", "basic")},
		analytics.Page{UserId: user, AnonymousId: anonymous, Name: "Home", Properties: analytics.NewProperties().SetURL("https://shop.example/home").SetPath("/home")},
		analytics.Track{UserId: user, Event: "Product Viewed", Properties: analytics.NewProperties().Set("product_id", "p1").Set("colour", "red")},
		analytics.Track{UserId: user, Event: "Product Added", Properties: analytics.NewProperties().Set("product_id", "p1").SetPrice(19.99).Set("quantity", 2).SetCurrency("EUR").Set("cart_id", "c1")},
		analytics.Track{UserId: user, Event: "Order Completed", Properties: analytics.NewProperties().Set("order_id", "o1").SetRevenue(39.98).SetCurrency("EUR").
			Set("products", []map[string]any{{"product_id": "p1", "price": 19.99, "quantity": 2}})},
	} {
		if err := client.Enqueue(message); err != nil {
			return fmt.Errorf("enqueue: %w", err)
		}
	}
	if err := client.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
