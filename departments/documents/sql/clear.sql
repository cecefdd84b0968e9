-- Everything of the store's own role goes, so that what a backup brings meets nothing. Runs in the transaction of the
-- restore. What belongs to the template (pgvector) has another owner and stays.
DO $$
DECLARE
    drops text[] := ARRAY(  -- named before the first goes: one drop may take others with it
        SELECT format('DROP %s IF EXISTS %s CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, oid::regclass)
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relowner = current_user::regrole AND relkind IN ('r', 'v')
        UNION ALL
        SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
    );
    each text;
BEGIN
    FOREACH each IN ARRAY drops LOOP
        EXECUTE each;
    END LOOP;
END
$$;
