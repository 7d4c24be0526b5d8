-- How often the memories of a shard have been told to forget: one tick in the transaction of what
-- changed. The row's lock makes the ticks of a shard commit in the order of their numbers.

CREATE TABLE fleet_counters (
    shard BIGINT PRIMARY KEY,
    number BIGINT NOT NULL
) WITHOUT ROWID;
