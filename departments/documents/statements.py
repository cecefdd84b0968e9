"""Every SQL statement of a store, whole and constant: store.py gives them their values.

What belongs to one transaction of many steps (publishing, withdrawing, the counts of BM25) is a function in schema/.
"""

from __future__ import annotations

COUNT_DOCUMENTS = """
    SELECT count(*) AS total FROM shown_document
    WHERE strpos(lower(title), lower(%(matching)s)) > 0 OR strpos(lower(filename), lower(%(matching)s)) > 0
"""
LIST_DOCUMENTS = """
    SELECT * FROM shown_document
    WHERE strpos(lower(title), lower(%(matching)s)) > 0 OR strpos(lower(filename), lower(%(matching)s)) > 0
    ORDER BY created_at DESC, id OFFSET %(offset)s LIMIT %(limit)s
"""
DOCUMENTS = "SELECT * FROM shown_document WHERE id = ANY(%s) ORDER BY array_position(%s::uuid[], id)"
VERSION = "SELECT * FROM shown_version WHERE id = %s"
VERSIONS = "SELECT * FROM shown_version WHERE id = ANY(%s)"
VERSIONS_OF = "SELECT * FROM shown_version WHERE document_id = %s ORDER BY number DESC"
SAME_CONTENT = """
    SELECT * FROM shown_version
    WHERE sha256 = %s AND (is_current OR state IN ('received', 'extracting', 'embedding', 'held'))
    ORDER BY is_current DESC, uploaded_at LIMIT 1
"""
PASSAGES = """
    SELECT version_id, ordinal, text, heading_path, locator, tokens FROM passage
    WHERE version_id = %s ORDER BY ordinal OFFSET %s LIMIT %s
"""
PASSAGE = """
    SELECT
        passage.version_id, passage.ordinal, passage.text, passage.heading_path, passage.locator, passage.tokens,
        shown.document_id, shown.title, shown.filename, shown.number AS version_number, shown.is_current,
        shown.uploader_name, shown.uploaded_at
    FROM passage JOIN shown_version AS shown ON shown.id = passage.version_id
    WHERE passage.version_id = %s AND passage.ordinal = %s
"""
COUNTS = """
    SELECT
        count(DISTINCT document_id) AS documents,
        count(*) FILTER (WHERE is_current) AS live,
        count(*) FILTER (WHERE state IN ('received', 'extracting', 'embedding')) AS working,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        (SELECT passages FROM corpus) AS passages,
        coalesce(sum(bytes), 0)::bigint AS bytes
    FROM shown_version
"""
SEARCHABLE = "SELECT passages FROM corpus"

ADD_DOCUMENT = "INSERT INTO document (id, title, filename) VALUES (%s, %s, %s) RETURNING id"
LOCK_DOCUMENT = "SELECT id FROM document WHERE id = %s AND deleted_at IS NULL FOR UPDATE"
# the uploader publishes the task; ten seconds later the sweep does, if nobody has claimed the version by then
ADD_VERSION = """
    INSERT INTO version (
        id, document_id, number, title, filename, original_key, sha256, bytes, uploader_id, uploader_name,
        queue_again_at
    )
    SELECT
        %(version_id)s, %(document_id)s, coalesce(max(number), 0) + 1, %(title)s, %(filename)s, %(original_key)s,
        %(sha256)s, %(bytes)s, %(uploader_id)s, %(uploader_name)s, clock_timestamp() + interval '10 seconds'
    FROM version WHERE document_id = %(document_id)s
"""
RETRY = """
    UPDATE version SET
        state = 'received', sentence = '', attempts = 0, postponed = 0, queued = 0, retry_at = NULL, finished_at = NULL,
        claimed_by = NULL, lease_until = NULL, queue_again_at = clock_timestamp() + interval '10 seconds'
    WHERE id = (SELECT latest_id FROM shown_document WHERE id = %s)
        AND (state = 'failed' OR (state = 'received' AND retry_at IS NOT NULL))
    RETURNING id
"""

