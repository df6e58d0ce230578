-- The latest change of each cart.
CREATE OR REPLACE VIEW waymark.carts
(
    `project` String COMMENT 'name of the project: a tenant',
    `cart` String COMMENT 'hash of the project, the cart_id and the first cart_add',
    `cart_id` String COMMENT 'as sent, empty for the unnamed cart of a person',
    `person` String COMMENT 'whose cart it is',
    `version` UInt32 COMMENT 'of the changes of the cart, from 1',
    `state` String COMMENT 'open, at_risk, emptied, purchased, abandoned, recovered or lost',
    `opened_at` DateTime64(3, 'UTC') COMMENT 'time of the first cart_add',
    `changed_at` DateTime64(3, 'UTC') COMMENT 'time of the last change',
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
    version,
    state,
    opened_at,
    changed_at,
    value,
    currency,
    items,
    abandoned_at,
    returned_at,
    recovered_at,
    cause
FROM waymark.cart_history
ORDER BY version DESC
LIMIT 1 BY project, person, cart
COMMENT 'one row for each cart: its latest state'
