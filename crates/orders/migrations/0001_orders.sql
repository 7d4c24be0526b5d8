-- Orders of engagement: so many comments, likes or views for a web address.

CREATE TABLE orders (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    role TEXT NOT NULL,
    status TEXT NOT NULL
        CONSTRAINT orders_status CHECK (status IN ('processing', 'done', 'cancelled')),
    target TEXT NOT NULL,
    service TEXT NOT NULL,
    kind TEXT NOT NULL CONSTRAINT orders_kind CHECK (kind IN ('comments', 'likes', 'views')),
    quantity BIGINT NOT NULL
        CONSTRAINT orders_quantity CHECK (quantity BETWEEN 1 AND 2147483647),
    price BIGINT,
    currency TEXT,
    hold UUID,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT orders_money CHECK
        ((price IS NULL AND currency IS NULL AND hold IS NULL)
         OR (price > 0 AND currency IS NOT NULL AND hold IS NOT NULL))
);
CREATE INDEX orders_of_owner ON orders (owner, id);
CREATE INDEX orders_of_owner_in_status ON orders (owner, status, id);
CREATE INDEX orders_in_status ON orders (status, id);
