-- Documents, their versions and their passages. {dimensions} and {language} are filled in by the runner.

CREATE TABLE document (
    id uuid PRIMARY KEY,
    title text NOT NULL,
    filename text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    current_version uuid,
    deleted_at timestamptz,
    deleted_by_id uuid,
    deleted_by_name text NOT NULL DEFAULT '',
    deleted_passages integer NOT NULL DEFAULT 0
);

CREATE INDEX document_newest ON document (created_at DESC, id) WHERE deleted_at IS NULL;

CREATE TABLE version (
    id uuid PRIMARY KEY,
    document_id uuid NOT NULL REFERENCES document ON DELETE CASCADE,
    number integer NOT NULL,
    title text NOT NULL,
    filename text NOT NULL,
    original_key text NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    kind text NOT NULL DEFAULT '',
    uploader_id uuid NOT NULL,
    uploader_name text NOT NULL,
    uploaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL DEFAULT 'received'
        CHECK (state IN ('received', 'extracting', 'embedding', 'live', 'failed', 'deleted')),
    sentence text NOT NULL DEFAULT '',
    pages integer,
    passages integer NOT NULL DEFAULT 0,
    labels text[] NOT NULL DEFAULT array[]::text[],
    embedding_model text NOT NULL DEFAULT '',
    dimensions integer,
    finished_at timestamptz,
    -- the claim of the worker that reads it now
    claimed_by uuid,
    lease_until timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    -- waiting on purpose, and how often it did
    retry_at timestamptz,
    postponed integer NOT NULL DEFAULT 0,
    -- when its task may be published again, and how often it was
    queue_again_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued integer NOT NULL DEFAULT 0,
    UNIQUE (document_id, number)
);

ALTER TABLE document ADD FOREIGN KEY (current_version) REFERENCES version DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX version_content ON version (sha256);
CREATE INDEX version_working ON version (queue_again_at) WHERE state IN ('received', 'extracting', 'embedding');

-- Embedded, not yet searched: what a crash leaves behind and the next attempt takes up. Can be made again, so unlogged.
CREATE UNLOGGED TABLE draft (
    version_id uuid NOT NULL,
    ordinal integer NOT NULL,
    digest text NOT NULL,
    context text NOT NULL,
    text text NOT NULL,
    heading_path text[] NOT NULL,
    locator jsonb NOT NULL,
    tokens integer NOT NULL,
    embedding halfvec({dimensions}) NOT NULL,
    PRIMARY KEY (version_id, ordinal)
);

-- `context` is "Title > Heading": it is embedded and indexed before the text, and not shown as part of it.
-- Passages of replaced versions stay for the citations of old answers, without vector and without `searchable`.
CREATE TABLE passage (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version_id uuid NOT NULL REFERENCES version ON DELETE CASCADE,
    ordinal integer NOT NULL,
    context text NOT NULL,
    text text NOT NULL,
    heading_path text[] NOT NULL,
    locator jsonb NOT NULL,
    tokens integer NOT NULL,
    searchable boolean NOT NULL,
    embedding halfvec({dimensions}),
    weights sparsevec(268435456),
    lexemes tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector({language}::regconfig, context || E'\n' || text)) STORED,
    UNIQUE (version_id, ordinal)
);

CREATE INDEX passage_lexemes ON passage USING gin (lexemes) WHERE searchable;

-- What BM25 needs to know of all searched passages together.
CREATE TABLE lexeme (
    word text PRIMARY KEY,
    passages bigint NOT NULL
);

CREATE TABLE corpus (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    passages bigint NOT NULL DEFAULT 0,
    length bigint NOT NULL DEFAULT 0,
    -- the average length with which the weights were computed; they are computed anew when it has drifted
    average double precision NOT NULL DEFAULT 1
);

INSERT INTO corpus DEFAULT VALUES;
