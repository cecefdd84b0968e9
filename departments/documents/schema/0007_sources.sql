-- What is known of the files of a synchronised folder or bucket. A document that somebody deleted here leaves its row
-- behind without a document: the file comes back when it changes, not at the next look.
CREATE TABLE source_file (
    source_id uuid NOT NULL,
    path text NOT NULL,
    fingerprint text NOT NULL,
    document_id uuid REFERENCES document ON DELETE SET NULL,
    PRIMARY KEY (source_id, path)
);

CREATE INDEX source_file_document ON source_file (document_id) WHERE document_id IS NOT NULL;
