-- What the department's admins learn from answers: how often a document was cited, and what nothing answered.
-- Neither knows who asked.

CREATE TABLE citing (
    document_id uuid NOT NULL REFERENCES document ON DELETE CASCADE,
    -- in the organization's time zone
    day date NOT NULL,
    answers integer NOT NULL,
    PRIMARY KEY (document_id, day)
);

CREATE TABLE unanswered (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    day date NOT NULL,
    -- as the department's policy kept it when it was asked; empty where it keeps no text
    question text NOT NULL,
    -- the person had narrowed the search, so that more may be known than was looked at
    narrowed boolean NOT NULL
);

CREATE INDEX unanswered_day ON unanswered (day);
