-- What pages read, and how a document leaves.

CREATE VIEW shown_version AS
SELECT
    version.id, version.document_id, version.number, version.title, version.filename, version.original_key,
    version.sha256, version.bytes, version.kind, version.uploader_id, version.uploader_name, version.uploaded_at,
    version.state, version.sentence, version.retry_at, version.pages, version.passages, version.attempts,
    version.postponed, version.finished_at, version.labels,
    document.current_version IS NOT DISTINCT FROM version.id AS is_current
FROM version JOIN document ON document.id = version.document_id
WHERE document.deleted_at IS NULL;

CREATE VIEW shown_document AS
SELECT
    document.id, document.title, document.filename, document.created_at,
    document.current_version IS NOT NULL AS live,
    (
        SELECT version.id FROM version WHERE version.document_id = document.id ORDER BY version.number DESC LIMIT 1
    ) AS latest_id
FROM document
WHERE document.deleted_at IS NULL;

-- Takes a document out of search, lists and citations at once. Its row stays until its originals are removed.
CREATE FUNCTION withdraw(withdrawing uuid, person_id uuid, person_name text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    removed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('publish'));
    UPDATE document SET
        deleted_at = clock_timestamp(), deleted_by_id = person_id, deleted_by_name = person_name
    WHERE id = withdrawing AND deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM retire(current_version) FROM document WHERE id = withdrawing AND current_version IS NOT NULL;
    DELETE FROM passage USING version WHERE version.id = passage.version_id AND version.document_id = withdrawing;
    GET DIAGNOSTICS removed = ROW_COUNT;
    DELETE FROM draft USING version WHERE version.id = draft.version_id AND version.document_id = withdrawing;
    UPDATE version SET state = 'deleted', claimed_by = NULL, lease_until = NULL WHERE document_id = withdrawing;
    UPDATE document SET current_version = NULL, deleted_passages = removed WHERE id = withdrawing;
    RETURN true;
END $$;
