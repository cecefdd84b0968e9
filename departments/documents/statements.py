"""Every SQL statement of a store, whole and constant: store.py gives them their values.

What belongs to one transaction of many steps (publishing, withdrawing, the counts of BM25) is a function in schema/.
"""

from __future__ import annotations

# the documents that a page asks for; every part of the condition that was not asked for is true
_FITTING = """
    FROM shown_document AS document JOIN shown_version AS version ON version.id = document.latest_id
    WHERE (
            strpos(lower(document.title), lower(%(matching)s)) > 0
            OR strpos(lower(version.filename), lower(%(matching)s)) > 0
            OR strpos(lower(version.folder), lower(%(matching)s)) > 0
        )
        AND (%(states)s::text[] IS NULL OR version.state = ANY(%(states)s))
        AND (%(kind)s = '' OR version.kind = %(kind)s)
        AND (%(uploader)s::uuid IS NULL OR version.uploader_id = %(uploader)s)
        AND (
            NOT %(due)s OR document.review_on <= %(today)s
            OR (document.review_on IS NULL AND version.uploaded_at < %(stale_before)s)
        )
"""
COUNT_FITTING = "SELECT count(*) AS total" + _FITTING
LIST_FITTING = (
    "SELECT document.*"
    + _FITTING
    + """
    ORDER BY
        CASE %(order)s WHEN 'name' THEN lower(document.title) END,
        CASE %(order)s WHEN 'largest' THEN version.bytes WHEN 'costly' THEN version.cost END DESC,
        CASE %(order)s WHEN 'oldest' THEN document.created_at END,
        document.created_at DESC, document.id
    OFFSET %(offset)s LIMIT %(limit)s
"""
)
# how many newest versions are in each state, of each kind and from each person, for the choices above the list
FACETS = """
    SELECT
        version.state, version.kind, version.uploader_id, max(version.uploader_name) AS uploader_name,
        count(*) AS documents
    FROM shown_document AS document JOIN shown_version AS version ON version.id = document.latest_id
    GROUP BY 1, 2, 3
"""
DUE = """
    SELECT
        count(*) FILTER (WHERE document.review_on <= %(today)s) AS review,
        count(*) FILTER (WHERE document.review_on IS NULL AND version.uploaded_at < %(stale_before)s) AS stale
    FROM shown_document AS document JOIN shown_version AS version ON version.id = document.latest_id
"""
# the queue as it moves: who waits, and how long the last ones took from one end to the next; while there was nothing to
# read no time is counted
QUEUE = """
    SELECT
        (SELECT count(*) FROM shown_version WHERE state IN ('received', 'extracting', 'embedding')) AS working,
        (SELECT count(*) FROM shown_version WHERE state = 'received' AND retry_at > clock_timestamp()) AS postponed,
        count(*) AS finished,
        extract(epoch FROM sum(finished_at - greatest(before, uploaded_at)))::float8 AS seconds
    FROM (
        SELECT finished_at, uploaded_at, lag(finished_at) OVER (ORDER BY finished_at) AS before FROM version
        WHERE finished_at > clock_timestamp() - interval '5 minutes' ORDER BY finished_at DESC LIMIT 40
    ) AS lately
    WHERE before IS NOT NULL
"""
# how many files wait before each of these
BEFORE = """
    SELECT id, before FROM (
        SELECT id, row_number() OVER (ORDER BY uploaded_at, id) - 1 AS before
        FROM version WHERE state = 'received' AND (retry_at IS NULL OR retry_at <= clock_timestamp())
    ) AS waiting
    WHERE id = ANY(%s)
"""
# a transaction that began before the last look may end after it, so each look goes back a little
CHANGED = """
    SELECT document.* FROM shown_document AS document JOIN shown_version AS version ON version.id = document.latest_id
    WHERE version.changed_at > %(since)s::timestamptz - interval '5 seconds' OR document.id = ANY(%(ids)s)
    ORDER BY version.changed_at DESC LIMIT %(limit)s
"""
NOW = "SELECT clock_timestamp() AS now"
SET_REVIEW = """
    UPDATE document SET review_on = %(review_on)s WHERE id = %(id)s AND deleted_at IS NULL RETURNING id
"""

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
# of one generation: the one asked for, else the one that is searched or was the last one
_OF_GENERATION = """
    FROM passage
    WHERE version_id = %(id)s AND generation = coalesce(
        (SELECT generation FROM passage WHERE version_id = %(id)s AND generation = %(generation)s LIMIT 1),
        (SELECT generation FROM passage WHERE version_id = %(id)s ORDER BY searchable DESC, generation DESC LIMIT 1)
    )
"""
PASSAGES = (
    "SELECT version_id, generation, ordinal, text, heading_path, locator, tokens"
    + _OF_GENERATION
    + "ORDER BY ordinal OFFSET %(offset)s LIMIT %(limit)s"
)
PASSAGES_ON_PAGE = (
    "SELECT ordinal, text" + _OF_GENERATION + "AND locator->>'page' = %(page)s ORDER BY ordinal LIMIT 100"
)
PASSAGE = """
    SELECT
        passage.version_id, passage.generation, passage.ordinal, passage.text, passage.heading_path, passage.locator,
        passage.tokens,
        shown.document_id, shown.title, shown.filename, shown.number AS version_number, shown.is_current,
        shown.uploader_name, shown.uploaded_at
    FROM passage JOIN shown_version AS shown ON shown.id = passage.version_id
    WHERE passage.version_id = %s AND passage.ordinal = %s
        AND passage.generation = coalesce(%s, (SELECT generation FROM corpus))
"""
COUNTS = """
    SELECT
        count(DISTINCT document_id) AS documents,
        count(*) FILTER (WHERE is_current) AS live,
        count(*) FILTER (WHERE state IN ('received', 'extracting', 'embedding')) AS working,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        (SELECT passages FROM corpus) AS passages,
        coalesce(sum(bytes), 0)::bigint AS bytes,
        count(*) AS versions
    FROM shown_version
"""
RECIPE = "SELECT generation, model, dimensions, passage_tokens, passages FROM corpus"

