-- What of an invoice was used already when it was written: income at once, and never credited.
ALTER TABLE invoices ADD COLUMN used BIGINT NOT NULL DEFAULT 0
    CONSTRAINT invoices_used CHECK (used >= 0);
