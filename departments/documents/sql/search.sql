-- The best passages for a question, in one statement. Parameters: question, vector, candidates (of each side),
-- reach (how many passages the full text should look at), weight (of the vector, 0 to 1), wanted, and where the search is
-- narrowed versions. The tables are those of one generation; inside the statement they keep their plain names.
--
-- 1. The question's lexemes with their BM25 inverse document frequencies. An unknown word has the highest there is.
-- 2. What brings passages (GIN): each of the rarest lexemes, as many as fit into `reach`; of the others, which stand in
--    too many passages, pairs, the rarest pairs first, as many as should fit into what is left (their frequencies
--    multiplied: words of one subject meet more often than that, so twice `reach` is the end). In 200,000 passages
--    this finds what all lexemes would find and reads a tenth (docs/adr/0011-common-words-are-searched-in-pairs.md).
-- 3. Candidates by vector and by these terms, the best of them by BM25 as an inner product.
-- 4. Every candidate of either side gets both scores; each is brought to 0 to 1 over all candidates and weighed.
WITH asked AS MATERIALIZED (
    SELECT
        found.lexeme AS word,
        coalesce(lexeme.passages, 0) AS frequency,
        ln(1 + (corpus.passages - coalesce(lexeme.passages, 0) + 0.5::float8) / (coalesce(lexeme.passages, 0) + 0.5))
            AS idf,
        -- in a store of a few passages each word is common: as evidence it counts as in a store of a hundred
        ln(1 + (greatest(100, corpus.passages) - coalesce(lexeme.passages, 0) + 0.5::float8)
            / (coalesce(lexeme.passages, 0) + 0.5)) AS rarity
    FROM {corpus} AS corpus
    CROSS JOIN unnest(to_tsvector({language}::regconfig, %(question)s)) AS found
    LEFT JOIN {lexeme} AS lexeme ON lexeme.word = found.lexeme
),
ordered AS MATERIALIZED (
    SELECT
        word, frequency,
        row_number() OVER (ORDER BY frequency, word) AS place,
        sum(frequency) OVER (ORDER BY frequency, word) AS upto
    FROM asked WHERE frequency > 0
),
rare AS MATERIALIZED (
    SELECT count(*) AS words, coalesce(max(upto), 0) AS passages FROM ordered WHERE upto <= %(reach)s
),
pairs AS (
    SELECT
        one.word AS one, other.word AS other,
        sum(one.frequency::float8 * other.frequency / corpus.passages)
            OVER (ORDER BY one.frequency * other.frequency, one.word, other.word) AS upto
    FROM ordered AS one JOIN ordered AS other ON other.place > one.place CROSS JOIN rare CROSS JOIN {corpus} AS corpus
    WHERE one.place > rare.words AND other.place <= rare.words + 12
),
terms AS (
    SELECT array_to_tsvector(array[word])::text AS term FROM ordered, rare WHERE place <= rare.words
    UNION ALL
    SELECT array_to_tsvector(array[one])::text || ' & (' || string_agg(array_to_tsvector(array[other])::text, ' | ') || ')'
    FROM pairs, rare WHERE pairs.upto <= %(reach)s - rare.passages GROUP BY one
),
asking AS MATERIALIZED (
    SELECT
        -- a question of one common word has neither
        coalesce(
            (SELECT string_agg(term, ' | ') FROM terms),
            (SELECT array_to_tsvector(array[word])::text FROM ordered WHERE place = 1)
        )::tsquery AS query,
        (
            SELECT ('{{' || string_agg(place || ':' || idf, ',') || '}}/268435456')::sparsevec
            FROM (SELECT place_of(word) AS place, round(sum(idf)::numeric, 4) AS idf FROM asked GROUP BY 1) AS placed
        ) AS weights,
        (SELECT coalesce(sum(rarity), 0) FROM asked) AS total
),
by_vector AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY distance) AS rank
    FROM (
        SELECT id, embedding <#> %(vector)s AS distance FROM {passage} AS passage WHERE searchable {narrowed}
        ORDER BY embedding <#> %(vector)s LIMIT %(candidates)s
    ) AS nearest
),
by_text AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY distance, id) AS rank
    FROM (
        SELECT id, distance
        FROM (
            SELECT passage.id, passage.weights <#> asking.weights AS distance
            FROM asking JOIN {passage} AS passage ON passage.lexemes @@ asking.query
            WHERE passage.searchable {narrowed}
            LIMIT 2 * %(reach)s
        ) AS brought
        ORDER BY distance, id LIMIT %(candidates)s
    ) AS fitting
),
scored AS MATERIALIZED (
    SELECT
        id, by_vector.rank AS vector_rank, by_text.rank AS text_rank,
        -(passage.embedding <#> %(vector)s) AS similarity,
        coalesce(-(passage.weights <#> asking.weights), 0) AS relevance
    FROM by_vector FULL JOIN by_text USING (id) JOIN {passage} AS passage USING (id) CROSS JOIN asking
),
extremes AS (
    SELECT
        min(similarity) AS least_similar, max(similarity) AS most_similar,
        min(relevance) AS least_relevant, max(relevance) AS most_relevant,
        -- a middle needs others: where there are few, they are taken to be as unlike as passages mostly are
        (
            least(20, count(*)) * percentile_cont(0.5) WITHIN GROUP (ORDER BY similarity)
            + greatest(0, 20 - count(*)) * 0.15
        ) / 20 AS background
    FROM scored
),
best AS (
    SELECT
        scored.*, extremes.background,
        %(weight)s * coalesce((similarity - least_similar) / nullif(most_similar - least_similar, 0), 0)
        + (1 - %(weight)s) * coalesce((relevance - least_relevant) / nullif(most_relevant - least_relevant, 0), 0)
        AS score
    FROM scored CROSS JOIN extremes
    ORDER BY score DESC, id LIMIT %(wanted)s
)
SELECT
    version.document_id, passage.version_id, passage.generation, passage.ordinal, version.title, passage.heading_path, passage.locator,
    passage.text, best.score, best.vector_rank, best.text_rank,
    version.number AS version_number, version.uploader_name AS uploader, version.uploaded_at,
    best.similarity, best.relevance, best.background,
    coalesce((
        SELECT sum(asked.rarity) FROM asked WHERE asked.word = ANY(tsvector_to_array(passage.lexemes))
    ) / nullif(asking.total, 0), 0) AS coverage
FROM best
JOIN {passage} AS passage USING (id)
JOIN version ON version.id = passage.version_id
CROSS JOIN asking
ORDER BY best.score DESC, best.id
