-- What a department admin sees and does with many files: progress, cost, folders, cancelling, review, quotas, fair turns.

ALTER TABLE document
    ADD COLUMN review_on date,
    -- the review date for which a reminder has been sent
    ADD COLUMN reminded_of date;

CREATE INDEX document_review ON document (review_on) WHERE deleted_at IS NULL AND review_on IS NOT NULL;

ALTER TABLE version
    -- where the file stood in the folder that was dropped or is synchronised; a label, never a path of ours
    ADD COLUMN folder text NOT NULL DEFAULT '',
    -- passages there will be, and how many of them have a vector
    ADD COLUMN foreseen integer NOT NULL DEFAULT 0,
    ADD COLUMN embedded integer NOT NULL DEFAULT 0,
    -- US dollars that its vectors cost, all attempts together
    ADD COLUMN cost numeric(18, 8) NOT NULL DEFAULT 0,
    ADD COLUMN started_at timestamptz,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    DROP CONSTRAINT version_state_check,
    ADD CONSTRAINT version_state_check
        CHECK (
            state IN (
                'received', 'extracting', 'embedding', 'live', 'failed', 'cancelled', 'deleted', 'held', 'rejected'
            )
        );

CREATE INDEX version_changed ON version (changed_at);
CREATE INDEX version_finished ON version (finished_at) WHERE finished_at IS NOT NULL;

-- A page asks what has changed since it last asked. A renewed lease is no change that anybody sees.
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER version_changes BEFORE UPDATE ON version FOR EACH ROW
WHEN (
    (OLD.state, OLD.sentence, OLD.embedded, OLD.foreseen, OLD.title, OLD.retry_at, OLD.labels)
    IS DISTINCT FROM (NEW.state, NEW.sentence, NEW.embedded, NEW.foreseen, NEW.title, NEW.retry_at, NEW.labels)
) EXECUTE FUNCTION note_change();

CREATE OR REPLACE VIEW shown_version AS
SELECT
    version.id, version.document_id, version.number, version.title, version.filename, version.original_key,
    version.sha256, version.bytes, version.kind, version.uploader_id, version.uploader_name, version.uploaded_at,
    version.state, version.sentence, version.retry_at, version.pages, version.passages, version.attempts,
    version.postponed, version.finished_at, version.labels,
    document.current_version IS NOT DISTINCT FROM version.id AS is_current,
    version.folder, version.foreseen, version.embedded, version.cost, version.started_at, version.changed_at
FROM version JOIN document ON document.id = version.document_id
WHERE document.deleted_at IS NULL;

CREATE OR REPLACE VIEW shown_document AS
SELECT
    document.id, document.title, document.filename, document.created_at,
    document.current_version IS NOT NULL AS live,
    (
        SELECT version.id FROM version WHERE version.document_id = document.id ORDER BY version.number DESC LIMIT 1
    ) AS latest_id,
    document.review_on
FROM document
WHERE document.deleted_at IS NULL;

-- Whether one more file of this size has room. Uploads that ask at the same time do so one after the other.
CREATE FUNCTION has_room(files_allowed bigint, bytes_allowed bigint, arriving bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('room'));
    RETURN (
        SELECT count(*) < files_allowed AND coalesce(sum(bytes), 0) + arriving <= bytes_allowed FROM shown_version
    );
END $$;

-- The versions whose tasks should be published now, so many that at most `parallel` are in the queue or being read.
-- A department with 500 files therefore stands in the queue with a few, and after each goes to its end: others get
-- their turn. Each publication waits twice as long as the one before until it is taken for lost.
CREATE FUNCTION queue_due(parallel integer) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    busy integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('queue'));
    SELECT count(*) INTO busy FROM version
    WHERE state IN ('received', 'extracting', 'embedding')
        AND (lease_until > clock_timestamp() OR (queued > 0 AND queue_again_at > clock_timestamp()));
    RETURN QUERY
    UPDATE version SET
        queued = queued + 1,
        queue_again_at = clock_timestamp() + least(900, 60 * 2 ^ queued) * interval '1 second'
    WHERE id IN (
        SELECT id FROM version
        WHERE state IN ('received', 'extracting', 'embedding')
            AND queue_again_at <= clock_timestamp()
            AND (lease_until IS NULL OR lease_until <= clock_timestamp())
            AND (retry_at IS NULL OR retry_at <= clock_timestamp())
        ORDER BY uploaded_at, id LIMIT greatest(0, parallel - busy)
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id;
END $$;
