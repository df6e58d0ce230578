"""Sends a small journey with segment-analytics-python: python send.py ADDRESS KEY USER"""

import sys

import segment.analytics as analytics

host, write_key, user = sys.argv[1:]
anonymous = "anonymous-" + user
failed = []


def client(gzip):
    return analytics.Client(write_key, host=host, gzip=gzip, on_error=lambda err, _: failed.append(err))


plain, zipped = client(False), client(True)
plain.identify(user, {"plan": "basic"}, anonymous_id=anonymous)
plain.page(user, name="Home", properties={"url": "https://shop.example/home", "path": "/home"}, anonymous_id=anonymous)
plain.track(user, "Product Viewed", {"product_id": "p1", "colour": "red"})
zipped.track(user, "Product Added", {"product_id": "p1", "price": 19.99, "quantity": 2, "currency": "EUR", "cart_id": "c1"})
zipped.track(
    user,
    "Order Completed",
    {"order_id": "o1", "revenue": 39.98, "currency": "EUR", "products": [{"product_id": "p1", "price": 19.99, "quantity": 2}]},
)
plain.shutdown()
zipped.shutdown()
if failed:
    sys.exit(f"not sent: {failed}")