ADD_DOCUMENT = "INSERT INTO document (id, title, filename) VALUES (%s, %s, %s) RETURNING id"
DOCUMENT_IDS = "SELECT id FROM document"
LOCK_DOCUMENT = "SELECT id FROM document WHERE id = %s AND deleted_at IS NULL FOR UPDATE"
ADD_VERSION = """
    INSERT INTO version (
        id, document_id, number, title, filename, original_key, sha256, bytes, uploader_id, uploader_name, folder
    )
    SELECT
        %(version_id)s, %(document_id)s, coalesce(max(number), 0) + 1, %(title)s, %(filename)s, %(original_key)s,
        %(sha256)s, %(bytes)s, %(uploader_id)s, %(uploader_name)s, %(folder)s
    FROM version WHERE document_id = %(document_id)s
"""
RETRY = """
    UPDATE version SET
        state = 'received', sentence = '', attempts = 0, postponed = 0, queued = 0, retry_at = NULL, finished_at = NULL,
        claimed_by = NULL, lease_until = NULL, queue_again_at = clock_timestamp()
    WHERE id = (SELECT latest_id FROM shown_document WHERE id = %s)
        AND (state IN ('failed', 'cancelled') OR (state = 'received' AND retry_at IS NOT NULL))
    RETURNING id
"""

CANCEL = """
    WITH ended AS (
        UPDATE version SET
            state = 'cancelled', sentence = %(sentence)s, finished_at = clock_timestamp(), retry_at = NULL,
            claimed_by = NULL, lease_until = NULL
        WHERE id = (SELECT latest_id FROM shown_document WHERE id = %(id)s)
            AND state IN ('received', 'extracting', 'embedding')
        RETURNING id
    ),
    forgotten AS (DELETE FROM draft USING ended WHERE draft.version_id = ended.id)
    SELECT id FROM ended
"""
HAS_ROOM = "SELECT has_room(%(files)s, %(bytes)s, %(arriving)s) AS has_room"

QUEUE_DUE = "SELECT queue_due(%s) AS id"
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
        queue_again_at = clock_timestamp(), started_at = clock_timestamp(), foreseen = 0, embedded = 0
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
        embedding_model = %(model)s, dimensions = %(dimensions)s, foreseen = %(foreseen)s
    WHERE id = %(id)s AND claimed_by = %(claim)s AND state = 'extracting'
"""
KEPT_DRAFTS = "SELECT ordinal, digest FROM draft WHERE version_id = %s"
DROP_DRAFTS = """
    DELETE FROM draft USING version
    WHERE draft.version_id = %(id)s AND draft.ordinal = ANY(%(ordinals)s)
        AND version.id = draft.version_id AND version.claimed_by = %(claim)s
"""
# how far it is and what it cost so far; also the check that the claim still holds
NOTE_PROGRESS = """
    UPDATE version SET embedded = %(embedded)s, cost = cost + %(cost)s
    WHERE id = %(id)s AND claimed_by = %(claim)s AND state = 'embedding'
"""
COPY_DRAFTS = """
    COPY draft (version_id, ordinal, digest, context, text, heading_path, locator, tokens, embedding) FROM STDIN
"""
# the store itself was away, which is not the file's fault: the attempt does not count
GIVE_BACK = """
    UPDATE version SET
        state = 'received', attempts = attempts - 1, claimed_by = NULL, lease_until = NULL,
        queue_again_at = clock_timestamp()
    WHERE id = %(id)s AND claimed_by = %(claim)s
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
    SELECT 1 FROM corpus WHERE passages > %s AND NOT EXISTS (
        SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
        WHERE indrelid = 'passage'::regclass AND amname = 'hnsw'
    )
"""
# only live passages are indexed: what is replaced leaves the graph, and a search never has to pass it by
BUILD_INDEX = """
    CREATE INDEX ON passage USING hnsw (embedding halfvec_ip_ops) WHERE searchable
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
