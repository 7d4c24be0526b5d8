-- What keeps a bond where it is: work that can still be claimed about. While there is a pin, what is
-- cooling down stays so, and can be slashed.
CREATE TABLE bond_pins (
    subject TEXT PRIMARY KEY,
    owner UUID NOT NULL,
    until BIGINT
);
CREATE INDEX bond_pins_owner ON bond_pins (owner);
