-- Documents that wait for somebody of the department to read them before they are searched.

ALTER TABLE version DROP CONSTRAINT version_state_check;
ALTER TABLE version ADD CONSTRAINT version_state_check
    CHECK (state IN ('received', 'extracting', 'embedding', 'live', 'failed', 'deleted', 'held', 'rejected'));

CREATE TABLE review (
    version_id uuid PRIMARY KEY REFERENCES version ON DELETE CASCADE,
    held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reasons text[] NOT NULL,
    decision text NOT NULL DEFAULT '' CHECK (decision IN ('', 'approved', 'rejected')),
    decided_at timestamptz,
    decided_by_id uuid,
    decided_by_name text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT ''
);

-- The text as the file has it, with what nobody can see. It lies here only: nothing of it is embedded or searched.
CREATE TABLE held_block (
    version_id uuid NOT NULL REFERENCES version ON DELETE CASCADE,
    ordinal integer NOT NULL,
    locator jsonb NOT NULL,
    text text NOT NULL,
    is_marked boolean NOT NULL,
    PRIMARY KEY (version_id, ordinal)
);

-- Once a version is searched its passages are its text; once it is deleted nothing of it stays.
CREATE FUNCTION forget_held_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM held_block WHERE version_id = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER forget_held_text AFTER UPDATE OF state ON version
    FOR EACH ROW WHEN (NEW.state IN ('live', 'deleted')) EXECUTE FUNCTION forget_held_text();
