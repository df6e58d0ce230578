-- A row that was never cancelled is read as it lies there. Of the few others, not merged away yet, one of each that is not
-- cancelled in sum: FINAL would sort all.
CREATE OR REPLACE VIEW waymark.cart_history
(
    `project` String COMMENT 'name of the project: a tenant',
    `cart` String COMMENT 'hash of the project, the cart_id and the first cart_add',
    `cart_id` String COMMENT 'as sent, empty for the unnamed cart of a person',
    `person` String COMMENT 'whose cart it is',
    `version` UInt32 COMMENT 'of the changes of the cart, from 1',
    `state` String COMMENT 'open, at_risk, emptied, purchased, abandoned, recovered or lost',
    `opened_at` DateTime64(3, 'UTC') COMMENT 'time of the first cart_add',
    `changed_at` DateTime64(3, 'UTC') COMMENT 'time of this change',
    `value` Int64 COMMENT 'price times quantity in the currency of the cart, minor units',
    `currency` String COMMENT 'first currency of the cart',
    `items` Array(Tuple(product_id String, quantity Int64, price Nullable(Int64), currency String)) COMMENT 'lines by product',
    `abandoned_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'when it was abandoned',
    `returned_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'first act of the person after that',
    `recovered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'purchase that took the abandonment back',
    `cause` String COMMENT 'message id of the event, or timer'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS
SELECT
    project,
    cart,
    cart_id,
    person,
    carts.change AS version,
    state,
    opened_at,
    at AS changed_at,
    value,
    currency,
    CAST(arrayMap((p, q, m, c) -> (p, q, nullIf(m, -1), c), item_products, item_quantities, item_prices, item_currencies), 'Array(Tuple(product_id String, quantity Int64, price Nullable(Int64), currency String))') AS items,
    nullIf(carts.abandoned_at, toDateTime64(0, 3, 'UTC')) AS abandoned_at,
    nullIf(carts.returned_at, toDateTime64(0, 3, 'UTC')) AS returned_at,
    if(state = 'recovered', carts.at, NULL) AS recovered_at,
    cause
FROM waymark_store.carts AS carts
WHERE sign = 1 AND carts.version NOT IN (SELECT version FROM waymark_store.carts WHERE sign = -1)
UNION ALL
SELECT
    project,
    cart,
    cart_id,
    person,
    carts.change AS version,
    state,
    opened_at,
    at AS changed_at,
    value,
    currency,
    CAST(arrayMap((p, q, m, c) -> (p, q, nullIf(m, -1), c), item_products, item_quantities, item_prices, item_currencies), 'Array(Tuple(product_id String, quantity Int64, price Nullable(Int64), currency String))') AS items,
    nullIf(carts.abandoned_at, toDateTime64(0, 3, 'UTC')) AS abandoned_at,
    nullIf(carts.returned_at, toDateTime64(0, 3, 'UTC')) AS returned_at,
    if(state = 'recovered', carts.at, NULL) AS recovered_at,
    cause
FROM (
    SELECT *
    FROM waymark_store.carts
    WHERE sign = 1 AND version IN (
        SELECT version
        FROM waymark_store.carts
        WHERE version IN (SELECT version FROM waymark_store.carts WHERE sign = -1)
        GROUP BY project, person, opened_at, cart, change, version
        HAVING sum(sign) > 0)
    LIMIT 1 BY project, person, opened_at, cart, change, version
) AS carts
COMMENT 'one row for each change of a cart'
