-- Layers that somebody reads now, by the end of their leases: there are as many as servers, among however many that wait.
create index layer_readings_leased on layer_readings (lease_until) where read_at is null and lease_until is not null;
