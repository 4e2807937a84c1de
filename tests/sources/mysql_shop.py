"""A database with one of everything that MariaDB has, and all that is in a database, to compare two of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.services.mariadb_server import MariadbServer

_MADE = re.compile(r"\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d$")
SECRET = "pass word'\"\\ü"
"""The password of the user `app`: what shells, option files and SQL each write in a way of their own."""
ODD_TABLE = "a VALUES (b``c"
SHOP = f"""
CREATE TABLE kinds (
    id BIGINT UNSIGNED PRIMARY KEY, small TINYINT, price DECIMAL(30, 10), ratio DOUBLE, bits BIT(9),
    day DATE, clock TIME(6), moment DATETIME(6), stamp TIMESTAMP(6) NULL, year YEAR,
    word VARCHAR(200), note LONGTEXT, code BINARY(4), data LONGBLOB, color ENUM('red', 'grün'),
    sizes SET('s', 'm', 'l'), document JSON, place POINT, id6 INET6, doubled DOUBLE AS (ratio * 2) VIRTUAL,
    kept VARCHAR(10) AS (LEFT(word, 3)) STORED, old VARCHAR(20) CHARACTER SET latin1, single FLOAT, KEY (word)
) DEFAULT CHARSET utf8mb4;
INSERT INTO kinds (id, small, price, ratio, bits, day, clock, moment, stamp, year, word, note, code, data, color, sizes,
    document, place, id6, old, single) VALUES
    (1, -128, -0.0000000001, 1e-300, b'101010101', '2026-02-28', '-12:34:56.123456', '2026-01-02 03:04:05.000006',
     '2026-06-07 08:09:10.000011', 1999, 'Grüße, 世界 🐚', 'it''s \\\\ "quoted"\\n\\r\\0\\Z\\t%_', 0x00FF2700,
     UNHEX('{"".join(f"{number:02x}" for number in range(256))}'), 'grün', 's,l', '{{"a": ["ü", null]}}',
     ST_GeomFromText('POINT(1.5 -2.25)'), '2001:db8::1', 'Käse', 1.5e-38),
    (2, 127, 99999999999999999999.9999999999, -1.7976931348623157e307, b'0', '0001-01-01', '838:59:59.999999',
     '9999-12-31 23:59:59.999999', NULL, 2155, '', '', '', '', 'red', '', '[]', NULL, NULL, '', 3.14159),
    (18446744073709551615, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     REPEAT(UNHEX('00FF27225C0A0D1A'), 400000), NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 0, 0, 0, b'1', '2024-02-29', '0', '1970-01-01', '1970-01-02', 0, ');', ');\\nINSERT INTO `kinds` (1);',
     'x', 'x', 'red', 'm', 'true', NULL, '::', 'x', -0.25);
CREATE TABLE empty (id INT PRIMARY KEY AUTO_INCREMENT) AUTO_INCREMENT 77;
CREATE TABLE keyless (a INT, b VARCHAR(10));
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
CREATE TABLE `{ODD_TABLE}` (`INSERT INTO` INT, ` VALUES (` INT);
INSERT INTO `{ODD_TABLE}` VALUES (1, 2), (3, 4), (5, 6);
CREATE TABLE parent (id INT PRIMARY KEY);
CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE);
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (10, 1), (20, NULL);
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, name CHAR(32), amount INT, data BLOB) DEFAULT CHARSET utf8mb4;
INSERT INTO orders SELECT seq, MD5(seq), seq * 7, UNHEX(SHA1(seq)) FROM seq_1_to_20000;
CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO parts VALUES (1), (2), (3);
CREATE SEQUENCE numbers START WITH 5;
CREATE VIEW amounts AS SELECT id, amount FROM orders WHERE amount > 0;
CREATE VIEW view_of_view AS SELECT COUNT(*) AS n FROM amounts;
CREATE TABLE log (line TEXT);
DELIMITER //
CREATE TRIGGER parent_log AFTER INSERT ON parent FOR EACH ROW
BEGIN
INSERT INTO `log` VALUES ('a');
INSERT INTO `log` VALUES ('b');
END//
CREATE PROCEDURE fill(IN n INT)
    COMMENT 'ü'
BEGIN
INSERT INTO `keyless` VALUES (n, 'y');
INSERT INTO `keyless` VALUES (n, 'z');
-- LOCK TABLES `keyless` WRITE;
INSERT INTO `keyless` VALUES (n, ';;');
INSERT INTO `keyless` VALUES (n, 'é');
END//
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2//
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DO DELETE FROM log//
DELIMITER ;
ALTER DATABASE CHARACTER SET latin2;
CREATE PROCEDURE older() SELECT 'x';
ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
"""


def make_shop(server: MariadbServer, name: str) -> None:
    """A new database of this name, with all of it."""
    server.sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    server.sql(SHOP, name)


def contents(server: MariadbServer, name: str) -> list[str]:
    """Definitions of all that is in the database, a checksum over the rows of each table, and its character set."""
    quoted = f"'{name}'"
    questions = [
        f"SHOW CREATE {'SEQUENCE' if kind == 'SEQUENCE' else 'TABLE'} `{table.replace('`', '``')}`"
        for table, kind in (
            line.split("\t")
            for line in server.sql(
                f"SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = {quoted} ORDER BY 1"
            )
        )
    ]
    tables = server.sql(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = {quoted}"
        " AND table_type = 'BASE TABLE' ORDER BY 1"
    )
    questions += [f"CHECKSUM TABLE `{table.replace('`', '``')}`" for table in tables]
    questions += [f"SELECT COUNT(*) FROM `{table.replace('`', '``')}`" for table in tables]
    for kind, place, column in (
        ("TRIGGER", "triggers WHERE trigger_schema", "trigger_name"),
        ("EVENT", "events WHERE event_schema", "event_name"),
        ("PROCEDURE", "routines WHERE routine_type = 'PROCEDURE' AND routine_schema", "routine_name"),
        ("FUNCTION", "routines WHERE routine_type = 'FUNCTION' AND routine_schema", "routine_name"),
    ):
        found = server.sql(f"SELECT {column} FROM information_schema.{place} = {quoted} ORDER BY 1")
        questions += [f"SHOW CREATE {kind} `{one}`" for one in found]
    answers = server.sql(";".join(questions), name) if questions else []
    answers += server.sql(
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata"
        f" WHERE schema_name = {quoted}"
    )
    # Names of the database itself in answers, and the moment a trigger was made, differ where all else is the same.
    return [_MADE.sub("", line.replace(f"`{name}`.", "").replace(f"{name}.", "")) for line in answers]


def address(server: MariadbServer, database: str = "shop", more: str = "", user: str = "root") -> str:
    """By the socket."""
    return f"mysql://{user}@localhost/{database}?socket={server.socket}{more}"


def password_file(folder: Path, text: str = SECRET) -> Path:
    """One with an end of line, as editors leave it."""
    path = folder / "password"
    path.write_text(f"{text}\n")
    return path
