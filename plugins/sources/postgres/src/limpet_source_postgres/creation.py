"""The SQL that writes SQL: how every database of a server is created, for a server that has none of them.

pg_dump says this only where its dump can go nowhere but into a database of the same name, and pg_dumpall only along
with all data. Catalogue columns that not every version has are asked for through JSON.
"""

from __future__ import annotations

SCRIPT = r"""
WITH
databases AS (
    SELECT oid, datname, datacl, datdba, datconnlimit, to_jsonb(d) AS j, quote_ident(datname) AS name,
        pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
        (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace) AS tablespace
    FROM pg_database d WHERE datallowconn
),
settings AS (
    SELECT s.setdatabase, s.setrole, split_part(one, '=', 1) AS variable,
        substr(one, strpos(one, '=') + 1) AS value
    FROM pg_db_role_setting s, unnest(s.setconfig) AS one WHERE s.setdatabase <> 0
),
statements AS (
    SELECT datname, 1 AS part, format(
        'SELECT %L WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = %L) ' || chr(92) || 'gexec',
        concat_ws(' ',
            format('CREATE DATABASE %s TEMPLATE template0 ENCODING %L', name, encoding),
            CASE j->>'datlocprovider' WHEN 'c' THEN 'LOCALE_PROVIDER libc' WHEN 'i' THEN 'LOCALE_PROVIDER icu'
                WHEN 'b' THEN 'LOCALE_PROVIDER builtin' END,
            format('LC_COLLATE %L LC_CTYPE %L', j->>'datcollate', j->>'datctype'),
            CASE j->>'datlocprovider'
                WHEN 'i' THEN format('ICU_LOCALE %L', coalesce(j->>'datlocale', j->>'daticulocale'))
                WHEN 'b' THEN format('BUILTIN_LOCALE %L', j->>'datlocale') END,
            'ICU_RULES ' || quote_literal(j->>'daticurules'),
            CASE WHEN tablespace <> 'pg_default' THEN format('TABLESPACE %I', tablespace) END
        ), datname) AS statement
    FROM databases
    UNION ALL
    SELECT datname, 2, format('ALTER DATABASE %s OWNER TO %I;', name, owner) FROM databases
    UNION ALL
    SELECT datname, 3, format('ALTER DATABASE %s CONNECTION LIMIT %s;', name, datconnlimit)
    FROM databases WHERE datconnlimit <> -1
    UNION ALL
    SELECT datname, 4, format('ALTER DATABASE %s IS_TEMPLATE true;', name)
    FROM databases WHERE (j->>'datistemplate')::boolean
    UNION ALL
    SELECT datname, 5, format('COMMENT ON DATABASE %s IS %L;', name, shobj_description(oid, 'pg_database'))
    FROM databases WHERE shobj_description(oid, 'pg_database') IS NOT NULL
    UNION ALL
    SELECT datname, 6, format('%s SET %I TO %s;',
        CASE WHEN setrole = 0 THEN format('ALTER DATABASE %s', name)
            ELSE format('ALTER ROLE %I IN DATABASE %s', pg_get_userbyid(setrole), name) END,
        variable,
        -- A list is quoted as such already. Only one that surely is a list goes in as it is: anything else could
        -- hold a command for the psql that reads it.
        CASE WHEN lower(variable) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries',
                'session_preload_libraries', 'shared_preload_libraries', 'unix_socket_directories')
            AND value ~ '^("[^"\\\n\r]*"|[A-Za-z0-9_$.-]+)( *, *("[^"\\\n\r]*"|[A-Za-z0-9_$.-]+))*$'
            THEN value ELSE quote_literal(value) END)
    FROM databases JOIN settings ON setdatabase = oid
    UNION ALL
    SELECT datname, 7, format('REVOKE ALL ON DATABASE %s FROM PUBLIC; REVOKE ALL ON DATABASE %s FROM %I;',
        name, name, owner)
    FROM databases WHERE datacl IS NOT NULL
    UNION ALL
    SELECT datname, 8, format('GRANT %s ON DATABASE %s TO %s%s;', a.privilege_type, name,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM databases, aclexplode(datacl) AS a
)
SELECT '-- Databases of the server, written by Limpet for psql: after globals.sql, before their contents.'
UNION ALL
SELECT format('SET client_encoding = %L; SET standard_conforming_strings = on;', current_setting('client_encoding'))
UNION ALL
(SELECT statement FROM statements ORDER BY datname COLLATE "C", part, statement COLLATE "C")
"""

DATABASES = 'SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname COLLATE "C"'
CLOSED_DATABASES = "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname <> 'template0' ORDER BY 1"
"""Those that nobody can connect to, whatever they hold."""
