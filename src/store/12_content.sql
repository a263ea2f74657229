-- Whether the content of a key's calls may be written to the content log.
ALTER TABLE keys ADD COLUMN content_log INTEGER NOT NULL DEFAULT 1;