# each publication waits twice as long as the one before: a long queue must not fill with repetitions
QUEUE_DUE = """
    UPDATE version SET
        queued = queued + 1,
        queue_again_at = clock_timestamp() + least(900, 60 * 2 ^ queued) * interval '1 second'
    WHERE id IN (
        SELECT id FROM version
        WHERE state IN ('received', 'extracting', 'embedding')
            AND queue_again_at <= clock_timestamp()
            AND (lease_until IS NULL OR lease_until < clock_timestamp())
            AND (retry_at IS NULL OR retry_at <= clock_timestamp())
        ORDER BY uploaded_at LIMIT %s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
"""
FAIL_EXHAUSTED = """
    UPDATE version SET
        state = 'failed', sentence = %s, finished_at = clock_timestamp(), claimed_by = NULL, lease_until = NULL
    WHERE state IN ('received', 'extracting', 'embedding')
        AND lease_until < clock_timestamp() AND attempts >= %s
    RETURNING id
"""
CLAIM = """
    UPDATE version SET
        state = 'extracting', claimed_by = %(claim)s, attempts = attempts + 1, sentence = '', retry_at = NULL,
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s), queued = 0,
        queue_again_at = clock_timestamp()
    WHERE id = (
        SELECT id FROM version
        WHERE id = %(id)s
            AND state IN ('received', 'extracting', 'embedding')
            AND (lease_until IS NULL OR lease_until < clock_timestamp())
            AND (retry_at IS NULL OR retry_at <= clock_timestamp())
            AND attempts < %(most)s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
"""
RENEW = """
    UPDATE version SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE id = %(id)s AND claimed_by = %(claim)s
"""
START_EMBEDDING = """
    UPDATE version SET
        state = 'embedding', kind = %(kind)s, title = %(title)s, pages = %(pages)s, labels = %(labels)s,
        embedding_model = %(model)s, dimensions = %(dimensions)s
    WHERE id = %(id)s AND claimed_by = %(claim)s AND state = 'extracting'
"""
KEPT_DRAFTS = "SELECT ordinal, digest FROM draft WHERE version_id = %s"
DROP_DRAFTS = """
    DELETE FROM draft USING version
    WHERE draft.version_id = %(id)s AND draft.ordinal = ANY(%(ordinals)s)
        AND version.id = draft.version_id AND version.claimed_by = %(claim)s
"""
HOLD = "SELECT id FROM version WHERE id = %(id)s AND claimed_by = %(claim)s AND state = 'embedding' FOR SHARE"
COPY_DRAFTS = """
    COPY draft (version_id, ordinal, digest, context, text, heading_path, locator, tokens, embedding) FROM STDIN
"""
PUBLISH = "SELECT publish(%s, %s, %s) AS published"
FAIL = """
    WITH forgotten AS (
        DELETE FROM draft USING version
        WHERE draft.version_id = %(id)s AND version.id = draft.version_id AND version.claimed_by = %(claim)s
    )
    UPDATE version SET
        state = 'failed', sentence = %(sentence)s, finished_at = clock_timestamp(),
        claimed_by = NULL, lease_until = NULL
    WHERE id = %(id)s AND claimed_by = %(claim)s
"""
POSTPONE = """
    UPDATE version SET
        state = 'received', sentence = %(sentence)s, retry_at = %(retry_at)s, postponed = postponed + 1,
        attempts = attempts - 1, claimed_by = NULL, lease_until = NULL, queue_again_at = %(retry_at)s
    WHERE id = %(id)s AND claimed_by = %(claim)s
"""
# building an index or publishing thousands of passages may take longer than a page would wait
PATIENCE = "SET LOCAL statement_timeout = '10min'; SET LOCAL maintenance_work_mem = '256MB'"
INDEX_MISSING = """
    SELECT 1 FROM corpus WHERE passages > %s AND to_regclass('passage_vectors') IS NULL
"""
# only live passages are indexed: what is replaced leaves the graph, and a search never has to pass it by
BUILD_INDEX = """
    CREATE INDEX IF NOT EXISTS passage_vectors ON passage USING hnsw (embedding halfvec_ip_ops) WHERE searchable
"""

WITHDRAW = "SELECT withdraw(%s, %s, %s) AS withdrawn"
WITHDRAWN = """
    SELECT
        document.id AS document_id, document.title, document.deleted_passages AS passages,
        document.deleted_by_id AS person_id, document.deleted_by_name AS person_name, document.deleted_at,
        array_agg(version.original_key ORDER BY version.number) AS original_keys
    FROM document JOIN version ON version.document_id = document.id
    WHERE document.deleted_at IS NOT NULL AND (%(id)s::uuid IS NULL OR document.id = %(id)s)
    GROUP BY document.id
"""
FORGET = "DELETE FROM document WHERE id = %s AND deleted_at IS NOT NULL RETURNING id"
