-- Running batches are looked for, so that none is left without a job.
CREATE INDEX batches_running ON batches (id) WHERE state = 'running';
