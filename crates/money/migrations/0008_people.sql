-- What a provider said is found by the payment that it was about, when the payer is erased.
CREATE INDEX provider_events_reference ON provider_events (reference);
