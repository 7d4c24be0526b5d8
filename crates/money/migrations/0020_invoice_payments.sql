-- What a payment is to pay, where it is to pay an invoice.
ALTER TABLE payments ADD COLUMN invoice UUID;
CREATE INDEX payments_invoice ON payments (invoice) WHERE invoice IS NOT NULL;
